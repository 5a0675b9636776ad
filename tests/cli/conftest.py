"""A user's home of its own for each test, and the real command in it."""

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-P", "-m", "rengafs"]
COMMAND_SECONDS = 300.0
CONDITION_SECONDS = 240.0


class Home:
    """A home directory under ``/tmp`` (short: sockets lie in it), and commands run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.program = PROGRAM
        self.data = root / "data" / "rengafs"
        self.state = root / "state" / "rengafs"
        self.runtime = root / "run" / "rengafs"
        self.mountpoint = root / "buckets"
        for directory in ("run", "buckets"):
            (root / directory).mkdir(mode=0o700)
        self.environment = {
            "HOME": str(root),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "XDG_DATA_HOME": str(root / "data"),
            "XDG_CACHE_HOME": str(root / "cache"),
            "XDG_STATE_HOME": str(root / "state"),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "COLUMNS": "200",
        }

    def run(
        self, *arguments: object, prefix: tuple[str, ...] = (), **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``rengafs ARGUMENTS`` to its end, behind *prefix* if given."""
        return subprocess.run(
            [*prefix, *PROGRAM, *(str(argument) for argument in arguments)],
            env={**self.environment, **environment},
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def start(self, *arguments: object, **options: object) -> "subprocess.Popen[str]":
        """Start ``rengafs ARGUMENTS``; the caller ends it."""
        return subprocess.Popen(
            [*PROGRAM, *(str(argument) for argument in arguments)],
            env=self.environment,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    def processes(self) -> dict[int, str]:
        """Return what runs with this home: process ids and command lines."""
        found = {}
        mark = f"HOME={self.root}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    words = (process / "cmdline").read_bytes().split(b"\0")
                    found[int(process.name)] = b" ".join(words).decode()
            except OSError:
                continue
        return found

    def mounts(self) -> list[str]:
        """Return the mount points under this home."""
        lines = Path("/proc/self/mounts").read_text().splitlines()
        points = [line.split(" ")[1] for line in lines]
        return [point for point in points if point.startswith(str(self.root))]

    def leftovers(self) -> list[str]:
        """Return what a mount or service has left: processes, mounts, sockets, records."""
        files = [str(path) for path in self.runtime.rglob("*") if path.suffix in (".sock", ".json")]
        return [*self.processes().values(), *self.mounts(), *files]

    def log(self, name: str) -> str:
        """Return the text of the log files whose names begin with *name*."""
        return "".join(path.read_text() for path in sorted(self.state.glob(f"{name}*.log")))

    def sweep(self) -> None:
        """Detach and end whatever is left."""
        for point in self.mounts():
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        for number in self.processes():
            try:
                descriptor = os.pidfd_open(number)
            except ProcessLookupError:
                continue
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                select.select([descriptor], [], [], CONDITION_SECONDS)
            except ProcessLookupError:
                pass
            finally:
                os.close(descriptor)


@pytest.fixture
def home() -> Iterator[Home]:
    """A fresh home; whatever a failed test leaves in it is ended."""
    root = Path(tempfile.mkdtemp(prefix="rengafs-cli-", dir="/tmp")).resolve()
    place = Home(root)
    try:
        yield place
    finally:
        place.sweep()
        shutil.rmtree(root)


@pytest.fixture
def bucket(home: Home) -> Iterator[Path]:
    """A bucket on a mount of the home's own."""
    done = home.run("mount", home.mountpoint)
    assert done.returncode == 0, done.stderr + home.log("mount")
    made = home.mountpoint / "data"
    made.mkdir()
    try:
        yield made
    finally:
        done = home.run("umount", home.mountpoint)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def until() -> Callable[[Callable[[], object], str], None]:
    """Wait until a condition holds; fail with what it was after a generous bound."""

    def wait(condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + CONDITION_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never came true: {what}"
            time.sleep(0.02)

    return wait


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return what a refused command said, which must be one line of ours and no trace."""
    assert done.returncode != 0, done.stdout
    assert done.stderr.startswith("rengafs: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


@pytest.fixture
def refused() -> Callable[["subprocess.CompletedProcess[str]"], str]:
    """The check `one_line`, for tests."""
    return one_line


@pytest.fixture
def served(home: Home) -> Iterator[tuple[str, str]]:
    """A service of its own in *home*, and a token for it."""
    data = home.root / "served"
    process = home.start("serve", "--listen", "127.0.0.1:0", "--data", data)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("rengafs: serving at http://"), process.communicate()
        created = home.run("token", "create", "ann", "--data", data)
        assert created.returncode == 0, created.stderr
        yield line.split()[-1], created.stdout.strip()
    finally:
        process.terminate()
        process.communicate(timeout=CONDITION_SECONDS)
