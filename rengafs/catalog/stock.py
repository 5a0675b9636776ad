"""The blobs that the catalog knows, for the sweeper and the check. Not how they come to be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select, update

from rengafs.catalog.parking import PARKED
from rengafs.catalog.schema import blobs, head, versions
from rengafs.catalog.tallying import Tally, count_tallies, list_tallies, set_tally
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer

LOST = "!"
"""Begins the key of a blob that is lost; the next save of the same bytes gives it a new key."""

FOREIGN = "@"
"""Begins the key of what another program stored; see `adopting`."""


@dataclass(frozen=True, slots=True)
class Known:
    """A blob as the catalog knows it."""

    id: int
    blob: Blob


def known_keys(connection: Connection, backend: str, keys: Sequence[str]) -> frozenset[str]:
    """Return which of *keys* (some hundreds) are a blob's, lost or not, or soon will be."""
    wanted = [*keys, *(LOST + key for key in keys), *(PARKED + key for key in keys)]
    query = select(blobs.c.key).where(blobs.c.backend == backend, blobs.c.key.in_(wanted))
    found = connection.execute(query).scalars()
    return frozenset(key.removeprefix(LOST).removeprefix(PARKED) for key in found)


def long_keys(connection: Connection, backend: str, longer_than: int) -> list[str]:
    """Return the keys of a backend's own blobs of more bytes than that, the lost ones left out."""
    query = (
        select(blobs.c.key)
        .where(blobs.c.backend == backend, blobs.c.size > longer_than)
        .where(blobs.c.key.not_like(f"{LOST}%"), blobs.c.key.not_like(f"{FOREIGN}%"))
    )
    return list(connection.execute(query).scalars())


def shown_keys(connection: Connection, backend: str, keys: Sequence[str]) -> frozenset[str]:
    """Return which of *keys* (some hundreds) are blobs of versions that are not hidden."""
    query = (
        select(blobs.c.key)
        .join(versions, versions.c.blob == blobs.c.id)
        .where(blobs.c.backend == backend, blobs.c.key.in_(keys), versions.c.hidden == "")
    )
    return frozenset(connection.execute(query).scalars())


def list_blobs(connection: Connection, after: int, limit: int) -> list[Known]:
    """Return a page of all blobs, by id."""
    query = select(blobs).where(blobs.c.id > after).order_by(blobs.c.id).limit(limit)
    return [
        Known(row.id, Blob(row.backend, row.key, row.size, row.sha256, row.pieces or b""))
        for row in connection.execute(query)
    ]


def bytes_of_blobs(connection: Connection) -> int:
    """Return how many bytes all blobs have."""
    query = select(func.coalesce(func.sum(blobs.c.size), 0))
    return int(connection.execute(query).scalar_one())


def versions_of(connection: Connection, blob: int, limit: int = 100) -> list[int]:
    """Return versions whose bytes a blob holds, oldest first."""
    query = select(versions.c.id).where(versions.c.blob == blob).order_by(versions.c.id)
    return list(connection.execute(query.limit(limit)).scalars())


def set_keys(w: Writer, keys: Mapping[int, str]) -> None:
    """Give blobs (by id) the keys where they are, or a lost one's."""
    for number, key in keys.items():
        w.connection.execute(update(blobs).where(blobs.c.id == number).values(key=key))


@dataclass(frozen=True, slots=True)
class Sums:
    """The running sums: of all, and of each bucket that ever held anything."""

    total: Tally
    buckets: dict[int, Tally]


def sums(connection: Connection) -> tuple[Sums, Sums]:
    """Return the sums as they are kept, and as they are counted; quotas left out."""
    row = connection.execute(select(head)).one()
    kept = {
        number: replace(tally, quota_bytes=None)
        for number, tally in list_tallies(connection).items()
    }
    counted = dict.fromkeys(kept, Tally()) | count_tallies(connection)
    total = Tally()
    for tally in counted.values():
        total = total.plus(tally.live_bytes, tally.all_bytes, tally.files)
    return Sums(Tally(row.live_bytes, row.all_bytes, row.files), kept), Sums(total, counted)


def correct_sums(w: Writer) -> None:
    """Set the running sums to what is counted."""
    kept, counted = sums(w.connection)
    for bucket, tally in counted.buckets.items():
        set_tally(w.connection, bucket, tally)
    w.correct_total(
        live_bytes=counted.total.live_bytes - kept.total.live_bytes,
        all_bytes=counted.total.all_bytes - kept.total.all_bytes,
        files=counted.total.files - kept.total.files,
    )
