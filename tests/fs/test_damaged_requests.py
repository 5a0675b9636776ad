"""Bits that change on the way to the service: never a wrong version, and the save succeeds."""

import errno
import os
from contextlib import contextmanager

import pytest
from support.flipping import Flips, flipped
from support.services import running_service
from support.writing import eventually, saves, sync

MIB = 1 << 20


@contextmanager
def through(home, flips, *options):
    """Give a mount whose requests meet *flips*."""
    with running_service(listen="127.0.0.1:0") as service:
        token = home.path / "token"
        token.write_text(service.token)
        with flipped(service.address, flips) as address:
            where = ["--endpoint", address, "--token-file", str(token), *options]
            with home.mounted("buckets", *where) as path:
                yield path


def save(file, data, step):
    """Write a file in steps, not from its beginning on if they are odd."""
    with file.open("wb", buffering=0) as out:
        for start in range(0, len(data), step):
            out.write(data[start : start + step])


def edit(file, data):
    """Write a middle of more than a mebibyte over a file."""
    with file.open("r+b", buffering=0) as out:
        out.seek(MIB)
        out.write(data)


def test_a_small_save_is_sent_again(home):
    flips = Flips(times=0)
    with through(home, flips) as path:
        (path / "data").mkdir()
        for number, at in enumerate([0.0, 0.02, 0.3, 1.0], 1):
            file, data = path / "data" / f"f{number}", os.urandom(300)
            file.touch()
            flips.times, flips.at = number, at
            file.write_bytes(data)
            assert flips.done == number
            assert saves(file) == [data]


@pytest.mark.parametrize("options", [[], ["--write-back"]])
def test_a_large_edit_is_sent_again(home, options):
    flips = Flips(times=0)
    before, middle = os.urandom(4 * MIB), os.urandom(2 * MIB)
    with through(home, flips, *options) as path:
        (path / "data").mkdir()
        for number, (piece, at) in enumerate([(0, 0.0), (0, 0.001), (3, 0.5)], 1):
            file = path / "data" / f"f{number}"
            save(file, before, MIB)
            sync(file)
            flips.times, flips.piece, flips.at = number, piece, at
            edit(file, middle)
            eventually(lambda file=file: os.getxattr(file, "user.renga.state") == b"clean")
            assert flips.done == number
            assert saves(file) == [before, before[:MIB] + middle + before[3 * MIB :]]


def test_what_is_sent_while_it_is_written_is_sent_again(home):
    flips = Flips(times=0)
    data = os.urandom(18 * MIB)
    with through(home, flips) as path:
        (path / "data").mkdir()
        for number, (piece, at) in enumerate([(0, 0.0), (40, 0.5)], 1):
            file = path / "data" / f"f{number}"
            file.touch()
            flips.times, flips.piece, flips.at = number, piece, at
            save(file, data, MIB)
            assert flips.done == number
            assert saves(file) == [data]


def test_a_save_that_is_damaged_each_time_fails_and_its_bytes_are_kept(home):
    flips = Flips(times=0)
    data = os.urandom(3 * MIB)
    with through(home, flips, "--patience", "2") as path:
        (path / "data").mkdir()
        out = os.open(path / "data" / "f", os.O_CREAT | os.O_WRONLY)
        os.write(out, data)
        flips.times = 1_000_000
        with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
            os.close(out)
        (kept,) = (home.path / ".local" / "state").rglob("drafts/*/*/data")
        assert kept.read_bytes() == data
        assert f"{path}/data/f: failed: " in home.run("status").stdout
        assert not (path / "data" / ".versions" / "f").exists()
        flips.times = 0


def test_bytes_of_a_file_go_to_the_service_while_it_is_written(home):
    flips = Flips(times=0)
    data = os.urandom(24 * MIB)
    with through(home, flips) as path:
        (path / "data").mkdir()
        with (path / "data" / "f").open("wb", buffering=0) as out:
            for start in range(0, len(data), MIB):
                out.write(data[start : start + MIB])
            eventually(lambda: flips.passed > 20 * MIB)
        before = flips.passed
        assert before < 26 * MIB, "what had been sent was sent again"
        assert saves(path / "data" / "f") == [data]
