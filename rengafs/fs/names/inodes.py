"""What the kernel has looked up, and which node of the service each inode stands for.

An inode number is the node's id, so it is the same on every mount. One thing bends that:
when a temporary is renamed over ``f``, the file keeps the id of ``f`` (history's rule) but
the kernel goes on calling it by the temporary's inode (POSIX's rule). The table then
remembers that this inode *stands for* the other id, and for a good while after the kernel has
forgotten both: who compares numbers (a backup, a watcher) must not see another file.

Version ids are of the same id space, so a saved version's inode number is its id. The
directories of ``.versions/`` and markers are not in the catalog; they get numbers far above all
ids, and so does everything in a view of the past, where one node shows as often as asked for.

Nothing here awaits: each method is atomic on the trio thread.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from rengafs.protocol.records import ROOT, Node, Version

if TYPE_CHECKING:
    from rengafs.fs.volume.contents import Content

KNOWN_NAMES = 10_000
"""Of one directory, at the most."""

KEPT_NUMBERS = 10_000
"""Nodes that the kernel has forgotten, and that will bear the number of another if it asks."""

_NO_XATTRS: Final[dict[str, bytes]] = {}
"""Never written to: nodes are frozen."""

FIRST_VIEW = 1 << 62
"""Numbers from here on are views below ``.versions/``, and markers; ids never come this far."""


@dataclass(frozen=True, slots=True)
class HistoryOf:
    """``.versions/`` of a directory: the names that it has or had."""

    directory: int
    of_bucket: bool = field(default=False, compare=False)
    """Whether the directory is a bucket: labels and the guide are listed there."""


@dataclass(frozen=True, slots=True)
class SavesOf:
    """``.versions/NAME/``: one entry a save."""

    directory: int
    name: str
    """Shown name."""


@dataclass(frozen=True, slots=True)
class Saved:
    """``.versions/NAME/MOMENT``: one save, read-only."""

    version: Version


@dataclass(frozen=True, slots=True)
class Past:
    """A node as it was as of a change: ``.versions/@MOMENT``, or anything below it."""

    change: int
    id: int
    """Of the node."""
    node: Node = field(compare=False, repr=False)
    top: bool = False
    """Whether it is ``@MOMENT`` itself: what that name stands for may move on."""


@dataclass(frozen=True, slots=True)
class Guide:
    """``.versions/README.txt`` of a bucket."""

    bucket: int


@dataclass(frozen=True, slots=True)
class Marker:
    """An empty file that is not in the catalog: see `markers`."""

    directory: int
    name: bytes
    within: Node = field(compare=False, repr=False)
    """The directory: who may change that may change the marker."""


View = HistoryOf | SavesOf | Saved | Past | Guide | Marker
What = Node | View


class Inode:
    """One inode that the kernel knows, or that an open file keeps."""

    __slots__ = (
        "cached_version",
        "checked",
        "content",
        "doubts",
        "handles",
        "lookups",
        "name",
        "names",
        "number",
        "paged",
        "parent",
        "stale",
        "told_old",
        "what",
    )

    def __init__(self, number: int, what: What) -> None:
        self.number = number
        self.what = what
        self.lookups = 0
        """The kernel's references; it gives them back by forget."""
        self.handles = 0
        """Open files and directories."""
        self.content: Content | None = None
        """What the next open shares: the current version and perhaps a draft."""
        self.cached_version: int | None = None
        """The version whose bytes the kernel's page cache may hold."""
        self.paged: Content | None = None
        """What was opened last through the page cache. The kernel has one size for all
        handles of an inode, and cuts their reads there: while this is open, it is its own."""
        self.doubts = 0
        """How often another version was made known since the kernel was last made to ask:
        an answer with its size may be on its way, and an open must not overtake that."""
        self.told_old = False
        """Whether the kernel may still have the size of an older version."""
        self.stale = False
        """The service's node has changed since we asked."""
        self.checked = float("-inf")
        """Trio's time when we last asked."""
        self.parent = 0
        """Inode number of a directory where it was last seen; 0: nowhere."""
        self.name = b""
        self.names: set[bytes] | None = None
        """All names of a directory, where this mount has made them all: what is not among
        them need not be looked up. None: not known, or too many."""

    def lacks(self, name: bytes) -> bool:
        """Whether a directory is known not to have *name*."""
        return self.names is not None and name not in self.names

    def names_changed(self, *, entered: bytes | None = None, left: bytes | None = None) -> None:
        """Take in that a change of this mount's own has changed the names of a directory."""
        if self.names is None:
            return
        if left is not None:
            self.names.discard(left)
        if entered is not None:
            self.names.add(entered)
        if len(self.names) > KNOWN_NAMES:
            self.names = None

    @property
    def held_back(self) -> "Content | None":
        """The older version that is open through the page cache, if one is."""
        paged = self.paged
        if paged is None or not isinstance(self.what, Node) or not paged.is_open:
            return None
        if paged.is_unsaved or paged.version == self.what.version:
            return None
        newer = self.content
        # Who writes to the newer one must find its end where it is.
        return None if newer is not None and newer is not paged and newer.writers else paged

    @property
    def node(self) -> Node:
        """The node of the live tree that it stands for. Only where it stands for one."""
        assert isinstance(self.what, Node)
        return self.what

    @property
    def is_live(self) -> bool:
        """Whether it stands for a node of the live tree, not for a part of history."""
        return isinstance(self.what, Node)

    def learn(self, node: Node, *, written_here: bool = False) -> None:
        """Take in what the service says, unless something newer is known already.

        :param written_here: its bytes came through the kernel, so that it knows their size.
        """
        known = self.node
        if node.id == known.id and node.ctime_ns < known.ctime_ns:
            return
        if node.version != known.version and not written_here:
            self.doubts += 1
        self.what = node
        self.stale = False


class Inodes:
    """The table. Its size is the kernel's choice: it forgets when memory is short, or is asked to.

    Whoever asks it (see `trimming`) sets *most*, and is told by *full* when there are more.
    """

    def __init__(self, root: Node) -> None:
        self._by_number: dict[int, Inode] = {}
        self._stands_for: dict[int, int] = {}
        """Node id → inode number, where they differ."""
        self._goes_by: dict[int, int] = {}
        """The same, by number."""
        self._forgotten: dict[int, None] = {}
        """Nodes of these that the kernel does not know now, the longest forgotten first."""
        self._views: dict[View, int] = {}
        self._next_view = itertools.count(FIRST_VIEW)
        self._by_number[ROOT] = Inode(ROOT, root)
        self._by_number[ROOT].lookups = 1
        self.most = sys.maxsize
        self.full: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Inode]:
        return iter(list(self._by_number.values()))

    def eldest(self, count: int) -> list[Inode]:
        """Return those that are known for longest; they then count as the youngest."""
        chosen = list(itertools.islice(self._by_number.items(), count))
        for number, inode in chosen:
            del self._by_number[number]
            self._by_number[number] = inode
        return [inode for _, inode in chosen]

    def get(self, number: int) -> Inode:
        """Return the inode; the kernel only asks for those that it knows."""
        return self._by_number[number]

    def find(self, number: int) -> Inode | None:
        """Return the inode, or None if the kernel does not know it."""
        return self._by_number.get(number)

    def of_node(self, node: int) -> Inode | None:
        """Return the inode that stands for a node of the live tree, if the kernel knows one."""
        inode = self._by_number.get(self.number_of(node))
        return inode if inode and inode.is_live and inode.node.id == node else None

    def number_of(self, node: int) -> int:
        """Return the inode number under which a node is known, or would be."""
        number = self._stands_for.get(node, node)
        if number == node != self._goes_by.get(node, node):
            # It was a temporary and is back, while its number is that of what it replaced.
            number = next(self._next_view)
            self._number(node, number)
        return number

    def number_of_view(self, view: View) -> int:
        """Return the inode number of a part of history."""
        if isinstance(view, Saved):
            return view.version.id
        number = self._views.get(view)
        if number is None:
            number = self._views[view] = next(self._next_view)
        return number

    def add(self, what: What) -> Inode:
        """Count one look-up of *what*, and return its inode."""
        number = self.number_of(what.id) if isinstance(what, Node) else self.number_of_view(what)
        inode = self._by_number.get(number)
        if inode is None:
            if isinstance(what, Node):
                _share(what)
            inode = self._by_number[number] = Inode(number, what)
            if len(self._by_number) > self.most:
                self.full()
        elif isinstance(what, Node):
            inode.learn(what)
        inode.lookups += 1
        return inode

    def forget(self, number: int, lookups: int) -> None:
        """Give back *lookups* references of the kernel."""
        inode = self._by_number.get(number)
        if inode is not None and number != ROOT:
            inode.lookups -= lookups
            self._drop_if_unused(inode)

    def opened(self, inode: Inode) -> None:
        """Keep *inode* while a file or directory is open."""
        inode.handles += 1

    def way_to(self, inode: Inode) -> list[Inode]:
        """Return *inode* and the directories in which it was last seen, as far as known."""
        way = [inode]
        # Where others move directories, what was seen last may go round in a circle.
        while (above := self._by_number.get(way[-1].parent)) is not None and above not in way:
            way.append(above)
        return way

    def closed(self, inode: Inode) -> None:
        """Let go of it."""
        inode.handles -= 1
        self._drop_if_unused(inode)

    def replaced(self, moved: Inode, target: Node) -> None:
        """Let *moved* stand for *target*, whose name it took and whose history it goes on with.

        The inode that stood for *target* until now keeps its number, and stands for a file
        without a name: whoever has it open still reads the old bytes.
        """
        old = self.of_node(target.id)
        if old is not None and old is not moved:
            old.what = msgspec.structs.replace(old.node, links=0)
        self._number(target.id, moved.number)
        moved.what = target
        moved.stale = False

    def _number(self, node: int, number: int) -> None:
        """Let *node* go by *number*, and no other node by it."""
        former = self._goes_by.pop(number, None)
        if former is not None:
            del self._stands_for[former]
        old = self._stands_for.pop(node, None)
        if old is not None:
            del self._goes_by[old]
        if number != node:
            self._stands_for[node] = number
            self._goes_by[number] = node

    def _drop_if_unused(self, inode: Inode) -> None:
        if inode.lookups > 0 or inode.handles > 0:
            return
        self._by_number.pop(inode.number, None)
        if isinstance(inode.what, Node):
            self._forgot(inode.what.id)
        elif not isinstance(inode.what, Saved):
            self._views.pop(inode.what, None)

    def _forgot(self, node: int) -> None:
        if self._is_forgotten(node):
            self._forgotten.pop(node, None)
            self._forgotten[node] = None
        while len(self._forgotten) > KEPT_NUMBERS:
            eldest = next(iter(self._forgotten))
            del self._forgotten[eldest]
            if self._is_forgotten(eldest):
                del self._goes_by[self._stands_for.pop(eldest)]

    def _is_forgotten(self, node: int) -> bool:
        number = self._stands_for.get(node)
        return number is not None and {number, node}.isdisjoint(self._by_number)


def _share(node: Node) -> None:
    """Let equal values of a node be one object: there may be a hundred thousand of them."""
    if not node.xattrs:
        msgspec.structs.force_setattr(node, "xattrs", _NO_XATTRS)
    mtime_ns = node.mtime_ns
    for name in ("ctime_ns", "atime_ns", "created_ns"):
        if getattr(node, name) == mtime_ns:
            msgspec.structs.force_setattr(node, name, mtime_ns)
