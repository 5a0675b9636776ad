"""Saves that met another's of the same base: both are versions, and both authors are told.

The later author learns it from the answer to the commit, the earlier one from the feed: when
another client saves a file that this mount has saved, and the new version says that it does
not know ours.
"""

import logging
import time

from cachetools import LRUCache

from rengafs.fs.remote import Remote
from rengafs.fs.writes.unsent import Unsent
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.records import Version

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Files that this mount has saved last, and conflicts."""


class Conflicts:
    """The conflicts that this mount knows of."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._ours: LRUCache[int, tuple[int, str]] = LRUCache(REMEMBERED)
        self._found: LRUCache[int, Unsent] = LRUCache(REMEMBERED)

    def saved(self, file: int, version: Version, name: str) -> None:
        """Take in what a save of this mount has become."""
        self._ours[file] = (version.id, name)
        if version.conflict:
            self.tell(file, name, f"version {version.id} is of an older base than it replaces")

    def tell(self, file: int, name: str, what: str) -> None:
        """Note a conflict, for people."""
        state = f"conflict: {what}; all are among its versions"
        log.warning("%s: %s", name, state)
        self._found[file] = Unsent(
            file=file, name=name, state=state, since_ms=time.time_ns() // 1_000_000
        )

    async def heard(self, file: int, version: int) -> None:
        """Take in that another client has saved a file."""
        if file not in self._ours:
            return
        ours, name = self._ours.pop(file)
        try:
            theirs = await self._remote.version(version)
        except RengafsError as error:
            log.info("version %d can't be looked at: %s", version, error)
            return
        if theirs.conflict:
            by = f" by {theirs.author}" if theirs.author else ""
            self.tell(file, name, f"version {version}{by} has replaced yours, {ours}, unseen")

    def found(self) -> list[Unsent]:
        """Return the conflicts, the latest last."""
        return list(self._found.values())
