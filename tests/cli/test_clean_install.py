"""The README's installation, word by word, on a Debian that has nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuse

ROOT = Path(__file__).parents[2]
SECONDS = 900
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
ENTER = r"""
set -e
mount --make-rprivate /
cd "$1"
mount -t proc proc proc
mount -t tmpfs tmpfs dev
for name in null zero urandom fuse; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm
exec chroot . bash -e -c "$2"
"""
WORK = """
~/.local/rengafs/bin/rengafs doctor
cd ~/buckets
mkdir sales
echo one > sales/a
echo two > sales/a
cat sales/.versions/a/*
cd
~/.local/rengafs/bin/rengafs umount ~/buckets
"""


def installation():
    """The block of the README's first minute that installs a wheel, and mounts."""
    blocks = re.findall(
        r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    (block,) = (block for block in blocks if "apt-get install" in block)
    return block


def archive():
    """Where this machine has Debian from."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return next(
        line.split()[2] for line in told.stdout.splitlines() if line.startswith("bookworm main ")
    )


@pytest.fixture
def debian(tmp_path):
    """The smallest Debian 12, which trusts and finds what this machine does."""
    root = tmp_path / "debian"
    made = subprocess.run(
        [
            "debootstrap",
            "--variant=minbase",
            "--include=ca-certificates",
            "bookworm",
            root,
            archive(),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr
    for name in ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", CERTIFICATES):
        if (Path("/") / name).exists():
            shutil.copyfile(Path("/") / name, root / name)
    (root / "etc/apt/apt.conf.d/90assume").write_text('APT::Get::Assume-Yes "true";\n')
    yield root
    shutil.rmtree(root)


def in_there(root, script):
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
        **{key: value for key, value in os.environ.items() if key.startswith("PIP_INDEX")},
        "PIP_CERT": f"/{CERTIFICATES}",
    }
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "bash",
            "-c",
            ENTER,
            "enter",
            root,
            script,
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_first_page_gets_to_a_mounted_bucket_on_a_clean_debian(debian, tmp_path):
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run([sys.executable, *build], check=True, capture_output=True, timeout=SECONDS)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.copy(wheel, debian / "root")

    done = in_there(debian, f"cd\napt-get update -qq\n{installation()}\n{WORK}")

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "\none\ntwo\n" in done.stdout
