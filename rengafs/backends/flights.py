"""Some tasks of one call at a time; the first failure is the call's."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


class Flights:
    """Tasks under way, at most *most* of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: set[asyncio.Task[None]] = set()

    async def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin *work* when there is room; raise what an earlier one failed with."""
        try:
            while len(self._under_way) >= self._most:
                await self._some()
        except BaseException:
            work.close()
            raise
        self._under_way.add(asyncio.ensure_future(work))

    async def land(self) -> None:
        """Wait for all of them; raise what one failed with."""
        while self._under_way:
            await self._some()

    async def cancel(self) -> None:
        """End those that are left."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way.clear()

    async def _some(self) -> None:
        done, self._under_way = await asyncio.wait(
            self._under_way, return_when=asyncio.FIRST_COMPLETED
        )
        failures = [error for task in done if (error := _failure(task)) is not None]
        for other in failures[1:]:
            log.info("something else failed as well: %s", other)
        if failures:
            raise failures[0]


def _failure(task: "asyncio.Task[None]") -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
