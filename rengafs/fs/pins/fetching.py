"""Bytes of pinned versions into the block cache: small ones in batches, large ones as streams.

What is there already is not asked for again. Where the blobs are on this machine, and may be
read there, nothing is copied.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from rengafs.fs.reads.blockfiles import allocated
from rengafs.fs.reads.cache import BLOCK_BYTES, BlockCache
from rengafs.fs.remote import Remote
from rengafs.protocol.errors import NoSpace, UnexpectedAnswer
from rengafs.protocol.records import Read

SMALL_BYTES = 64 << 10
BATCH_BYTES = 4 << 20
BATCH_FILES = 512

Sized = tuple[int, int]
"""A version and its size."""
Fetched = Callable[[int], Awaitable[None]]
"""Told of so many bytes that are at hand now, or were found so."""


def needed_bytes(size: int) -> int:
    """Return about what the blocks of a version of *size* bytes take on disk."""
    whole, rest = divmod(size, BLOCK_BYTES)
    return whole * allocated(BLOCK_BYTES) + (allocated(rest) if rest else 0)


async def is_in_place(remote: Remote, version: int) -> bool:
    """Whether the blob of a version is a file that this process may read."""
    where = await remote.whereabouts(version)
    return bool(where.path) and await trio.to_thread.run_sync(os.access, where.path, os.R_OK)


async def fetch(
    remote: Remote, cache: BlockCache, versions: Sequence[Sized], fetched: Fetched
) -> None:
    """Have all blocks of some versions on disk.

    Raises what the service raises, `NoSpace`, OSError.
    """
    small = [one for one in versions if 0 < one[1] <= SMALL_BYTES]
    for batch in _batches(small):
        await _fetch_many(remote, cache, batch)
        await fetched(sum(size for _, size in batch))
    for version, size in versions:
        if size > SMALL_BYTES:
            await _fetch_large(remote, cache, version, size, fetched)


def _batches(small: Sequence[Sized]) -> Iterator[list[Sized]]:
    batch: list[Sized] = []
    total = 0
    for one in small:
        if batch and (len(batch) == BATCH_FILES or total + one[1] > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(one)
        total += one[1]
    if batch:
        yield batch


async def _fetch_many(remote: Remote, cache: BlockCache, batch: Sequence[Sized]) -> None:
    sizes = dict(batch)
    missing = await cache.missing(list(sizes))
    if not missing:
        return
    results = await remote.read_many([Read(version=version) for version in missing])
    for version, (result, data) in zip(missing, results, strict=True):
        if result.problem is not None or len(data) != sizes[version]:
            why = (result.problem or {}).get("message", "it has another size")
            raise UnexpectedAnswer(f"version {version} is not to be had: {why}")
        await _keep(cache, version, 0, data)


async def _fetch_large(
    remote: Remote, cache: BlockCache, version: int, size: int, fetched: Fetched
) -> None:
    missing = await cache.missing_blocks(version, -(-size // BLOCK_BYTES))
    await fetched(max(0, size - len(missing) * BLOCK_BYTES))
    for first, stop in _runs(missing):
        start, end = first * BLOCK_BYTES, min(stop * BLOCK_BYTES, size)
        index, buffer = first, bytearray()
        async with remote.stream(version, start, end) as pieces:
            async for piece in pieces:
                buffer += piece
                while len(buffer) >= BLOCK_BYTES:
                    await _keep(cache, version, index, bytes(memoryview(buffer)[:BLOCK_BYTES]))
                    del buffer[:BLOCK_BYTES]
                    index += 1
                    await fetched(BLOCK_BYTES)
        if buffer and index * BLOCK_BYTES + len(buffer) == end:
            await _keep(cache, version, index, bytes(buffer))
        elif index * BLOCK_BYTES + len(buffer) != end:
            raise UnexpectedAnswer(f"the answer with version {version} ended early")


async def _keep(cache: BlockCache, version: int, index: int, data: bytes) -> None:
    if not await cache.keep(version, index, data):
        raise NoSpace("the disk of the cache has no room for what is pinned")


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of the runs in *indexes*."""
    start = 0
    for place in range(1, len(indexes) + 1):
        if place == len(indexes) or indexes[place] != indexes[place - 1] + 1:
            yield indexes[start], indexes[place - 1] + 1
            start = place
