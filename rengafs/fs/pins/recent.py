"""Files that were read lately: a mount without its service shows those whose bytes are cached.

    STATE / pins / HASH.recent     a `Recent`: the names and attributes that led to them

Unlike a pin it promises nothing: what is evicted from the block cache is shown no more. What
the feed says of a file takes it out until it is read again, so that what is shown is as it was
when the service was last heard.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import trio
from cachetools import LRUCache

from rengafs.fs.names.inodes import Inode, Inodes
from rengafs.fs.pins.records import Row, replace_file, shared_name
from rengafs.protocol import names
from rengafs.protocol.records import ROOT, Event, Kind, Node

log = logging.getLogger(__name__)

MOST_FILES = 10_000
"""Files of one mount that are remembered."""
WRITE_SECONDS = 20.0
"""How often it is written what has changed."""
SUFFIX = ".recent"
OUTDATING = ("saved", "attributes", "gone", "left", "taken")
"""Events after which a file is not what it was read as, or not where."""


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """What a mount has read lately, and of which service."""

    endpoint: str
    catalog: str
    user: str
    cache: str
    """The directory of the block cache."""
    root: Node
    rows: list[Row]
    """Files, and the directories that lead to them."""


class RecentFiles:
    """Remembers what a mount reads. Hears the feed.

    :param whose: what is written, without its rows.
    """

    def __init__(self, pins: Path, whose: Recent, inodes: Inodes) -> None:
        self._path = pins / shared_name(whose.catalog, whose.user, whose.cache, SUFFIX)
        self._whose = whose
        self._inodes = inodes
        self._files: LRUCache[int, Row] = LRUCache(MOST_FILES)
        self._directories: dict[int, Row] = {}
        self._is_written = True

    def opened(self, inode: Inode) -> None:
        """Take in that a file of the live tree is read."""
        row = self._row(inode)
        if row is None or row.node.version is None:
            return
        self._files[row.node.id] = row
        self._is_written = False
        while row.parent != ROOT:
            parent = self._inodes.of_node(row.parent)
            above = None if parent is None else self._row(parent)
            if above is None or self._directories.get(above.node.id) == above:
                return
            row = self._directories[above.node.id] = above

    def heard(self, event: Event) -> None:
        """Take in a change: what it is about is not as it was."""
        known = self._files.get(event.node) or self._directories.get(event.node)
        if known is None or event.what not in OUTDATING:
            return
        if event.what == "saved" and known.node.version == event.version:
            return  # a save of this mount's own, which was read before the feed told of it
        self._files.pop(event.node, None)
        self._directories.pop(event.node, None)
        self._is_written = False

    def missed(self) -> None:
        """Nothing was missed: the feed goes on where it broke off."""

    def began_anew(self) -> None:
        """Take in that anything may have changed."""
        self._files.clear()
        self._directories.clear()
        self._is_written = False

    async def run(self) -> None:
        """Write what has changed, now and then and at the end, until cancelled."""
        try:
            while True:
                await trio.sleep(WRITE_SECONDS)
                await self._write()
        finally:
            with trio.CancelScope(shield=True):
                await self._write()

    async def _write(self) -> None:
        if self._is_written:
            return
        self._is_written = True
        recent = msgspec.structs.replace(self._whose, rows=self._rows())
        try:
            await trio.to_thread.run_sync(write_recent, self._path, recent)
        except OSError as error:
            log.warning("what was read lately can't be noted in %s: %s", self._path, error)

    def _rows(self) -> list[Row]:
        """Return what leads from the top to each file, and let go of directories without any."""
        used: dict[int, Row] = {}
        files = []
        for row in self._files.values():
            way = list(self._way(row))
            if way and way[-1].parent == ROOT:
                used |= {step.node.id: step for step in way[1:]}
                files.append(row)
        self._directories = used
        return [*used.values(), *files]

    def _way(self, row: Row) -> Iterator[Row]:
        yield row
        while row.parent != ROOT and (above := self._directories.get(row.parent)) is not None:
            yield above
            row = above

    def _row(self, inode: Inode) -> Row | None:
        parent = self._inodes.find(inode.parent)
        if not inode.is_live or inode.stale or parent is None or not parent.is_live:
            return None
        return Row(parent.node.id, names.to_wire(inode.name), inode.node)


def write_recent(path: Path, recent: Recent) -> None:
    """Write what was read lately. Blocks. Raises `OSError`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, msgspec.msgpack.encode(recent))


def read_recents(pins: Path) -> list[Recent]:
    """Return what mounts have read lately, of all services, latest last. Blocks."""
    found = []
    for path in pins.glob(f"*{SUFFIX}"):
        with suppress(OSError, msgspec.DecodeError):
            recent = msgspec.msgpack.decode(path.read_bytes(), type=Recent)
            found.append((path.stat().st_mtime_ns, recent))
    return [recent for _, recent in sorted(found, key=lambda one: one[0])]


def rows_at_hand(recent: Recent, is_cached: Callable[[int, int], bool]) -> list[Row]:
    """Return the rows of files that can be read, and of what leads to them.

    :param is_cached: tells whether the cache has all of a version, by id and size.
    """
    above = {row.node.id: row for row in recent.rows if row.node.kind is not Kind.FILE}
    used: dict[int, Row] = {}
    files = []
    for row in recent.rows:
        node = row.node
        if node.kind is Kind.FILE and node.version and is_cached(node.version, node.size):
            files.append(row)
            while (step := above.get(row.parent)) is not None and step.node.id not in used:
                row = used[step.node.id] = step
    return [*used.values(), *files]
