"""Saves that met another's of the same base: both are versions, and both authors are told.

The later author learns it from the answer to the commit, the earlier one from the feed: when
another client saves a file that this mount has saved, and the new version says that it does
not know ours. That is looked up by a task of its own: the feed goes on meanwhile.
"""

import logging
import time

import trio
from cachetools import LRUCache

from rengafs.fs.remote import Remote
from rengafs.fs.writes.unsent import Unsent
from rengafs.protocol.errors import RengafsError, Unavailable
from rengafs.protocol.records import Version

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Files that this mount has saved last, that others have, and conflicts."""
WAITING = 1000
"""Saves of others that are yet to be looked at."""
RETRY_SECONDS = 5.0


class Conflicts:
    """The conflicts that this mount knows of."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._ours: LRUCache[int, tuple[int, str]] = LRUCache(REMEMBERED)
        self._theirs: LRUCache[int, int] = LRUCache(REMEMBERED)
        self._found: LRUCache[int, Unsent] = LRUCache(REMEMBERED)
        self._waiting: dict[int, tuple[int, int, str]] = {}
        """Of a file: the version of another, ours before it, and the name."""
        self._news = trio.Event()

    def saved(self, file: int, version: Version, name: str) -> None:
        """Take in what a save of this mount has become."""
        self._ours[file] = (version.id, name)
        if version.conflict:
            self.tell(file, name, f"version {version.id} is of an older base than it replaces")
        theirs = self._theirs.get(file, 0)
        if theirs > version.id:
            self.heard(file, theirs)  # the feed was quicker than the answer to our commit

    def tell(self, file: int, name: str, what: str) -> None:
        """Note a conflict, for people."""
        state = f"conflict: {what}; all are among its versions"
        log.warning("%s: %s", name, state)
        self._found[file] = Unsent(
            file=file, name=name, state=state, since_ms=time.time_ns() // 1_000_000
        )

    def heard(self, file: int, version: int) -> None:
        """Take in that another client has saved a file."""
        self._theirs[file] = version
        if file not in self._ours:
            return
        if len(self._waiting) >= WAITING:
            passed = next(iter(self._waiting))
            log.warning("file %d: whether others have replaced our save is not looked at", passed)
            del self._waiting[passed]
        self._waiting[file] = (version, *self._ours.pop(file))
        self._news.set()

    async def run(self) -> None:
        """Look at what others have saved, until cancelled."""
        while True:
            self._news = trio.Event()
            while self._waiting:
                file = next(iter(self._waiting))
                met = self._waiting[file]
                try:
                    await self._look(file, *met)
                except Unavailable as error:
                    log.info("version %d can't be looked at yet: %s", met[0], error)
                    await trio.sleep(RETRY_SECONDS)
                else:
                    if self._waiting.get(file) == met:
                        del self._waiting[file]
            await self._news.wait()

    async def _look(self, file: int, version: int, ours: int, name: str) -> None:
        try:
            theirs = await self._remote.version(version)
        except Unavailable:
            raise
        except RengafsError as error:
            log.info("version %d can't be looked at: %s", version, error)
            return
        if theirs.conflict:
            by = f" by {theirs.author}" if theirs.author else ""
            self.tell(file, name, f"version {version}{by} has replaced yours, {ours}, unseen")

    def found(self) -> list[Unsent]:
        """Return the conflicts, the latest last."""
        return list(self._found.values())
