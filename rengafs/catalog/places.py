"""What stands at a name, at a path, in a directory; now or as of a change. Reads only.

Names come in and go out as a mount shows them; `rengafs.protocol.names` has the rules. A
shown name is found by trying what it may mean and taking the first that shows itself so.

Where the database is seen by a user (`Database.seen_by`), buckets that are hidden from the
user have no names at the root: they are neither found nor listed, nor is a name taken by them.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, select, tuple_

from rengafs.catalog.nodes import BUCKET, COLUMNS, At, columns, get_node, joined, no_node, node_from
from rengafs.catalog.schema import edges, head, members, nodes, valid
from rengafs.protocol import names
from rengafs.protocol.errors import BadRequest, NotADirectory, NotFound
from rengafs.protocol.records import ROOT, Entry, Kind, Node, Page

MAX_PAGE = 10_000
LAST_EDGE = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """An edge with the node at its end."""

    parent: int
    edge: int
    raw: bytes
    shown: bytes
    elder: bool
    """No older edge bears the same name in the directory."""
    bucket: int
    """Of the node."""
    node: Node


@dataclass(frozen=True, slots=True)
class Directory:
    """What an operation must know of a directory."""

    id: int
    kind: Kind
    bucket: int
    links: int


def check_at(connection: Connection, at: int | None) -> int | None:
    """Return *at*, or None where that is the present. Raises `BadRequest` for the future."""
    if at is None:
        return None
    last = last_change(connection)
    if not 0 <= at <= last:
        raise BadRequest(f"there is no change {at}; the last is {last}", last=last)
    # The past has no index of its own for what holds: the present is faster.
    return None if at == last else at


def last_change(connection: Connection) -> int:
    """Return the number of the last change."""
    return int(connection.execute(select(head.c.change)).scalar_one())


def find_directory(connection: Connection, number: int) -> Directory:
    """Return a directory, deleted or not. Raises `NotFound`, `NotADirectory`."""
    row = connection.execute(_DIRECTORY, {"number": number}).first()
    if row is None:
        raise no_node(number)
    kind = Kind(row[0])
    if not kind.is_directory:
        raise NotADirectory(f"{number} is a {kind}, not a directory", node=number)
    return Directory(number, kind, row[1], row[2])


def find(connection: Connection, parent: int, shown: bytes, at: int | None = None) -> Place | None:
    """Return what stands at a shown name; None if nothing does."""
    top = parent == ROOT
    if top and shown.startswith(b"."):
        return None
    for raw, number in names.candidates(shown):
        place = _candidate(connection, parent, raw, number, at)
        if place is not None and place.shown == shown:
            return place
    return None


def get(connection: Connection, parent: int, shown: bytes, at: int | None = None) -> Place:
    """Return what stands at a shown name. Raises `NotFound`, `NotADirectory`."""
    place = find(connection, parent, shown, at)
    if place is None:
        find_directory(connection, parent)
        raise missing(parent, shown)
    return place


def missing(parent: int, shown: bytes) -> NotFound:
    """Return the error for a name at which nothing is."""
    where = "among the buckets" if parent == ROOT else "there"
    return NotFound(
        f"there is no {names.to_wire(shown)!r} {where}; rengafs ls shows what there is",
        parent=parent,
    )


def at_raw_name(
    connection: Connection, parent: int, raw: bytes, at: int | None = None
) -> list[Place]:
    """Return what bears a raw name, eldest first."""
    query = _NAMED_NOW if at is None else _NAMED_THEN
    viewer = _viewer(connection, parent)
    if viewer is not None:
        query = query.where(_seen_by(viewer))
    rows = connection.execute(query, {"parent": parent, "raw": raw, "at": at})
    return [_place(parent, row, index == 0) for index, row in enumerate(rows)]


def find_path(connection: Connection, path: str, at: int | None = None) -> Entry:
    """Return what stands at ``bucket/dir/file``; the root for the empty path.

    Raises `NotFound`, `NotADirectory`.
    """
    parts = [names.from_wire(part) for part in path.split("/") if part]
    place: Place | None = None
    for part in parts:
        if place is not None and not place.node.kind.is_directory:
            shown = names.to_wire(place.shown)
            raise NotADirectory(f"{shown!r} in {path!r} is a {place.node.kind}")
        place = get(connection, ROOT if place is None else place.node.id, part, at)
    if place is None:
        return Entry(name="", node=get_node(connection, ROOT, at))
    return entry_of(place)


def entry_of(place: Place) -> Entry:
    """Return the wire's record of a place."""
    return Entry(
        name=names.to_wire(place.shown),
        node=place.node,
        raw="" if place.raw == place.shown else names.to_wire(place.raw),
        parent=place.parent,
    )


def is_taken(connection: Connection, parent: int, raw: bytes) -> bool:
    """Whether anything bears a raw name now."""
    viewer = _viewer(connection, parent)
    query = _TAKEN if viewer is None else _TAKEN.where(_seen_by(viewer))
    return connection.execute(query, {"parent": parent, "raw": raw}).first() is not None


def list_directory(
    connection: Connection, parent: int, *, after: str, limit: int, at: int | None
) -> Page:
    """Return a page of a directory, sorted by raw name. Raises `NotFound`, `NotADirectory`."""
    find_directory(connection, parent)
    change = last_change(connection) if at is None else at
    limit = max(1, min(limit, MAX_PAGE))
    query = _edges(at).where(edges.c.parent == parent).limit(limit + 1)
    viewer = _viewer(connection, parent)
    if viewer is not None:
        query = query.where(_seen_by(viewer))
    previous: bytes | None = None
    if after:
        previous, edge = _position(connection, parent, names.from_wire(after), at)
        query = query.where(tuple_(edges.c.name, edges.c.id) > tuple_(previous, edge))
    rows = connection.execute(query).all()
    entries = []
    for row in rows[:limit]:
        place = _place(parent, row, row[COLUMNS + 1] != previous)
        previous = place.raw
        entries.append(entry_of(place))
    more = len(rows) > limit
    return Page(entries=entries, change=change, next=entries[-1].name if more else "")


def list_places(connection: Connection, parent: int, at: int | None) -> list[Place]:
    """Return all of a directory at once, sorted by raw name, eldest first."""
    previous: bytes | None = None
    found = []
    for row in connection.execute(_edges(at).where(edges.c.parent == parent)):
        raw = row[COLUMNS + 1]
        found.append(_place(parent, row, raw != previous))
        previous = raw
    return found


def _viewer(connection: Connection, parent: int) -> int | None:
    """Return the user as whom names are looked up: only the root's differ from user to user."""
    if parent != ROOT:
        return None
    viewer: int | None = connection.get_execution_options().get("rengafs_viewer")
    return viewer


def _seen_by(viewer: int) -> ColumnElement[bool]:
    mine = select(members.c.bucket).where(members.c.user == viewer)
    return edges.c.node.in_(mine)


def has_entries(connection: Connection, parent: int) -> bool:
    """Whether anything is in the directory now."""
    query = select(edges.c.id).where(edges.c.parent == parent, edges.c.until.is_(None)).limit(1)
    return connection.execute(query).first() is not None


def _position(
    connection: Connection, parent: int, shown: bytes, at: int | None
) -> tuple[bytes, int]:
    """Return the raw name and the edge that a shown name has, or once had, in the order."""
    place = find(connection, parent, shown, at)
    if place is not None:
        return place.raw, place.edge
    meant = names.candidates(shown)
    for raw, number in reversed(meant):
        if number is None:
            continue
        query = select(edges.c.name, edges.c.id).where(
            edges.c.parent == parent, edges.c.node == number
        )
        if raw is not None:
            query = query.where(edges.c.name == raw)
        row = connection.execute(query.order_by(edges.c.id.desc()).limit(1)).first()
        if row is not None:
            return row.name, row.id
    return meant[0][0] or shown, LAST_EDGE


def _edges(at: At) -> Select[Any]:
    source = edges.join(joined(at), edges.c.node == nodes.c.id)
    return (
        select(*columns(at), edges.c.id, edges.c.name)
        .select_from(source)
        .where(valid(edges, at))
        .order_by(edges.c.name, edges.c.id)
    )


def _place(parent: int, row: Row[Any], elder: bool) -> Place:
    raw = row[COLUMNS + 1]
    shown = names.show(raw, row[0], elder=elder, top=parent == ROOT)
    return Place(parent, row[COLUMNS], raw, shown, elder, row[BUCKET], node_from(row))


def _candidate(
    connection: Connection, parent: int, raw: bytes | None, number: int | None, at: int | None
) -> Place | None:
    if raw is None:
        query = _edges(at).where(edges.c.parent == parent, edges.c.node == number)
        row = connection.execute(query).first()
        if row is None:
            return None
        raw = row[COLUMNS + 1]
    places = at_raw_name(connection, parent, raw, at)
    if number is None:
        return places[0] if places else None
    return next((place for place in places if place.node.id == number), None)


# Built once: making a statement costs SQLAlchemy as much as carrying it out.
_NAME = (edges.c.parent == bindparam("parent"), edges.c.name == bindparam("raw"))
_NAMED_NOW = _edges(None).where(*_NAME)
_NAMED_THEN = _edges(bindparam("at")).where(*_NAME)
_TAKEN = select(edges.c.id).where(*_NAME, edges.c.until.is_(None)).limit(1)
_DIRECTORY = select(nodes.c.kind, nodes.c.bucket, nodes.c.links).where(
    nodes.c.id == bindparam("number")
)
