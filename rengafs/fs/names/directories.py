"""Open directories: pages of a listing that stays right while entries come and go.

POSIX wants each entry that is there all the time exactly once, and positions that can be
sought. A position is the number of names handed out before it; the handle remembers those
names, and a page begins after a *name*, not after a count. So what comes or goes meanwhile
shifts nothing.

A page that was fetched before the directory changed is thrown away rather than handed
out: an entry that has gone would live on in the kernel for as long as its cache is valid.
"""

import itertools
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from rengafs.fs.names.history import History
from rengafs.fs.names.inodes import HistoryOf, Inode, Inodes, Past, SavesOf, View, What
from rengafs.fs.names.listings import Listings
from rengafs.fs.remote import Remote
from rengafs.protocol import names
from rengafs.protocol.errors import NotADirectory, RengafsError
from rengafs.protocol.records import Node, Page

PAGE_ENTRIES = 1000
LATER_PAGE_ENTRIES = 4000
"""The same, behind the first page: whoever reads on, mostly reads all."""
PAGES_AHEAD = 2
"""One that is here, and one that is coming."""
ROWS_AT_A_TIME = 64

Row = tuple[bytes, What]


class LiveDirectory:
    """An open directory of the live tree, or of the tree as it was.

    :param listings: where a whole listing is found, or kept; None for the past.
    :param ahead: the nursery in which the next page is fetched while one is handed out.
    """

    def __init__(
        self,
        remote: Remote,
        node: int,
        extra: list[Row],
        *,
        at: int | None = None,
        listings: Listings | None = None,
        ahead: trio.Nursery | None = None,
    ) -> None:
        self._node = node
        self._at = at
        """The change as of which it is listed; None: now."""
        self._extra = extra
        """Rows that come first, without being in the catalog."""
        self._remote = remote
        self._listings = listings
        self._pages = Pages(remote, node, at, ahead)
        self._names: list[bytes] = []
        """All names handed out, in order, as the last that read each position saw it."""
        self._page: list[Row] = []
        self._page_start = 0
        """The position of the page's first row."""
        self._complete = False
        """Whether the page is the last one."""
        self._gathered: dict[bytes, Node] | None = None
        """All rows of this pass so far, while it may become a listing."""
        self._began = 0
        self.mark = 0
        """Before the page was asked for: see `Touched`."""

    def changed(self) -> None:
        """Forget what was fetched but not handed out: the directory has changed."""
        self._page = []
        self._complete = False
        self._gathered = None
        self._pages.forget()

    async def read(self, position: int) -> list[Row]:
        """Return some rows from *position* on; none at the end."""
        if position == 0:
            # The names stay: it may have been a seek, and another one goes far ahead.
            self.changed()
        if position < len(self._extra):
            return self._extra[position:]
        index = position - self._page_start
        if not 0 <= index < len(self._page):
            if self._complete and index == len(self._page):
                return []
            position = min(position, len(self._names))
            if not self._take_listing(position):
                await self._fetch(position)
            index = position - self._page_start
        # Few at a time: the kernel takes some twenty, and asks again.
        return self._page[index : index + ROWS_AT_A_TIME]

    def gave(self, position: int, name: bytes) -> None:
        """Remember that *name* was handed out at *position*, so that reading goes on behind."""
        if self._names[position : position + 1] == [name]:
            return  # read again, after a seek: the positions behind it hold as well
        del self._names[position:]
        self._names.append(name)

    def close(self) -> None:
        """Let go of what is being fetched."""
        self._pages.forget()

    def _take_listing(self, position: int) -> bool:
        """Hand out a listing that is known, if there is one with the name before *position*."""
        listing = None if self._listings is None else self._listings.whole(self._node)
        if listing is None:
            return False
        rows = iter(listing.rows.items())
        if position > len(self._extra):
            after = self._names[position - 1]
            if after not in listing.rows:
                return False
            next(name for name, _ in rows if name == after)
        self._page = list(rows)
        self._page_start = position
        self._complete = True
        self.mark = listing.mark
        return True

    async def _fetch(self, position: int) -> None:
        behind = position > len(self._extra)
        after = names.to_wire(self._names[position - 1]) if behind else ""
        mark = 0 if self._listings is None else self._listings.touched.mark()
        page, asked_at = await self._pages.get(after, mark)
        self._page = [
            (names.from_wire(entry.name), self._what(entry.node)) for entry in page.entries
        ]
        self._page_start = position
        self._complete = not page.next
        self.mark = asked_at
        if not behind:
            self._gathered, self._began = {}, asked_at
        self._gather()

    def _gather(self) -> None:
        if self._listings is None or self._gathered is None:
            return
        whole = len(self._gathered) == self._page_start - len(self._extra)
        if not whole or len(self._gathered) > self._listings.most_names:
            self._gathered = None
            return
        for name, what in self._page:
            assert isinstance(what, Node), "only the live tree has listings"
            self._gathered[name] = what
        if self._complete:
            self._listings.keep(self._node, self._gathered, self._began)
            self._gathered = None

    def _what(self, node: Node) -> What:
        return node if self._at is None else Past(self._at, node.id, node)


class Pages:
    """The pages of one directory, the next ones asked for ahead of time.

    Where a page ends is known before it is decoded, so that the service is at work on the next
    one meanwhile.
    """

    def __init__(
        self, remote: Remote, node: int, at: int | None, nursery: trio.Nursery | None
    ) -> None:
        self._remote, self._node, self._at = remote, node, at
        self._nursery = nursery
        self._coming: deque[_Ahead] = deque()

    async def get(self, after: str, mark: int) -> tuple[Page, int]:
        """Return the page behind a name, and the mark from before it was asked for."""
        page = None
        if self._coming and self._coming[0].after == after:
            coming = self._coming[0]
            await coming.done.wait()
            page, mark = coming.page, coming.mark
            if self._coming and self._coming[0] is coming:
                self._coming.popleft()
        if page is None:
            self.forget()
            page = await self._remote.page(self._node, after, PAGE_ENTRIES, at=self._at)
        if self._coming:
            self._go_on()
        else:
            self._begin(page.next, mark)
        return page, mark

    def forget(self) -> None:
        """Let go of the pages that were asked for ahead."""
        while self._coming:
            self._coming.pop().scope.cancel()

    def _go_on(self) -> None:
        """Ask for the page behind those that are coming, where it is known where that begins."""
        last = self._coming[-1]
        if len(self._coming) < PAGES_AHEAD:
            self._begin(last.next, last.mark)

    def _begin(self, after: str, mark: int) -> None:
        if after and self._nursery is not None:
            ahead = _Ahead(after, mark)
            self._coming.append(ahead)
            self._nursery.start_soon(self._fetch, ahead)

    async def _fetch(self, ahead: "_Ahead") -> None:
        def going_on(after: str) -> None:
            ahead.next = after
            if self._coming and self._coming[-1] is ahead:
                self._go_on()

        try:
            with ahead.scope, suppress(RengafsError):  # who wants it asks again, and is told
                page = await self._remote.page(
                    self._node, ahead.after, LATER_PAGE_ENTRIES, at=self._at, going_on=going_on
                )
                going_on(page.next)
                ahead.page = page
        finally:
            ahead.done.set()


@dataclass(slots=True, eq=False)
class _Ahead:
    """A page that nobody has asked for yet."""

    after: str
    mark: int
    next: str = ""
    """Where the page behind it begins, once that is known."""
    page: Page | None = None
    done: trio.Event = field(default_factory=trio.Event)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class HistoryDirectory:
    """An open directory of history: one listing, fetched whole."""

    def __init__(self, history: History, view: HistoryOf | SavesOf) -> None:
        self._history = history
        self._view = view
        self._rows: list[Row] | None = None

    mark = 0

    def changed(self) -> None:
        """Nothing: history is only added to, and the next pass sees it."""

    def close(self) -> None:
        """Nothing is being fetched."""

    async def read(self, position: int) -> list[Row]:
        """Return the rows from *position* on."""
        if self._rows is None or position == 0:
            self._rows = list(await self._history.list(self._view))
        return self._rows[position:]

    def gave(self, position: int, name: bytes) -> None:
        """Nothing: positions are indexes of the one listing."""


OpenDirectory = LiveDirectory | HistoryDirectory


def directory_of_view(
    remote: Remote, history: History, view: View, *, ahead: trio.Nursery | None = None
) -> OpenDirectory:
    """Return the open directory of a part of history. Raises `NotADirectory`."""
    match view:
        case Past(change, number, node) if node.kind.is_directory:
            return LiveDirectory(remote, number, [], at=change, ahead=ahead)
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

    def mark(self, handle: int) -> int:
        """Return the mark from before the rows that were read last were asked for."""
        return self._by_number[handle][1].mark

    def gave(
        self, handle: int, position: int, name: bytes, what: What, *, stale: bool = False
    ) -> None:
        """Count one look-up of a row that the kernel took at *position*.

        :param stale: what stands there may have changed since the row was fetched.
        """
        parent, directory = self._by_number[handle]
        directory.gave(position, name)
        inode = self._inodes.add(what)
        inode.parent, inode.name = parent.number, name
        inode.checked = trio.current_time()
        if stale:
            inode.stale = True

    def inode_of(self, handle: int) -> Inode:
        """Return the inode of an open directory."""
        return self._by_number[handle][0]

    def changed(self, number: int) -> None:
        """Let open listings of the directory with inode *number* see that it has changed."""
        for inode, directory in self._by_number.values():
            if inode.number == number:
                directory.changed()

    def close(self, handle: int) -> None:
        """Let go of a directory."""
        inode, directory = self._by_number.pop(handle)
        directory.close()
        self._inodes.closed(inode)
