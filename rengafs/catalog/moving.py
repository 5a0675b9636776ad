"""Blobs of a bucket that go to another backend. Rows only: the bytes are there already."""

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from rengafs.catalog.original import get_bucket
from rengafs.catalog.parking import drop
from rengafs.catalog.saving import intern
from rengafs.catalog.schema import blobs, nodes, versions
from rengafs.catalog.stock import LOST, Known
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import UnknownBackend
from rengafs.protocol.records import Kind


def set_backend(w: Writer, bucket: int, backend: str) -> None:
    """Let all further saves of a bucket go to a backend. Raises `NotFound`, `UnknownBackend`."""
    get_bucket(w, bucket)
    if backend not in w.rules.backends:
        known = ", ".join(w.rules.backends)
        raise UnknownBackend(f"there is no backend {backend!r}; choose of: {known}")
    w.connection.execute(update(nodes).where(nodes.c.id == bucket).values(backend=backend))
    w.event("attributes", bucket, bucket=bucket, kind=Kind.BUCKET)


def blobs_elsewhere(
    connection: Connection, bucket: int, backend: str, after: int, limit: int
) -> list[Known]:
    """Return a page of the blobs that a bucket needs and that are not in *backend*, by id."""
    query = (
        select(blobs)
        .where(_elsewhere(bucket, backend), blobs.c.id > after)
        .order_by(blobs.c.id)
        .limit(limit)
    )
    return [
        Known(row.id, Blob(row.backend, row.key, row.size, row.sha256, row.pieces or b""))
        for row in connection.execute(query)
    ]


def size_elsewhere(connection: Connection, bucket: int, backend: str) -> int:
    """Return how many bytes all these blobs have."""
    query = select(func.coalesce(func.sum(blobs.c.size), 0)).where(_elsewhere(bucket, backend))
    return int(connection.execute(query).scalar_one())


def _elsewhere(bucket: int, backend: str) -> ColumnElement[bool]:
    needed = (
        select(versions.c.blob)
        .select_from(versions.join(nodes, nodes.c.id == versions.c.file))
        .where(nodes.c.bucket == bucket)
    )
    return and_(
        blobs.c.id.in_(needed), blobs.c.backend != backend, blobs.c.key.not_like(f"{LOST}%")
    )


def relocate(w: Writer, bucket: int, old: int, stored: Blob) -> bool:
    """Let the bucket's versions of a blob be those of its copy; whether nobody needs *old* now.

    A copy may know the hash of the whole where the original had a mark: the versions tell it
    from now on.
    """
    new = intern(w, stored)
    files = select(nodes.c.id).where(nodes.c.bucket == bucket)
    w.connection.execute(
        update(versions)
        .where(versions.c.blob == old, versions.c.file.in_(files))
        .values(blob=new, sha256=stored.sha256)
    )
    others = select(func.count()).select_from(versions).where(versions.c.blob == old)
    if w.connection.execute(others).scalar_one():
        return False
    w.connection.execute(delete(blobs).where(blobs.c.id == old))
    drop(w.connection, [old])
    return True
