"""Open directories: pages of a listing that stays right while entries come and go.

POSIX wants each entry that is there all the time exactly once, and positions that can be
sought. A position is the number of names handed out before it; the handle remembers those
names, and a page begins after a *name*, not after a count. So what comes or goes meanwhile
shifts nothing.

A page that was fetched before the directory changed is thrown away rather than handed
out: an entry that has gone would live on in the kernel for as long as its cache is valid.
"""

import itertools

import trio

from rengafs.fs.history import History
from rengafs.fs.inodes import HistoryOf, Inode, Inodes, Past, SavesOf, View, What
from rengafs.fs.remote import Remote
from rengafs.protocol import names
from rengafs.protocol.errors import NotADirectory
from rengafs.protocol.records import Node

PAGE_ENTRIES = 1000

Row = tuple[bytes, What]


class LiveDirectory:
    """An open directory of the live tree, or of the tree as it was."""

    def __init__(
        self, remote: Remote, node: int, extra: list[Row], *, at: int | None = None
    ) -> None:
        self._node = node
        self._at = at
        """The change as of which it is listed; None: now."""
        self._extra = extra
        """Rows that come first, without being in the catalog."""
        self._remote = remote
        self._names: list[bytes] = []
        """All names handed out in this pass, in order."""
        self._page: list[Row] = []
        self._page_start = 0
        """The position of the page's first row."""
        self._complete = False
        """Whether the page is the last one."""

    def changed(self) -> None:
        """Forget what was fetched but not handed out: the directory has changed."""
        self._page = []
        self._complete = False

    async def read(self, position: int) -> list[Row]:
        """Return some rows from *position* on; none at the end."""
        if position == 0:
            self._names = []
            self.changed()
        if position < len(self._extra):
            return self._extra[position:]
        index = position - self._page_start
        if not 0 <= index < len(self._page):
            if self._complete and index == len(self._page):
                return []
            await self._fetch(position)
            index = 0
        return self._page[index:]

    def gave(self, position: int, name: bytes) -> None:
        """Remember that *name* was handed out at *position*, so that reading goes on behind."""
        del self._names[position:]
        self._names.append(name)

    async def _fetch(self, position: int) -> None:
        position = min(position, len(self._names))
        behind = position > len(self._extra)
        after = names.to_wire(self._names[position - 1]) if behind else ""
        page = await self._remote.page(self._node, after, PAGE_ENTRIES, at=self._at)
        self._page = [
            (names.from_wire(entry.name), self._what(entry.node)) for entry in page.entries
        ]
        self._page_start = position
        self._complete = not page.next

    def _what(self, node: Node) -> What:
        return node if self._at is None else Past(self._at, node.id, node)


class HistoryDirectory:
    """An open directory of history: one listing, fetched whole."""

    def __init__(self, history: History, view: HistoryOf | SavesOf) -> None:
        self._history = history
        self._view = view
        self._rows: list[Row] | None = None

    def changed(self) -> None:
        """Nothing: history is only added to, and the next pass sees it."""

    async def read(self, position: int) -> list[Row]:
        """Return the rows from *position* on."""
        if self._rows is None or position == 0:
            self._rows = list(await self._history.list(self._view))
        return self._rows[position:]

    def gave(self, position: int, name: bytes) -> None:
        """Nothing: positions are indexes of the one listing."""


OpenDirectory = LiveDirectory | HistoryDirectory


def directory_of_view(remote: Remote, history: History, view: View) -> OpenDirectory:
    """Return the open directory of a part of history. Raises `NotADirectory`."""
    match view:
        case Past(change, number, node) if node.kind.is_directory:
            return LiveDirectory(remote, number, [], at=change)
        case HistoryOf() | SavesOf():
            return HistoryDirectory(history, view)
        case _:
            raise NotADirectory("only directories can be listed")


class OpenDirectories:
    """Open directories by the number that the kernel calls them by."""

    def __init__(self, inodes: Inodes) -> None:
        self._inodes = inodes
        self._by_number: dict[int, tuple[Inode, OpenDirectory]] = {}
        self._next = itertools.count(1)

    def open(self, inode: Inode, directory: OpenDirectory) -> int:
        """Take *directory* in, and return its number."""
        handle = next(self._next)
        self._inodes.opened(inode)
        self._by_number[handle] = (inode, directory)
        return handle

    async def read(self, handle: int, position: int) -> list[Row]:
        """Return some rows from *position* on; none at the end."""
        return await self._by_number[handle][1].read(position)

    def gave(self, handle: int, position: int, name: bytes, what: What) -> None:
        """Count one look-up of a row that the kernel took at *position*."""
        parent, directory = self._by_number[handle]
        directory.gave(position, name)
        inode = self._inodes.add(what)
        inode.parent, inode.name = parent.number, name
        inode.checked = trio.current_time()

    def changed(self, number: int) -> None:
        """Let open listings of the directory with inode *number* see that it has changed."""
        for inode, directory in self._by_number.values():
            if inode.number == number:
                directory.changed()

    def close(self, handle: int) -> None:
        """Let go of a directory."""
        inode, _ = self._by_number.pop(handle)
        self._inodes.closed(inode)
