"""Paths that may be there no more: which node a path named last, and until when. Reads only."""

from dataclasses import dataclass

from sqlalchemy import Connection, Select, select

from rengafs.catalog.membership import seen_by
from rengafs.catalog.nodes import get_node
from rengafs.catalog.original import bucket_name, path_of
from rengafs.catalog.places import find, find_directory
from rengafs.catalog.schema import changes, edges, events, nodes
from rengafs.protocol import names
from rengafs.protocol.errors import BadRequest, NotFound
from rengafs.protocol.names import join_path
from rengafs.protocol.records import ROOT, Moment

GAP_MS = 10_000
"""Deletions that follow one another within this time are one act: an ``rm -r``."""
REMOVALS = ("unlink", "remove_directory")
LONGEST_ACT = 1_000_000
"""Changes that are looked through for the beginning of a deletion."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """What stands at a path, or stood there last."""

    parent: int
    raw: bytes
    node: int
    until: int | None
    """The change by which it left; None: it is there."""


def find_last(connection: Connection, path: str, user: int | None = None) -> Lasting:
    """Return what ``bucket/dir/file`` names, or named last; its parents may be gone too.

    :param user: who asks; what is in a bucket that is hidden from them never was.

    Raises `NotFound`, `NotADirectory`, and `BadRequest` for the empty path.
    """
    found: Lasting | None = None
    for part in path.split("/"):
        if part:
            above = ROOT if found is None else found.node
            found = _step(connection, above, part, user)
            if above == ROOT and user is not None and not may_see(connection, user, found.node):
                raise _never(part, ROOT)
    if found is None:
        raise BadRequest("the top has no history of its own; name a bucket or what is in it")
    return found


def last_there(connection: Connection, path: str, user: int | None = None) -> Moment:
    """Return the last change as of which a deleted path was whole.

    :param user: who asks; None may see everything.

    Of a directory that is before the first of the deletions that emptied it: those by the
    same client, one soon after the other, with nothing else done below it in between.

    Raises `NotFound`, and `BadRequest` for what has not been deleted.
    """
    found = find_last(connection, path, user)
    if found.until is None:
        raise BadRequest(f"{path!r} has not been deleted; say as of which moment: {path}@MOMENT")
    node = get_node(connection, found.node)
    if node.links:
        seen = user is None or may_see(connection, user, node.id)
        now = f"it is {full_path(connection, node.id)!r} now" if seen else "it is elsewhere now"
        raise BadRequest(
            f"{path!r} has not been deleted but renamed: {now}; "
            f"to have both, say as of which moment: {path}@MOMENT"
        )
    change = found.until
    if node.kind.is_directory:
        change = _beginning(connection, found.node, found.until)
    at_ms = connection.execute(select(changes.c.at_ms).where(changes.c.number == change - 1))
    return Moment(at_ms=at_ms.scalar() or 0, change=change - 1)


def full_path(connection: Connection, number: int) -> str:
    """Return ``bucket/dir/file`` of a node by its eldest names, or those that it had last."""
    bucket = connection.execute(select(nodes.c.bucket).where(nodes.c.id == number)).scalar_one()
    inside = join_path(path_of(connection, number))
    name = bucket_name(connection, bucket)
    return f"{name}/{inside}" if inside else name


def ever_below(*tops: int) -> Select[tuple[int]]:
    """Return the query of *tops* and all nodes that ever stood below them."""
    seed = select(nodes.c.id.label("node")).where(nodes.c.id.in_(tops))
    below = seed.cte("below", recursive=True)
    deeper = select(edges.c.node).where(edges.c.parent == below.c.node)
    below = below.union(deeper)
    return select(below.c.node)


def _step(connection: Connection, parent: int, part: str, user: int | None) -> Lasting:
    shown = names.from_wire(part)
    place = find(connection, parent, shown)
    if place is not None:
        return Lasting(parent, place.raw, place.node.id, None)
    find_directory(connection, parent)
    for raw, number in names.candidates(shown):
        query = select(edges.c.name, edges.c.node, edges.c.until).where(edges.c.parent == parent)
        if raw is not None:
            query = query.where(edges.c.name == raw)
        if number is not None:
            query = query.where(edges.c.node == number)
        if user is not None and parent == ROOT:
            query = query.where(edges.c.node.in_(seen_by(user)))
        # Who came last, as `membership` judges it too.
        row = connection.execute(query.order_by(edges.c.id.desc()).limit(1)).first()
        if row is not None:
            return Lasting(parent, row.name, row.node, row.until)
    raise _never(part, parent)


def _never(part: str, parent: int) -> NotFound:
    return NotFound(
        f"nothing there was ever called {part!r}; rengafs ls shows what there is", parent=parent
    )


def may_see(connection: Connection, user: int, number: int) -> bool:
    """Whether a node stands in a bucket that a user may see."""
    query = select(nodes.c.id).where(nodes.c.id == number, nodes.c.bucket.in_(seen_by(user)))
    return connection.execute(query).first() is not None


def _beginning(connection: Connection, directory: int, last: int) -> int:
    """Return the first change of the act of deletion that ended with *last*."""
    touched = (
        select(events.c.change)
        .where(events.c.node.in_(ever_below(directory)), events.c.change <= last)
        .distinct()
        .subquery()
    )
    rows = connection.execute(
        select(changes)
        .where(changes.c.number.in_(select(touched.c.change)))
        .order_by(changes.c.number.desc())
        .limit(LONGEST_ACT)
    )
    first = None
    for row in rows:
        if first is not None and (
            row.action not in REMOVALS
            or (row.author, row.client) != (first.author, first.client)
            or first.at_ms - row.at_ms > GAP_MS
        ):
            break
        first = row
    rows.close()
    return last if first is None else int(first.number)
