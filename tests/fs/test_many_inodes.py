"""Many files seen cost the mount little memory: the kernel is asked to forget the eldest."""

import os
import re
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
KNOWN, KNOWN_BYTES = 100_000, 150 * MIB
"""The promise: so many inodes that the kernel knows, and the whole process."""
PEAK_BYTES = 300 * MIB
"""The promise: at any time while a million files are found."""
BARE_BYTES = 70 * MIB
"""Of the promise, what a process has that knows no files: Python, libraries, the last pages."""
SMALL, LARGE = 100, 3
"""Files of 4 KiB and of 4 MiB that are opened and read, too."""


def allowed(inodes: int) -> float:
    """Return the memory for fewer inodes than the promise is of: as much for each."""
    return BARE_BYTES + (KNOWN_BYTES - BARE_BYTES) * inodes / KNOWN


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


def memory(process: int, what: str = "VmRSS") -> int:
    """Return the bytes of memory that a process has, or had at most (``VmHWM``)."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) << 10


def add_contents(talk: Talk, name: str) -> dict[str, bytes]:
    """Make files with bytes in them, below the directory ``read``; return all of those."""
    bucket = talk.run(calls.path(name)).node
    folder = talk.do(MakeDirectory(parent=bucket.id, name="read")).node
    contents = {f"small{number:03}": os.urandom(4096) for number in range(SMALL)}
    contents |= {f"large{number}": os.urandom(4 * MIB) for number in range(LARGE)}
    for file, data in contents.items():
        talk.file(folder, file, data)
    return contents


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


@pytest.mark.parametrize("place", ["here", "far"])
def test_inodes_that_the_kernel_knows_cost_little_memory(home, place):
    """The whole process counts; and files that were read do not stay in it for ever."""
    listen = "" if place == "here" else "127.0.0.1:0"
    with running_service(listen=listen) as service, talking(service) as talk:
        directories = 10
        name = fill(talk, directories)
        contents = add_contents(talk, name)
        files = directories * IN_DIRECTORY
        with mounted(home, talk) as path:
            number = process(home)
            assert found_below(path / name) >= files
            for file, data in contents.items():
                assert (path / name / "read" / file).read_bytes() == data
            inodes = known(path)
            assert inodes >= files  # or the kernel was short of memory, and nothing is proved
            used = memory(number)
            print("USED", place, inodes, used / MIB, memory(number, "VmHWM") / MIB)
            assert used < allowed(files), used / MIB


def test_many_files_that_are_found_cost_little_memory_at_any_time(home, talk):
    directories = scaled(10, 100)  # 10,000 files, or a million
    name = fill(talk, directories)
    contents = add_contents(talk, name)
    with mounted(home, talk) as path:
        number = process(home)
        assert found_below(path / name) > directories * IN_DIRECTORY
        for file, data in contents.items():
            assert (path / name / "read" / file).read_bytes() == data
        peak = memory(number, "VmHWM")
        # A bound that is for a million says little of ten thousand: of those, as above.
        assert peak < scaled(allowed(known(path)), PEAK_BYTES), peak / MIB
