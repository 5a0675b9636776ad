"""Full disks under a mount without --write-back: ENOSPC where it belongs, and room again."""

import errno
import os
import subprocess
from contextlib import contextmanager

import pytest
from support.disks import resize, small_disk
from support.writing import eventually, saves

MIB = 1 << 20


@contextmanager
def small(directory, mebibytes):
    """Have a small disk at a directory of a home; give its own place, to change its size."""
    directory.mkdir(parents=True)
    with small_disk(mebibytes) as disk:
        subprocess.run(["mount", "--bind", disk, directory], check=True)
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", directory], check=True)


def test_a_full_cache_costs_no_reader_anything(home):
    bodies = [os.urandom(3 * MIB) for _ in range(4)]
    with home.mounted("other") as other:
        (other / "data").mkdir()
        for number, body in enumerate(bodies):
            (other / "data" / f"f{number}").write_bytes(body)
        cache = home.path / "small-cache"
        with small(cache, 4) as disk:
            (disk / "filler").write_bytes(bytes(3 * MIB))
            with home.mounted("buckets", "--cache-dir", str(cache / "c")) as path:
                files = [path / "data" / f"f{number}" for number in range(len(bodies))]
                eventually(files[-1].exists)
                assert [file.read_bytes() for file in files] == bodies
                (disk / "filler").unlink()
                resize(disk, 32)
                assert [file.read_bytes() for file in files] == bodies


@pytest.mark.parametrize(
    ("place", "mebibytes"),
    [(".local/state/rengafs", 4), (".local/share/rengafs", 16)],
    ids=["drafts", "service"],
)
def test_a_save_that_finds_no_room_is_enospc_and_may_be_repeated_when_there_is(
    home, place, mebibytes
):
    body = os.urandom(24 * MIB)
    with small(home.path / place, mebibytes) as disk, home.mounted() as path:
        (path / "data").mkdir()
        file = path / "data" / "f"
        file.write_bytes(b"before")
        with pytest.raises(OSError, match=rf"Errno {errno.ENOSPC}"):
            file.write_bytes(body)
        assert (path / "data").is_dir()
        # As on a local disk, what was written before it was full is there.
        assert saves(file)[0] == b"before"
        assert all(body.startswith(save) for save in saves(file)[1:])
        resize(disk, 128)
        file.write_bytes(body)
        assert file.read_bytes() == body
        found = saves(file)
        assert (found[0], found[-1]) == (b"before", body)
