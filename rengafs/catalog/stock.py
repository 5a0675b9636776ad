"""The blobs that the catalog knows, for the sweeper and the check. Not how they come to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select, update

from rengafs.catalog.schema import blobs, head, nodes, states, versions
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer
from rengafs.protocol.records import Kind

LOST = "!"
"""Begins the key of a blob that is lost; the next save of the same bytes gives it a new key."""


@dataclass(frozen=True, slots=True)
class Known:
    """A blob as the catalog knows it."""

    id: int
    blob: Blob


def known_keys(connection: Connection, backend: str, keys: Sequence[str]) -> frozenset[str]:
    """Return which of *keys* (some hundreds) are a blob's, lost or not."""
    wanted = [*keys, *(LOST + key for key in keys)]
    query = select(blobs.c.key).where(blobs.c.backend == backend, blobs.c.key.in_(wanted))
    return frozenset(key.removeprefix(LOST) for key in connection.execute(query).scalars())


def list_blobs(connection: Connection, after: int, limit: int) -> list[Known]:
    """Return a page of all blobs, by id."""
    query = select(blobs).where(blobs.c.id > after).order_by(blobs.c.id).limit(limit)
    return [
        Known(row.id, Blob(row.backend, row.key, row.size, row.sha256))
        for row in connection.execute(query)
    ]


def versions_of(connection: Connection, blob: int, limit: int = 100) -> list[int]:
    """Return versions whose bytes a blob holds, oldest first."""
    query = select(versions.c.id).where(versions.c.blob == blob).order_by(versions.c.id)
    return list(connection.execute(query.limit(limit)).scalars())


def set_keys(w: Writer, keys: Mapping[int, str]) -> None:
    """Give blobs (by id) the keys where they are, or a lost one's."""
    for number, key in keys.items():
        w.connection.execute(update(blobs).where(blobs.c.id == number).values(key=key))


def sums(connection: Connection) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return (live bytes, all bytes, files): as they are kept, and as they are counted."""
    row = connection.execute(select(head)).one()
    live = connection.execute(
        select(func.coalesce(func.sum(states.c.size), 0), func.count())
        .select_from(nodes.join(states, states.c.node == nodes.c.id))
        .where(nodes.c.kind == Kind.FILE.value, nodes.c.links > 0, states.c.until.is_(None))
    ).one()
    seen = case((versions.c.hidden == "", versions.c.size), else_=0)
    everything = connection.execute(select(func.coalesce(func.sum(seen), 0))).scalar_one()
    kept = (row.live_bytes, row.all_bytes, row.files)
    return kept, (int(live[0]), int(everything), int(live[1]))


def correct_sums(w: Writer) -> None:
    """Set the running sums to what is counted."""
    kept, counted = sums(w.connection)
    live, everything, files = (there - here for there, here in zip(counted, kept, strict=True))
    w.count(live_bytes=live, all_bytes=everything, files=files)
