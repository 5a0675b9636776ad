"""Conflicts that came of what an earlier mount left, on disk for `rengafs status`. Blocks.

Who saved has ended, and the mount that sent it may end before anybody asks it.
"""

import logging
import os
import time
from pathlib import Path

import msgspec

from rengafs.fs.writes.conflicts import Conflicts
from rengafs.fs.writes.unsent import Unsent
from rengafs.protocol.records import Version

log = logging.getLogger(__name__)

NAME = "conflicts.json"
KEPT_MS = 7 * 24 * 3600 * 1000
MOST = 100

_decoder = msgspec.json.Decoder(list[Unsent])


class Told:
    """Takes in what became of what lay in a directory: it tells the mount, and the disk."""

    def __init__(self, conflicts: Conflicts, parent: Path) -> None:
        self._conflicts = conflicts
        self._parent = parent

    def saved(self, file: int, version: Version, name: str) -> None:
        """Take in what a save has become. Blocks only for a conflict, which are few."""
        # Not as a save of this mount's own: the feed brings it as that of another client.
        if version.conflict:
            what = f"version {version.id} is of an older base than it replaces"
            self._conflicts.tell(file, name, what)
            found = [one for one in self._conflicts.found() if one.file == file]
            _note(self._parent, found[-1:])


def conflicts_in(parent: Path) -> list[Unsent]:
    """Return the conflicts that were noted in a directory within the last week."""
    try:
        noted = _decoder.decode((parent / NAME).read_bytes())
    except (OSError, msgspec.DecodeError):
        return []
    since = time.time_ns() // 1_000_000 - KEPT_MS
    return [one for one in noted if one.since_ms >= since]


def _note(parent: Path, found: list[Unsent]) -> None:
    path = parent / NAME
    names = {one.file for one in found}
    kept = [one for one in conflicts_in(parent) if one.file not in names]
    temporary = path.with_name(f".{NAME}.{os.getpid()}")
    try:
        temporary.write_bytes(msgspec.json.encode([*kept, *found][-MOST:]))
        temporary.rename(path)
    except OSError as error:
        log.warning("a conflict is told by this mount only: %s", error)
