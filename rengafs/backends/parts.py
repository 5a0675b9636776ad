"""How a blob is cut into the parts that a store takes, and how many bytes of them are in memory.

A part is in memory while it is gathered and sent. A blob has up to three there: two under way
and the next one; of parts over `LARGE_BYTES` one each. So up to 80 GiB (S3: 10,000 parts of
8 MiB) a blob of known length takes 24 MiB, and up to 300 GiB 96 MiB; beyond that, two parts of a
ten-thousandth of its length.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from rengafs.backends.base import HASHED_BYTES
from rengafs.backends.store import Store

LARGE_BYTES = 32 << 20
"""A part that is longer is not sent beside others of its blob."""
LONGEST_PART = 4 << 30
"""Stores take 5 GiB."""

Sizes = Callable[[int], int]
"""Tells how long a part is, by its number."""


def sizes(part_bytes: int, max_parts: int, length: int | None) -> Sizes:
    """Return how long the parts of a blob are; *length* is None where nobody knows it."""
    if length is None:
        return partial(growing_part, part_bytes, max_parts)
    size = fitting(part_bytes, max_parts, length)
    return lambda _: size


def fitting(part_bytes: int, most: int, length: int) -> int:
    """Return how long parts are, *part_bytes* at least, so that at most so many do for a length."""
    pieces = -(-length // most // HASHED_BYTES)
    return max(pieces * HASHED_BYTES, part_bytes)


def growing_part(part_bytes: int, max_parts: int, number: int) -> int:
    """Return how long a part is of a stream whose length nobody knows.

    Each tenth of the parts that a store takes has parts twice as long as the tenth before. So
    an S3 takes its 5 TiB, and what is shorter than 8 GiB goes by the shortest parts.
    """
    return min(part_bytes << min(number // (max_parts // 10), 9), LONGEST_PART)


def copied_part(store: Store, base_size: int) -> int:
    """Return how much of a base is copied at once: a quarter of all parts must do for it."""
    return store.copied_bytes * -(-max(base_size, 1) // (store.copied_bytes * store.max_parts // 4))


async def cut(stream: AsyncIterable[bytes], size: Sizes) -> AsyncIterator[list[bytes]]:
    """Yield a stream in lists of *size(number)* bytes together, the last one shorter.

    There is one at least.
    """
    pieces: list[bytes] = []
    room, small, count = size(0), 0, 0
    async for piece in stream:
        view = memoryview(piece)
        while view:
            part = view[:room]
            pieces.append(piece if len(part) == len(piece) else bytes(part))
            room -= len(part)
            small = small + 1 if len(part) < 4096 else 0
            if small >= 4096:
                # A list of single bytes would weigh fifty times what it holds.
                pieces[-small:] = [b"".join(pieces[-small:])]
                small = 0
            view = view[len(part) :]
            if not room:
                yield pieces
                count += 1
                pieces, room, small = [], size(count), 0
    if pieces or not count:
        yield pieces


class Room:
    """Bytes that are sent at a time, of all blobs; what is longer than all of it goes alone."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._entrance = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, count: int) -> AsyncIterator[None]:
        """Have room for so many bytes: first come, first served."""
        count = min(count, self._most)
        async with self._entrance:
            while self._left < count:
                self._freed.clear()
                await self._freed.wait()
            self._left -= count
        try:
            yield
        finally:
            self._left += count
            self._freed.set()
