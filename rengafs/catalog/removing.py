"""Operations that take a name away, and what goes with the last one.

What was saved stays in history; only what was saved under an editor's dropping goes.
"""

from sqlalchemy import select

from rengafs.catalog.places import Place, get, has_entries
from rengafs.catalog.saving import DISCARDED
from rengafs.catalog.schema import edges, versions
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import IsADirectory, NotADirectory, NotEmpty
from rengafs.protocol.names import from_wire
from rengafs.protocol.operations import Outcome, RemoveDirectory, Unlink
from rengafs.protocol.records import Kind


def unlink(w: Writer, operation: Unlink) -> Outcome:
    """Take a name of anything but a directory. Raises `NotFound`, `IsADirectory`."""
    place = get(w.connection, operation.parent, from_wire(operation.name))
    if place.node.kind.is_directory:
        raise IsADirectory(f"{operation.name!r} is a {place.node.kind}")
    remove(w, place)
    return Outcome(node=w.node(place.node.id))


def remove_directory(w: Writer, operation: RemoveDirectory) -> Outcome:
    """Remove an empty directory or bucket. Raises `NotFound`, `NotADirectory`, `NotEmpty`."""
    place = get(w.connection, operation.parent, from_wire(operation.name))
    if not place.node.kind.is_directory:
        raise NotADirectory(f"{operation.name!r} is a {place.node.kind}")
    refuse_full(w, place)
    remove(w, place)
    return Outcome(node=w.node(place.node.id))


def refuse_full(w: Writer, place: Place) -> None:
    """Raise `NotEmpty` if a directory has entries."""
    if has_entries(w.connection, place.node.id):
        raise NotEmpty(f"{place.shown.decode(errors='replace')!r} is not empty")


def remove(w: Writer, place: Place) -> None:
    """Close the edge; with the last one, the node leaves the live tree."""
    w.leave(place)
    # A directory's links count what stands in it; it has one name only.
    links = 0 if place.node.kind.is_directory else place.node.links - 1
    w.set_links(place.node.id, links)
    w.alter_in_place(place.node.id, ctime_ns=w.now_ns)
    if links:
        return
    w.event("gone", place.node.id, bucket=place.bucket, kind=place.node.kind)
    if place.node.kind is Kind.FILE:
        w.count(place.bucket, files=-1, live_bytes=-place.node.size)
        discard_dropping(w, place)


def discard_dropping(w: Writer, place: Place) -> None:
    """If the name that closed was a dropping's, hide what was saved while it bore it."""
    if not w.droppings.match(place.raw):
        return
    since = w.connection.execute(select(edges.c.since).where(edges.c.id == place.edge)).scalar_one()
    rows = w.connection.execute(
        select(versions.c.id, versions.c.size).where(
            versions.c.file == place.node.id,
            versions.c.change >= since,
            versions.c.hidden == "",
        )
    )
    w.hide(DISCARDED, {row.id: row.size for row in rows}, place.bucket)
