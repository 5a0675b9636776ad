"""What is known of names and attributes without asking: the tree of a mount without its service.

What is in a pin is known wholly, so that a name that is not there does not exist. What merely
leads to one is known in part, as is what was read lately and is still cached; and of the rest
nothing can be said.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rengafs.fs.pins.recent import read_recents, rows_at_hand
from rengafs.fs.pins.records import Pin, Row, Tree, read_pins, read_tree
from rengafs.fs.reads.blockfiles import BlockFiles
from rengafs.fs.reads.cache import BLOCK_BYTES
from rengafs.protocol import names
from rengafs.protocol.errors import Away
from rengafs.protocol.records import (
    ROOT,
    Entry,
    Kind,
    Label,
    Node,
    Page,
    PastName,
    Usage,
    Version,
)

Place = tuple[int | None, int]
"""A directory, as of a change or now."""


class Known:
    """The trees of some pins, together, and what else is at hand."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        self._nodes: dict[Place, Node] = {}
        self._names: dict[Place, dict[str, Node]] = {(None, ROOT): {}}
        self._whole: set[Place] = set()
        self._saves: dict[tuple[int, str], dict[int, Version]] = {}
        self._labels: dict[str, Label] = {}
        self._moments: dict[int, int] = {}
        for tree in trees:
            self._add(tree)

    def _add(self, tree: Tree) -> None:
        self._nodes[None, ROOT] = tree.root
        self._take(None, tree.live, tree.whole)
        if tree.at:
            self._take(tree.at, tree.past, tree.past_whole)
            if tree.at_ms is not None:
                self._moments[tree.at_ms] = tree.at
        if tree.label is not None:
            self._labels[tree.label.name] = tree.label
        if tree.save is not None and tree.directory:
            saves = self._saves.setdefault((tree.directory, tree.name), {})
            saves[tree.save.id] = tree.save

    def _take(self, at: int | None, rows: list[Row], whole: list[int]) -> None:
        self._whole |= {(at, number) for number in whole}
        for number in whole:
            self._names.setdefault((at, number), {})
        for row in rows:
            known = self._nodes.get((at, row.node.id))
            # Of two trees, the one that was gathered later.
            node = known if known and known.ctime_ns > row.node.ctime_ns else row.node
            self._nodes[at, node.id] = node
            self._names.setdefault((at, row.parent), {})[row.name] = node

    def add_recent(self, root: Node, rows: list[Row]) -> None:
        """Take in files that were read lately, but where a pin knows better."""
        if not rows:
            return
        self._nodes.setdefault((None, ROOT), root)
        self._take(None, [row for row in rows if (None, row.parent) not in self._whole], [])

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return (None, ROOT) not in self._nodes

    def node(self, number: int, at: int | None) -> Node:
        """Return a node. Raises `Away` for one that is not known."""
        node = self._nodes.get((at, number))
        if node is None:
            raise _unknown(f"{number}")
        return node

    def is_whole(self, directory: int, at: int | None) -> bool:
        """Whether all names of a directory are known."""
        return (at, directory) in self._whole

    def find(self, directory: int, name: str, at: int | None) -> Entry | None:
        """Return what stands at a name; None: nothing does. Raises `Away`."""
        node = self._names.get((at, directory), {}).get(name)
        if node is not None:
            return Entry(name=name, node=node)
        if (at, directory) in self._whole:
            return None
        raise _unknown(repr(name))

    def page(
        self, directory: int, after: str, limit: int, at: int | None, held: Mapping[str, Node]
    ) -> Page:
        """Return a page of the names that are known, and of *held*. Raises `Away` without any."""
        known = self._names.get((at, directory))
        if known is None and not held:
            raise _unknown(f"the directory {directory}")
        found = {**(known or {}), **held}
        start = names.from_wire(after)
        every = sorted((names.from_wire(name), name) for name in found)
        listed = [pair for pair in every if pair[0] > start]
        entries = [Entry(name=name, node=found[name]) for _, name in listed[:limit]]
        more = len(listed) > limit
        return Page(entries=entries, change=0, next=entries[-1].name if more else "")

    def change_at(self, at_ms: int) -> int:
        """Return the change of a moment that is pinned. Raises `Away`."""
        change = self._moments.get(at_ms)
        if change is None:
            raise _unknown("that moment")
        return change

    def labels(self, bucket: int) -> list[Label]:
        """Return the labels that are pinned."""
        return [label for label in self._labels.values() if label.bucket == bucket]

    def find_label(self, name: str) -> Label:
        """Return a label that is pinned. Raises `Away`."""
        label = self._labels.get(name)
        if label is None:
            raise _unknown(f"the label {name!r}")
        return label

    def saves(self, directory: int, name: str) -> list[Version]:
        """Return the saves of a name that are pinned. Raises `Away` where none is."""
        found = self._saves.get((directory, name))
        if not found:
            raise _unknown(f"the history of {name!r}")
        return [found[number] for number in sorted(found)]

    def version(self, number: int) -> Version:
        """Return a save that is pinned. Raises `Away`."""
        for saves in self._saves.values():
            if number in saves:
                return saves[number]
        raise _unknown(f"the version {number}")

    def past_names(self, directory: int) -> list[PastName]:
        """Return the names of which saves are pinned."""
        return [self.past_name(where, name) for where, name in self._saves if where == directory]

    def past_name(self, directory: int, name: str) -> PastName:
        """Return a name of which saves are pinned. Raises `Away`."""
        saves = self.saves(directory, name)
        live = name in self._names.get((None, directory), {})
        return PastName(name=name, kind=Kind.FILE, node=saves[-1].file, live=live)

    def usage(self) -> Usage:
        """Return what is known, and that there is no room: nothing can be saved."""
        files = {node.id: node for (at, _), node in self._nodes.items() if at is None}
        size = sum(node.size for node in files.values() if node.kind is Kind.FILE)
        return Usage(live_bytes=size, history_bytes=0, files=len(files), free_bytes=0)


def pins_of(pins: Path, catalog: str, user: str) -> list[Pin]:
    """Return the pins of one service and user. Blocks."""
    return [pin for pin in read_pins(pins) if (pin.catalog, pin.user) == (catalog, user)]


def read_known(pins: Path, catalog: str, user: str, cache: Path) -> Known:
    """Return what the pins of one service and user tell, and what is in their cache. Blocks."""
    trees = (read_tree(pins, pin.id) for pin in pins_of(pins, catalog, user))
    known = Known(tree for tree in trees if tree is not None)
    blocks = BlockFiles(cache, catalog)

    def is_cached(version: int, size: int) -> bool:
        return not blocks.missing_blocks(version, -(-size // BLOCK_BYTES))

    for recent in read_recents(pins):
        if (recent.catalog, recent.user, recent.cache) == (catalog, user, str(cache)):
            known.add_recent(recent.root, rows_at_hand(recent, is_cached))
    return known


def _unknown(what: str) -> Away:
    return Away(f"the service is away, and {what} is neither pinned nor cached")
