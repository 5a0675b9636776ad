"""Saves that failed at close or fsync: what became of their bytes, until the file is saved."""

import logging
import time

from cachetools import LRUCache

from rengafs.fs.writes.unsent import Unsent
from rengafs.protocol.errors import RengafsError

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Files of which the last save failed."""


class Refusals:
    """The files of a mount whose last save failed."""

    def __init__(self) -> None:
        self._found: LRUCache[int, Unsent] = LRUCache(REMEMBERED)

    def note(self, file: int, name: str, error: RengafsError, kept: str, size: int) -> None:
        """Take in that a save of *size* bytes failed, and where they are; empty: nowhere."""
        log.error("%s is not saved: %s; its bytes are in %s", name, error, kept or "memory only")
        self._found[file] = Unsent(
            file=file,
            name=name,
            state=f"failed: {error.message}",
            bytes=size,
            since_ms=time.time_ns() // 1_000_000,
            kept=kept,
        )

    def forget(self, file: int) -> None:
        """Take in that a file has been saved."""
        self._found.pop(file, None)

    def of(self, file: int) -> Unsent | None:
        """Return what became of the last save of a file, if it failed."""
        return self._found.get(file)

    def found(self) -> list[Unsent]:
        """Return all, the latest last."""
        return list(self._found.values())
