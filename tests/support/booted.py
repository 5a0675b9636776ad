"""A booted systemd: the real one, as process 1 of namespaces of its own. As root.

Its root is a copy of this machine that costs nothing: an overlay, whose changes lie in memory
and are gone with it. Of the machine's units it knows a few targets and the journal, so nothing
of this machine (udev, sysctl, cleaning of /tmp) is started. rengafs stands in ``/opt/rengafs`` as
``pip install`` would put it there, on the system's own Python.
"""

import os
import pty
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import rengafs

SECONDS = 120.0
PROGRAM = Path("/opt/rengafs/bin/rengafs")
CHECKOUT = Path(rengafs.__file__).parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"
UNITS = "etc/rengafs-test/units"
KNOWN = (
    "basic local-fs multi-user network network-online remote-fs remote-fs-pre shutdown sockets "
    "sysinit umount"
)
JOURNAL = ("systemd-journald.service", "systemd-journald.socket")

BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o size=1G tmpfs "$1"
cd "$1"
mkdir upper work root site site-work
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=700 tmpfs ./root  # nothing of whoever works here
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty fuse autofs; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
touch dev/console
mount --bind "$2" dev/console
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t overlay overlay -o lowerdir="$SITE",upperdir="$1/site",workdir="$1/site-work" ./$HERE
mkdir -p ./$HERE/rengafs
mount --bind "$PACKAGE" ./$HERE/rengafs
mkdir old
pivot_root . old
umount -l /old
cd /
exec /lib/systemd/systemd --system --unit=multi-user.target --log-target=console
"""
SITE_PACKAGES = f"opt/rengafs/lib/python{sysconfig.get_python_version()}/site-packages"


class Machine:
    """What was booted."""

    def __init__(self, process: int) -> None:
        self._process = process

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a line of shell in there, as root."""
        done = subprocess.run(
            ["nsenter", "--target", str(self._process), "--all", "--wdns=/", "sh", "-c", command],
            env={"PATH": "/opt/rengafs/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()}"
            )
        return done

    def text(self, command: str) -> str:
        """Return what a line of shell prints, which must succeed."""
        return self.run(command).stdout.strip()

    def journal(self) -> str:
        """Return the last lines of the journal, for a failed test."""
        return self.run("journalctl --no-pager --lines 60 2>&1", check=False).stdout

    def eventually(self, command: str, wanted: Callable[[str], bool]) -> str:
        """Wait until what *command* prints is *wanted*; return it."""
        deadline = time.monotonic() + SECONDS
        while True:
            done = self.run(command, check=False)
            if wanted(done.stdout.strip()):
                return done.stdout.strip()
            if time.monotonic() > deadline:
                raise AssertionError(f"{command}: {done.stdout}{done.stderr}\n{self.journal()}")
            time.sleep(0.1)


@contextmanager
def booted(*, fstab: str = "") -> Iterator[Machine]:
    """Boot; end everything that runs in there at the end.

    :param fstab: its whole table of mounts, made units by systemd's own generator.
    """
    scratch = Path(tempfile.mkdtemp(prefix="rengafs-booted-"))
    ours, console = pty.openpty()
    shown: list[bytes] = []
    reading = threading.Thread(target=_read, args=(ours, shown), daemon=True)
    reading.start()
    namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc"]
    process = subprocess.Popen(
        ["unshare", *namespaces, "bash", "-c", _boot(fstab), "boot", scratch, os.ttyname(console)],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SITE": sysconfig.get_path("purelib"),
            "HERE": SITE_PACKAGES,
            "PACKAGE": str(Path(rengafs.__file__).parent),
            "SYSTEMD_UNIT_PATH": f"/{UNITS}:/etc/systemd/system:/run/systemd/generator",
            "SYSTEMD_GENERATOR_PATH": "/etc/rengafs-test/generators",
            "container": "rengafs-test",
        },
        stdin=subprocess.DEVNULL,
        stdout=console,
        stderr=console,
    )
    try:
        yield Machine(_first_process(process, shown))
    finally:
        process.kill()
        process.wait()
        os.close(console)
        reading.join(SECONDS)
        os.close(ours)
        shutil.rmtree(scratch, ignore_errors=True)


def _boot(fstab: str) -> str:
    """Return the script: that which mounts, and what to write before systemd starts."""
    site, program = SITE_PACKAGES, PROGRAM.relative_to("/")
    lines = [
        f"mkdir -p {UNITS} etc/rengafs-test/generators {site} {program.parent}",
        "rm -rf etc/systemd/system/* var/log/journal",
        *(f"cp lib/systemd/system/{name}.target {UNITS}/" for name in KNOWN.split()),
        *(f"cp lib/systemd/system/{name} {UNITS}/" for name in JOURNAL),
        f"mkdir {UNITS}/sysinit.target.wants",
        *(f"ln -s ../{name} {UNITS}/sysinit.target.wants/" for name in JOURNAL),
        "ln -s /lib/systemd/system-generators/systemd-fstab-generator etc/rengafs-test/generators/",
        f"ln -s {SYSTEM_PYTHON} {program.parent}/python",
        "echo home = /usr/bin > opt/rengafs/pyvenv.cfg",
        f"cat > etc/fstab <<'END'\n{fstab}\nEND",
    ]
    for name, target in {
        "rengafs": "rengafs.cli.main:main",
        "mount.rengafs": "rengafs.cli.mounthelper:mount",
        "umount.fuse.rengafs": "rengafs.cli.mounthelper:mount",
    }.items():
        module, function = target.split(":")
        script = (
            f"#!/opt/rengafs/bin/python\nimport sys\n"
            f"from {module} import {function}\nsys.exit({function}())"
        )
        lines.append(
            f"cat > {program.parent}/{name} <<'END'\n{script}\nEND\n"
            f"chmod 755 {program.parent}/{name}"
        )
    lines += [
        "mkdir -p opt/rengafs/share/rengafs",
        f"cp -r {CHECKOUT}/systemd opt/rengafs/share/rengafs/systemd",
    ]
    before = "mount -t tmpfs -o mode=755 tmpfs run\n"
    head, tail = BOOT.split(before)
    return head + "\n".join(lines) + "\n" + before + tail


def _first_process(unshare: "subprocess.Popen[bytes]", shown: list[bytes]) -> int:
    """Return systemd's process id, as seen from here, once it answers."""
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and unshare.poll() is None:
        for child in children.read_text().split():
            with suppress(AssertionError, OSError, subprocess.SubprocessError):
                machine = Machine(int(child))
                if machine.run("systemctl is-system-running", check=False).stdout.strip() in (
                    "running",
                    "degraded",
                ):
                    return int(child)
        time.sleep(0.1)
    raise AssertionError(b"".join(shown).decode(errors="replace"))


def _read(terminal: int, shown: list[bytes]) -> None:
    with suppress(OSError):
        while piece := os.read(terminal, 4096):
            shown.append(piece)


def check_python() -> None:
    """Refuse to go on where the system's Python can't use what was compiled for this one."""
    told = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sysconfig; print(sysconfig.get_python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert told.stdout.strip() == ours, f"{SYSTEM_PYTHON} is {told.stdout.strip()}, not {ours}"
