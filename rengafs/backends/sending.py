"""A body that is sent to a store by aiohttp, and a bound for the store's silence meanwhile.

The library's own bound begins only when all of a body is sent. Until then it waits without
any: for "100 Continue", and for a store that takes no more.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakSet

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from rengafs.backends.base import PIECE_BYTES


class Body(Payload):
    """Pieces that are sent one after another, and again if asked; never joined."""

    progress: Callable[[], None] | None = None
    """Called when the store is ready for more."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces)
        self._pieces = pieces
        self._size = sum(map(len, pieces))

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all pieces."""
        for piece in _gathered(self._pieces):
            if self.progress is not None:
                self.progress()
            await writer.write(piece)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """It is no text; see the library's."""
        raise TypeError("a blob is no text")

    # What the S3 library asks of a body before it hands it on to the HTTP library.

    def __len__(self) -> int:
        return self._size or 0

    def read(self, size: int = -1) -> bytes:
        """Nobody calls it: who has it, is taken for a body."""
        raise TypeError("a blob is sent by pieces")


def _gathered(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """Yield some large pieces instead of many small ones: each costs the event loop a turn."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


@asynccontextmanager
async def unless_silent(seconds: float, body: Body | None = None) -> AsyncIterator[None]:
    """Raise `TimeoutError` when nothing went on for *seconds*: no end, and no write of *body*."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds) as bound:

        def prolong() -> None:
            if not bound.expired():
                bound.reschedule(loop.time() + seconds)

        if body is not None:
            body.progress = prolong
        try:
            yield
        finally:
            if body is not None:
                body.progress = None


class Sockets:
    """The sockets of a store's clients, to be cut at the end.

    A connection that is closed waits until the store has taken what was written. A store that
    takes nothing more would keep it for ever.
    """

    def __init__(self, seconds: float) -> None:
        """Have the kernel give a connection up when the store took nothing for *seconds*."""
        self._milliseconds = int(seconds * 1000)
        self._made: WeakSet[socket.socket] = WeakSet()

    def __call__(self, address: tuple[Any, ...]) -> socket.socket:
        """Make a socket; *address* is one answer of ``getaddrinfo``."""
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._milliseconds)
        self._made.add(made)
        return made

    async def cut(self) -> None:
        """End all that is still open."""
        for left in self._made:
            with suppress(OSError):
                left.shutdown(socket.SHUT_RDWR)
        # A round of the loop to see it, and one to tell the transports.
        for _ in range(2):
            await asyncio.sleep(0)
