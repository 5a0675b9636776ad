"""Blobs read where they lie: real files, and a guide that knows where they are."""

import hashlib
import os
from pathlib import Path

import pytest
import trio
import trio.testing

from rengafs.fs.reads.blobfiles import BlobFiles
from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.cache import BlockCache, CacheOptions
from rengafs.fs.reads.readers import IDLE_SECONDS, Readers
from rengafs.protocol.records import Whereabouts

SIZE = 100_000


class Folder:
    """Says that version N is the file N of a directory; or that it is elsewhere."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[int] = []

    def write(self, version: int) -> bytes:
        data = os.urandom(SIZE)
        (self.directory / str(version)).write_bytes(data)
        return data

    async def whereabouts(self, version: int) -> Whereabouts:
        self.asked.append(version)
        path = self.directory / str(version)
        if not path.exists():
            return Whereabouts()
        status = path.stat()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return Whereabouts(
            path=str(path), device=status.st_dev, inode=status.st_ino, size=SIZE, sha256=sha256
        )


async def test_one_blob_that_can_not_be_opened_does_not_turn_the_others_away(tmp_path):
    folder = Folder(tmp_path)
    data = folder.write(1)
    (tmp_path / "2").symlink_to(tmp_path / "1")
    blobs = BlobFiles(folder)

    assert await blobs.open(2, SIZE) is None
    blob = await blobs.open(1, SIZE)

    assert blob is not None
    assert await blob.read(10, SIZE) == data[10:]
    assert blobs.here
    blob.close()
    assert blobs.open_now == 0


async def test_whether_blobs_are_here_is_asked_once(tmp_path):
    folder = Folder(tmp_path)
    folder.write(1)
    blobs = BlobFiles(folder)
    found = []

    async def ask(version: int) -> None:
        found.append(await blobs.are_here(version, SIZE))

    async with trio.open_nursery() as nursery:
        for version in (1, 1, 1):
            nursery.start_soon(ask, version)

    assert found == [True] * 3
    assert folder.asked == [1]
    assert blobs.open_now == 0


async def test_one_blob_elsewhere_and_copies_are_kept(tmp_path):
    folder = Folder(tmp_path)
    folder.write(1)
    blobs = BlobFiles(folder)

    assert await blobs.are_here(1, SIZE)
    assert await blobs.open(2, SIZE) is None

    assert not await blobs.are_here(1, SIZE)


@pytest.mark.usefixtures("autojump_clock")
async def test_an_open_blob_that_nobody_reads_is_let_go_of_after_a_while(tmp_path):
    folder = Folder(tmp_path)
    data = folder.write(1)
    blobs = BlobFiles(folder)
    cache = BlockCache(CacheOptions(tmp_path / "cache", limit_bytes=0), "c")
    async with trio.open_nursery() as nursery:
        readers = Readers(folder, cache, Budget(), nursery, blobs=blobs)
        for _ in range(2):
            assert await readers.read(1, SIZE, 0, SIZE) == data
        held = readers.open(1, SIZE)
        await trio.sleep(IDLE_SECONDS + 1)
        assert blobs.open_now == 1
        await readers.close(held)
        assert blobs.open_now == 1

        await trio.sleep(IDLE_SECONDS + 1)

        assert blobs.open_now == 0
        assert await readers.read(1, SIZE, 0, SIZE) == data
        await readers.aclose()
        assert blobs.open_now == 0
        assert not nursery.child_tasks
