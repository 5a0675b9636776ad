"""A body that is sent to an S3, and a bound for the store's silence meanwhile.

The HTTP library's own bound begins only when all of a body is sent. Until then it waits without
any: for "100 Continue", and for a store that takes no more.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


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
