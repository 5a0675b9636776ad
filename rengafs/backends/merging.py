"""What a composition consists of, byte by byte: payload, base, zeros. No storing here."""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import Literal

from rengafs.backends.base import PIECE_BYTES, Composition
from rengafs.protocol.errors import BodyMismatch

Origin = Literal["payload", "base", "zero"]
Reader = Callable[[int, int], AsyncIterator[bytes]]
"""Yields bytes of the base, from one offset to another."""


def layout(plan: Composition, start: int, stop: int) -> Iterator[tuple[Origin, int, int]]:
    """Yield where bytes *start* to *stop* come from: (origin, from, to), in order."""
    position = start
    for offset, length in (*plan.extents, (plan.length, 0)):
        first, last = max(offset, start), min(offset + length, stop)
        gap = min(max(offset, position), stop)
        yield from _gap(plan, position, gap)
        position = max(position, gap)
        if first < last:
            yield "payload", first, last
            position = last


def _gap(plan: Composition, start: int, stop: int) -> Iterator[tuple[Origin, int, int]]:
    known = min(plan.base_size, stop) if plan.base is not None else 0
    if start < known:
        yield "base", start, known
        start = known
    if start < stop:
        yield "zero", start, stop


def overlaps(plan: Composition, start: int, stop: int) -> bool:
    """Whether the payload has any of bytes *start* to *stop*."""
    return any(offset < stop and start < offset + length for offset, length in plan.extents)


class Payload:
    """A payload from which exact numbers of bytes are taken, and which is checked at its end."""

    def __init__(self, plan: Composition, stream: AsyncIterable[bytes]) -> None:
        self._plan = plan
        self._stream = aiter(stream)
        self._left = b""
        # Nobody asks for it otherwise, and it costs as much as all else that is done here.
        self._digest = hashlib.sha256() if plan.payload_sha256 else None

    async def take(self, count: int) -> AsyncIterator[bytes]:
        """Yield the next *count* bytes. Raises `BodyMismatch` if there are fewer."""
        while count:
            if not self._left:
                self._left = await self._next()
                if not self._left:
                    raise BodyMismatch("the payload is shorter than was announced")
            part, self._left = self._left[:count], self._left[count:]
            count -= len(part)
            yield part

    async def finish(self) -> None:
        """Raise `BodyMismatch` if there is more, or the hash is another."""
        if self._left or await self._next():
            raise BodyMismatch("the payload is longer than was announced")
        wanted = self._plan.payload_sha256.lower()
        if self._digest is not None and wanted != self._digest.hexdigest():
            raise BodyMismatch("the payload has another sha256 than was announced")

    async def _next(self) -> bytes:
        async for piece in self._stream:
            if piece:
                if self._digest is not None:
                    self._digest.update(piece)
                return piece
        return b""


async def merged(
    plan: Composition, payload: Payload, read: Reader, start: int, stop: int
) -> AsyncIterator[bytes]:
    """Yield bytes *start* to *stop* of a composition; ranges must be asked for in order."""
    for origin, first, last in layout(plan, start, stop):
        if origin == "payload":
            async for piece in payload.take(last - first):
                yield piece
        elif origin == "base":
            async for piece in read(first, last):
                yield piece
        else:
            while first < last:
                count = min(PIECE_BYTES, last - first)
                yield bytes(count)
                first += count


async def whole(plan: Composition, payload: Payload, read: Reader) -> AsyncIterator[bytes]:
    """Yield all bytes of a composition; raise at the end what is wrong with the payload."""
    async for piece in merged(plan, payload, read, 0, plan.length):
        yield piece
    await payload.finish()
