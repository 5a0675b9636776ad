"""Small blobs that are parked: in the catalog for a while, then settled in their backend.

A blob with the key ``=K`` has its bytes in `parked`, and will be the backend's object ``K``. It
is put there first; then one transaction gives the blob its key and drops the row. So whoever
still has the old key finds the bytes in the one place or in the other, and whatever dies on the
way, the next one does it again: the same bytes under the same name. A row is *taken* by who is
about to put it, for a while, so that several processes share the work.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from rengafs.catalog.schema import blobs, parked
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer

PARKED = "="
"""Begins the key of a blob that is parked; the rest will be its key in the backend."""
TAKEN_MS = 60_000
"""Who took a row and has not settled it by then is dead, or as good as that."""
AT_ONCE = 128
"""Rows that are taken in one transaction: 8 MiB of 64 KiB each."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A blob that is to be settled."""

    id: int
    backend: str
    key: str
    """As the catalog has it."""
    data: bytes


def is_parked(key: str) -> bool:
    """Whether a blob's key says that it is parked, or was when the key was asked for."""
    return key.startswith(PARKED)


def settled_key(key: str) -> str:
    """Return the key that a parked blob has in its backend."""
    return key.removeprefix(PARKED)


def park(w: Writer, blob: int, stored: Blob) -> None:
    """Keep the bytes of a blob, which has just been made or healed."""
    drop(w.connection, [blob])
    row = {"blob": blob, "backend": stored.backend, "data": stored.data}
    w.connection.execute(_PARK, {**row, "created_ms": w.now_ms, "taken_ms": 0})


def drop(connection: Connection, numbers: Collection[int]) -> None:
    """Forget the bytes of blobs (some hundred ids) that nothing needs, or that are settled."""
    if numbers:
        connection.execute(delete(parked).where(parked.c.blob.in_(numbers)))


def data_of(connection: Connection, backend: str, key: str) -> bytes | None:
    """Return the bytes of a parked blob; None if it is not parked any more."""
    found: bytes | None = connection.execute(_DATA, {"backend": backend, "key": key}).scalar()
    return found


def waiting(connection: Connection) -> tuple[int, int]:
    """Return how many blobs are parked, and their bytes."""
    count, size = connection.execute(_WAITING).one()
    return count, size or 0


def take(w: Writer, backend: str, before_ms: int) -> list[Parked]:
    """Take some of a backend's blobs that were parked before a moment, oldest first."""
    free = w.now_ms - TAKEN_MS
    query = (
        select(parked.c.blob, blobs.c.key, parked.c.data)
        .select_from(parked.join(blobs, blobs.c.id == parked.c.blob))
        .where(parked.c.backend == backend, parked.c.created_ms <= before_ms)
        .where(parked.c.taken_ms <= free, blobs.c.key.startswith(PARKED, autoescape=True))
        .order_by(parked.c.blob)
        .limit(AT_ONCE)
    )
    rows = w.connection.execute(query).all()
    taken = [row.blob for row in rows]
    if taken:
        w.connection.execute(
            update(parked).where(parked.c.blob.in_(taken)).values(taken_ms=w.now_ms)
        )
    return [Parked(row.blob, backend, row.key, row.data) for row in rows]


def settle(w: Writer, done: Sequence[Parked]) -> list[str]:
    """Let blobs be where they have been put; return the backend's keys that nothing needs.

    Those were pruned, or moved elsewhere, meanwhile.
    """
    unneeded, gone = [], []
    for one in done:
        key = settled_key(one.key)
        moved = w.connection.execute(_SETTLE, {"number": one.id, "parked": one.key, "to": key})
        if moved.rowcount:
            gone.append(one.id)
            continue
        now = w.connection.execute(select(blobs.c.key).where(blobs.c.id == one.id)).scalar()
        if now != key:  # else somebody else settled it, who was taken for dead
            unneeded.append(key)
    drop(w.connection, gone)
    return unneeded


def release(w: Writer, numbers: Iterable[int]) -> None:
    """Let others take blobs that could not be put."""
    rows = update(parked).where(parked.c.blob.in_(list(numbers)))
    w.connection.execute(rows.values(taken_ms=0))


_PARK = insert(parked)
_DATA = (
    select(parked.c.data)
    .select_from(blobs.join(parked, parked.c.blob == blobs.c.id))
    .where(blobs.c.backend == bindparam("backend"), blobs.c.key == bindparam("key"))
)
_WAITING = select(func.count(), func.sum(func.length(parked.c.data))).select_from(parked)
_SETTLE = (
    update(blobs)
    .where(blobs.c.id == bindparam("number"), blobs.c.key == bindparam("parked"))
    .values(key=bindparam("to"))
)
