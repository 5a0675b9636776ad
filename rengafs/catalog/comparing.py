"""Two states of a path, compared: what came, what went, what changed. Reads only."""

from collections.abc import Iterator

from sqlalchemy import Connection

from rengafs.catalog.places import Place, find, list_places
from rengafs.catalog.saving import EMPTY_SHA256
from rengafs.protocol.errors import NotFound, TooLarge
from rengafs.protocol.names import from_wire, to_wire
from rengafs.protocol.records import ROOT, Difference, Kind, Node

MAX_DIFFERENCES = 100_000


def compare(
    connection: Connection, path: str, before: int | None, after: int | None
) -> list[Difference]:
    """Return how ``bucket/dir`` as of *after* differs from what it was as of *before*.

    None is now. Paths are relative to *path*; a file compared is ``""``. Sorted as they
    are met: a directory before what is in it.

    Raises `NotFound` for a path that was there at neither, `TooLarge` for too many.
    """
    one, other = find_then(connection, path, before), find_then(connection, path, after)
    if one is None and other is None:
        raise NotFound(f"{path!r} was there at neither moment")
    found = []
    for difference in _compare(connection, "", (one, before), (other, after)):
        found.append(difference)
        if len(found) > MAX_DIFFERENCES:
            raise TooLarge(f"over {MAX_DIFFERENCES} differences; compare smaller parts")
    return found


def find_then(connection: Connection, path: str, at: int | None) -> Place | None:
    """Return what stood at ``bucket/dir/file``, or None. Of the top, nothing."""
    place: Place | None = None
    for part in path.split("/"):
        if not part:
            continue
        if place is not None and not place.node.kind.is_directory:
            return None
        place = find(connection, ROOT if place is None else place.node.id, from_wire(part), at)
        if place is None:
            return None
    return place


def same_content(one: Node, other: Node) -> bool:
    """Whether two files have the same bytes; one never saved is as one saved empty."""
    return (one.size, one.sha256 or EMPTY_SHA256) == (other.size, other.sha256 or EMPTY_SHA256)


_Then = tuple[Place | None, int | None]


def _compare(connection: Connection, path: str, one: _Then, other: _Then) -> Iterator[Difference]:
    (before, at_before), (after, at_after) = one, other
    one_node = None if before is None else before.node
    other_node = None if after is None else after.node
    how = _how(one_node, other_node)
    if how:
        yield _difference(path, how, one_node, other_node)
    left, right = _children(connection, before, at_before), _children(connection, after, at_after)
    for shown in sorted(left.keys() | right.keys()):
        name = to_wire(shown)
        deeper = f"{path}/{name}" if path else name
        yield from _compare(
            connection, deeper, (left.get(shown), at_before), (right.get(shown), at_after)
        )


def _children(connection: Connection, place: Place | None, at: int | None) -> dict[bytes, Place]:
    if place is None or not place.node.kind.is_directory:
        return {}
    return {child.shown: child for child in list_places(connection, place.node.id, at)}


def _how(one: Node | None, other: Node | None) -> str:
    """Return the word for a difference; empty where there is none."""
    if one is None:
        return "added"
    if other is None:
        return "removed"
    if one.kind is not other.kind:
        return "replaced"
    if one.kind is Kind.FILE and not same_content(one, other):
        return "changed"
    if one.kind is Kind.SYMLINK and one.target != other.target:
        return "changed"
    if one.kind.is_directory:
        return ""
    attributes = ("mode", "uid", "gid", "xattrs")
    return "attributes" if any(getattr(one, a) != getattr(other, a) for a in attributes) else ""


def _difference(path: str, how: str, one: Node | None, other: Node | None) -> Difference:
    shown = other or one
    assert shown is not None
    return Difference(
        path=path,
        how=how,
        kind=shown.kind,
        before=None if one is None else one.version,
        after=None if other is None else other.version,
        size_before=0 if one is None else one.size,
        size_after=0 if other is None else other.size,
    )
