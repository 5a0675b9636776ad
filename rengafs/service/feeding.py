"""The feed: each stream replays what it missed from the catalog, then follows.

Changes of this process wake the streams at once. Those of other processes are announced by
PostgreSQL; where they are not (SQLite, or the announcing connection is lost), they are found
by asking the catalog for its last number, often, but only while there are streams.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from rengafs.protocol.errors import RengafsError
from rengafs.protocol.records import Change, Heartbeat

log = logging.getLogger(__name__)

POLL_SECONDS = 0.08
LISTENING_POLL_SECONDS = 1.0
"""While changes are announced: an announcement may yet be lost."""
LISTEN_PAUSES = (0.1, 1.0, 5.0, 15.0)
"""Seconds before the tries to listen again; the last from then on."""
HEARTBEAT_SECONDS = 5.0


class Hub:
    """Tells the streams when to look. Belongs to one event loop."""

    def __init__(
        self,
        last_change: Callable[[], Awaitable[int]],
        announcements: Callable[[], AsyncIterator[int] | None] = lambda: None,
    ) -> None:
        """*announcements*: see `Catalog.announcements`."""
        self._last_change = last_change
        self._announcements = announcements
        self._listening = False
        self._news = asyncio.Event()
        self._streams = 0
        self._busy = asyncio.Event()
        self._last = 0
        self.closed = False

    def look(self) -> None:
        """Wake every stream: there may be something new."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """End every stream at once: the service stops."""
        self.closed = True
        self.look()

    async def watch(self) -> None:
        """Find other processes' changes. Runs as long as the service."""
        while not self.closed:
            await self._busy.wait()
            try:
                last = await self._last_change()
            except RengafsError as error:
                # The streams go on: they fail, and are begun again, each by itself.
                log.warning("the catalog does not tell its last change: %s", error)
                last = self._last
            self._reached(last)
            await asyncio.sleep(LISTENING_POLL_SECONDS if self._listening else POLL_SECONDS)

    async def listen(self) -> None:
        """Hear of other processes' changes, where they are announced. Runs as `watch` does."""
        failures = 0
        while not self.closed:
            await self._busy.wait()
            announced = self._announcements()
            if announced is None:
                return
            try:
                async for number in announced:
                    self._listening, failures = True, 0
                    self._reached(number)
            except RengafsError as error:
                log.warning("%s; it is asked instead", error)
            finally:
                self._listening = False
            await asyncio.sleep(LISTEN_PAUSES[min(failures, len(LISTEN_PAUSES) - 1)])
            failures += 1

    def _reached(self, change: int) -> None:
        if change > self._last:
            self._last = change
            self.look()

    async def stream(
        self,
        since: int,
        changes: list[Change],
        read: Callable[[int], Awaitable[list[Change]]],
    ) -> AsyncIterator[bytes]:
        """Yield lines: the changes after *since*, of which *changes* are the first."""
        self._streams += 1
        self._busy.set()
        try:
            yield _line(Heartbeat(heartbeat=since))
            beaten = time.monotonic()
            while not self.closed:
                if changes:
                    yield b"".join(_line(change) for change in changes)
                    since = changes[-1].number
                    changes = await read(since)
                    continue
                # Taken before the catalog is asked, so that nothing falls between.
                news = self._news
                changes = await read(since)
                if changes:
                    continue
                await _wait(news, beaten + HEARTBEAT_SECONDS - time.monotonic())
                if time.monotonic() - beaten >= HEARTBEAT_SECONDS:
                    yield _line(Heartbeat(heartbeat=since))
                    beaten = time.monotonic()
        finally:
            self._streams -= 1
            if not self._streams:
                self._busy.clear()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()


def _line(record: Change | Heartbeat) -> bytes:
    return msgspec.json.encode(record) + b"\n"
