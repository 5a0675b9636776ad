"""How often, and for how long, something temporary is tried again.

Only `Unavailable` is: what a store refuses, lacks or has damaged stays so.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from rengafs.protocol.errors import Corrupt, Unavailable

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """A bound for tries. Waits grow twofold, and differ so that callers do not come at once."""

    seconds: float = 20.0
    """No try begins later than this after the first; each try has a bound of its own."""
    first: float = 0.1
    longest: float = 4.0

    async def insist(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """Return what *call* returns, tried again while that is temporary."""
        began, wait = time.monotonic(), self.first
        while True:
            try:
                return await call()
            except Unavailable as error:
                wait = await self.pause(error, began, wait, what)

    async def pause(self, error: Unavailable, began: float, wait: float, what: str) -> float:
        """Wait before another try; return the next wait. Raises *error* when time is over."""
        if time.monotonic() - began + wait > self.seconds:
            raise error
        log.info("%s is tried again: %s", what, error.message)
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        return min(wait * 2, self.longest)


async def resumed(
    patience: Patience,
    read: Callable[[int], AsyncGenerator[bytes, None]],
    start: int,
    stop: int,
    what: str,
) -> AsyncGenerator[bytes, None]:
    """Yield bytes *start* to *stop*; where the stream breaks, *read* goes on from there.

    Raises `Corrupt` if the stream ends early without breaking.
    """
    began, wait = time.monotonic(), patience.first
    while start < stop:
        try:
            async with aclosing(read(start)) as pieces:
                async for piece in pieces:
                    yield piece
                    start += len(piece)
                    # Something came: the clock for giving up begins anew.
                    began, wait = time.monotonic(), patience.first
            if start < stop:
                raise Corrupt(f"{what} ended {stop - start} bytes early")
        except Unavailable as error:
            wait = await patience.pause(error, began, wait, what)
