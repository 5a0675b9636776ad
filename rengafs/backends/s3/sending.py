"""A body that is sent to an S3, and a bound for the store's silence meanwhile.

The HTTP library's own bound begins only when all of a body is sent. Until then it waits without
any: for "100 Continue", and for a store that takes no more.
"""

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from weakref import WeakSet


class Body(io.BytesIO):
    """Bytes to send; the library reads more of them when what it had is on its way."""

    progress: Callable[[], None] | None = None
    """Called at each read, in any thread."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, and tell that sending goes on."""
        if self.progress is not None:
            self.progress()
        return super().read(size)


@asynccontextmanager
async def unless_silent(seconds: float, body: Body | None = None) -> AsyncIterator[None]:
    """Raise `TimeoutError` when nothing went on for *seconds*: no end, and no read of *body*."""
    loop = asyncio.get_running_loop()
    open_ = True
    async with asyncio.timeout(seconds) as bound:

        def prolong() -> None:
            # The library reads in a thread: this may come when all is over.
            if open_ and not bound.expired():
                bound.reschedule(loop.time() + seconds)

        def progress() -> None:
            loop.call_soon_threadsafe(prolong)

        if body is not None:
            body.progress = progress
        try:
            yield
        finally:
            open_ = False
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
