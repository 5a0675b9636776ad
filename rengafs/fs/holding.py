"""Tells the service which versions this mount needs, so that no prune takes them.

Those that are open, and those of a lock file. An old version is told of as soon as it is
opened. One that was current is safe for a day after it was replaced, whoever prunes, so
telling of it now and then is enough. The service forgets a mount that says nothing for
some hours.
"""

import logging
from collections.abc import Callable, Iterable

import trio

from rengafs.fs.remote import Remote
from rengafs.protocol.errors import NotFound, RengafsError

log = logging.getLogger(__name__)

RENEW_SECONDS = 3600.0
HELD_SECONDS = 4 * 3600
LOOK_SECONDS = 60.0
"""How often it is looked whether something has been closed."""
PAUSE_SECONDS = 1.0
"""Between two tellings: a tool that opens ten thousand old versions is told of in few."""
RELEASE_SECONDS = 2.0
MOST = 100_000
"""Versions that are told of; the service takes some more."""


class Holding:
    """What one mount holds.

    :param needed: the versions that are needed now.
    """

    def __init__(self, remote: Remote, needed: Callable[[], Iterable[int]]) -> None:
        self._remote = remote
        self._needed = needed
        self._told: frozenset[int] = frozenset()
        self._told_at = float("-inf")
        self._opened = trio.Event()

    def opened_old(self) -> None:
        """An old version has been opened: tell of it at once."""
        self._opened.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        while True:
            with trio.move_on_after(LOOK_SECONDS):
                await self._opened.wait()
            self._opened = trio.Event()
            try:
                await self._tell()
            except NotFound:
                log.info("the service does not know of held versions; it is an older one")
                return
            except RengafsError as error:
                log.warning("the service was not told which versions are open: %s", error)
            await trio.sleep(PAUSE_SECONDS)

    async def release(self) -> None:
        """Let go of all, if the service answers soon."""
        if not self._told:
            return
        with trio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                await self._remote.hold([], HELD_SECONDS)
            except RengafsError as error:
                log.info("the service was not told that nothing is open any more: %s", error)

    async def _tell(self) -> None:
        needed = frozenset(sorted(self._needed())[-MOST:])
        overdue = trio.current_time() - self._told_at >= RENEW_SECONDS
        if needed == self._told and not (needed and overdue):
            return
        await self._remote.hold(sorted(needed), HELD_SECONDS)
        self._told, self._told_at = needed, trio.current_time()
