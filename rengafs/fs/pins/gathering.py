"""What a pin covers, asked of the service: names, attributes, versions. Fetches no bytes."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from rengafs.fs.pins.records import Pin, Row, Tree
from rengafs.fs.remote import Remote
from rengafs.protocol.errors import NotFound, TooLarge
from rengafs.protocol.records import ROOT, Node

PAGE_ENTRIES = 1000
MOST_NAMES = 200_000
"""Of one pin: so many versions the service holds for it, and so many names fit in memory."""


@dataclass(slots=True)
class Outdated:
    """What the feed has spoken of since a tree was gathered."""

    directories: set[int] = field(default_factory=set)
    """Whose names have changed."""
    nodes: set[int] = field(default_factory=set)
    """Whose bytes or attributes have."""


async def gather(remote: Remote, pin: Pin) -> Tree:
    """Return all that a pin covers. Raises `NotFound`, `TooLarge`, `Unavailable`."""
    root = await remote.node(ROOT)
    parts = pin.path.split("/")
    if pin.version is not None:
        return await _gather_save(remote, pin, root, parts)
    if pin.at is not None:
        return await _gather_moment(remote, pin, root, parts)
    above = await _chain(remote, parts)
    if len(above) < len(parts):
        raise NotFound(f"nothing is called {pin.path!r} now")
    top = above[-1].node
    below: dict[int, dict[str, Node]] = {}
    if top.kind.is_directory:
        await _list_below(remote, top.id, below, None)
    return Tree(root=root, live=above + _rows(below), whole=list(below))


async def renew(remote: Remote, pin: Pin, tree: Tree, outdated: Outdated) -> Tree:
    """Return what a live pin covers now, by asking only for what has changed.

    Raises as `gather`.
    """
    parts = pin.path.split("/")
    above, inside = tree.live[: len(parts)], tree.live[len(parts) :]
    if outdated.directories & {row.parent for row in above}:
        return await gather(remote, pin)
    above = [await _renewed(remote, row, outdated) for row in above]
    top = above[-1].node.id
    below: dict[int, dict[str, Node]] = {directory: {} for directory in tree.whole}
    for row in inside:
        below[row.parent][row.name] = row.node
    changed = [number for number in outdated.directories if number in below]
    for number in changed:
        del below[number]
    for number in changed:
        if number not in below:
            await _list_below(remote, number, below, None)
    for names in below.values():
        for name, node in names.items():
            if node.id in outdated.nodes:
                names[name] = await _node(remote, node)
    kept = _reachable(top, below)
    return replace(tree, live=above + _rows(kept), whole=list(kept))


async def _gather_moment(remote: Remote, pin: Pin, root: Node, parts: list[str]) -> Tree:
    past = await _chain(remote, parts, at=pin.at)
    if len(past) < len(parts):
        raise NotFound(f"nothing was called {pin.path!r} then")
    below: dict[int, dict[str, Node]] = {}
    top = past[-1].node
    if top.kind.is_directory:
        await _list_below(remote, top.id, below, pin.at)
    live = await _chain(remote, parts)
    bucket = live[0].node if live else past[0].node
    label = await remote.find_label(bucket.id, pin.when) if pin.at_ms is None else None
    return Tree(
        root=root,
        live=live,
        at=pin.at or 0,
        at_ms=pin.at_ms,
        past=past + _rows(below),
        past_whole=list(below),
        label=label,
    )


async def _gather_save(remote: Remote, pin: Pin, root: Node, parts: list[str]) -> Tree:
    assert pin.version is not None, "it is a pin of a save"
    live = await _chain(remote, parts)
    save = await remote.version(pin.version)
    directory = 0
    if len(live) >= len(parts) - 1:
        directory = live[len(parts) - 2].node.id
        named = await remote.saved_at(directory, parts[-1], save.created_ms)
        save = next((version for version in named if version.id == save.id), save)
    return Tree(root=root, live=live, directory=directory, name=parts[-1], save=save)


async def _chain(remote: Remote, parts: list[str], at: int | None = None) -> list[Row]:
    """Return what stands at each step of a path, as far as there is something."""
    rows: list[Row] = []
    parent = ROOT
    for part in parts:
        try:
            entry = await remote.find(parent, part, at=at)
        except NotFound:
            entry = None
        if entry is None:
            break
        rows.append(Row(parent, part, entry.node))
        parent = entry.node.id
        if not entry.node.kind.is_directory:
            break
    return rows


async def _list_below(
    remote: Remote, top: int, below: dict[int, dict[str, Node]], at: int | None
) -> None:
    """Add all names below a directory, as of a change or now, to *below*."""
    waiting = [top]
    count = sum(len(names) for names in below.values())
    while waiting:
        number = waiting.pop()
        names: dict[str, Node] = {}
        after = ""
        while True:
            page = await remote.page(number, after, PAGE_ENTRIES, at=at)
            names |= {entry.name: entry.node for entry in page.entries}
            count += len(page.entries)
            if count > MOST_NAMES:
                raise TooLarge(f"a pin has at most {MOST_NAMES} names; pin parts of it")
            after = page.next
            if not after:
                break
        below[number] = names
        waiting += [
            node.id for node in names.values() if node.kind.is_directory and node.id not in below
        ]


async def _renewed(remote: Remote, row: Row, outdated: Outdated) -> Row:
    if row.node.id not in outdated.nodes:
        return row
    return Row(row.parent, row.name, await _node(remote, row.node))


async def _node(remote: Remote, node: Node) -> Node:
    try:
        return await remote.node(node.id)
    except NotFound:
        return node  # that it has gone is told of its directory


def _reachable(top: int, below: dict[int, dict[str, Node]]) -> dict[int, dict[str, Node]]:
    kept: dict[int, dict[str, Node]] = {}
    waiting = [top]
    while waiting:
        number = waiting.pop()
        names = below.get(number)
        if names is None or number in kept:
            continue
        kept[number] = names
        waiting += [node.id for node in names.values() if node.kind.is_directory]
    return kept


def _rows(below: dict[int, dict[str, Node]]) -> list[Row]:
    return [
        Row(parent, name, node) for parent, names in below.items() for name, node in names.items()
    ]
