"""Many files seen cost the mount little memory: the kernel is asked to forget the eldest."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mounts import Home
from support.scale import scaled
from support.services import running_service
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol.operations import MakeDirectory, MakeFile
from rengafs.protocol.records import ROOT

IN_DIRECTORY = scaled(1000, 10_000)
AT_ONCE = 2000
SECONDS = 300
MIB = 1 << 20


def fill(talk: Talk, directories: int) -> str:
    """Make a bucket of empty files; return its name."""
    bucket = talk.bucket()
    for number in range(directories):
        made = talk.do(MakeDirectory(parent=bucket.id, name=f"d{number}")).node
        for start in range(0, IN_DIRECTORY, AT_ONCE):
            stop = min(start + AT_ONCE, IN_DIRECTORY)
            some = [MakeFile(parent=made.id, name=f"f{index:06}") for index in range(start, stop)]
            talk.run(calls.apply(some, atomic=True))
    entries = talk.run(calls.entries(ROOT)).entries
    return next(entry.name for entry in entries if entry.node.id == bucket.id)


@pytest.fixture
def talk() -> Iterator[Talk]:
    with running_service() as service, talking(service) as made:
        yield made


def mounted(home: Home, talk: Talk, *options: str):
    token = home.path / "token"
    token.write_text(talk.service.token)
    where = ("--endpoint", talk.service.address, "--token-file", str(token))
    return home.mounted("m", *where, *options)


def process(home: Home) -> int:
    """Return the process of the one mount."""
    (found,) = [
        number
        for number in home.processes()
        if b"--foreground" in Path(f"/proc/{number}/cmdline").read_bytes()
    ]
    return found


def memory(process: int) -> int:
    """Return the bytes of memory that a process has."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def found_below(path: Path) -> int:
    """Look at everything below a path, with its attributes; return how much that is."""
    done = subprocess.run(
        ["find", path, "-size", "-1", "-printf", "x"], capture_output=True, check=True, timeout=1500
    )
    return len(done.stdout)


def test_files_beyond_the_limit_are_forgotten_and_found_again(home, talk):
    directories = 8
    name = fill(talk, directories)
    with mounted(home, talk, "--most-inodes", "1000") as path:
        kept = (path / name / "d0" / "f000000").open("rb")
        inside = os.open(path / name / "d1", os.O_RDONLY | os.O_DIRECTORY)
        try:
            for _ in range(2):
                assert found_below(path / name) == directories * (IN_DIRECTORY + 1) + 1
            deadline = time.monotonic() + SECONDS
            while known(path) > 1000:
                assert time.monotonic() < deadline, known(path)
                time.sleep(0.05)
            assert kept.read() == b""
            assert os.stat("f000001", dir_fd=inside).st_size == 0
            assert os.fstat(kept.fileno()).st_nlink == 1
        finally:
            kept.close()
            os.close(inside)


def known(path: Path) -> int:
    """Return how many inodes the mount has."""
    return int(os.getxattr(path, "user.renga.inodes"))


def test_many_files_cost_little_memory(home, talk):
    directories = scaled(10, 100)
    name = fill(talk, directories)
    with mounted(home, talk) as path:
        number = process(home)
        before = memory(number)
        found_below(path / name)
        grown = memory(number) - before
        # 10,000 files, or a million.
        assert grown < scaled(30, 230) * MIB, grown / MIB
