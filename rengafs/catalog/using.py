"""How much buckets hold, their past apart, and what lies in backends for it. Reads only.

Sums of logical bytes are kept along (`tallying`); what is stored is counted when it is
asked for, each content once.
"""

from sqlalchemy import ColumnElement, Connection, func, select, true

from rengafs.catalog.original import bucket_name
from rengafs.catalog.schema import blobs, members, nodes, retention, versions
from rengafs.catalog.tallying import list_tallies
from rengafs.protocol.keeping import BucketUsage, Usages
from rengafs.protocol.names import from_wire, show, to_wire
from rengafs.protocol.records import Kind
from rengafs.protocol.retention import EVERYTHING


def usages(connection: Connection, user: int | None, bucket: int | None) -> Usages:
    """Return what each bucket holds that a user (None: everybody) is a member of, or one.

    A deleted bucket is told of as long as history holds anything of it.
    """
    which: ColumnElement[bool] = true()
    if bucket is not None:
        which = nodes.c.bucket == bucket
    elif user is not None:
        own = select(members.c.bucket).where(members.c.user == user)
        which = nodes.c.bucket.in_(own)
    stored = _stored_by_bucket(connection, which)
    rules = {row.bucket: row.rule for row in connection.execute(select(retention))}
    query = (
        select(nodes.c.id, nodes.c.backend, nodes.c.links)
        .where(nodes.c.kind == Kind.BUCKET.value, which)
        .order_by(nodes.c.id)
    )
    rows = connection.execute(query).all()
    tallies = list_tallies(connection, [row.id for row in rows])
    found = []
    for row in rows:
        tally = tallies[row.id]
        if not row.links and not tally.all_bytes:
            continue
        found.append(
            BucketUsage(
                bucket=row.id,
                name=_shown(connection, row.id),
                backend=row.backend,
                files=tally.files,
                live_bytes=tally.live_bytes,
                history_bytes=tally.all_bytes - tally.live_bytes,
                stored_bytes=stored.get(row.id, 0),
                quota_bytes=tally.quota_bytes,
                rule=rules.get(row.id, str(EVERYTHING)),
                deleted=not row.links,
            )
        )
    return Usages(buckets=found, stored_bytes=_stored_by_backend(connection, which))


def _shown(connection: Connection, bucket: int) -> str:
    return to_wire(show(from_wire(bucket_name(connection, bucket)), bucket, elder=True, top=True))


def _stored_by_bucket(connection: Connection, which: ColumnElement[bool]) -> dict[int, int]:
    needed = (
        select(nodes.c.bucket, versions.c.blob)
        .select_from(versions.join(nodes, nodes.c.id == versions.c.file))
        .where(versions.c.blob.is_not(None), which)
        .distinct()
        .subquery()
    )
    query = (
        select(needed.c.bucket, func.sum(blobs.c.size))
        .select_from(needed.join(blobs, blobs.c.id == needed.c.blob))
        .group_by(needed.c.bucket)
    )
    return {bucket: int(size) for bucket, size in connection.execute(query)}


def _stored_by_backend(connection: Connection, which: ColumnElement[bool]) -> dict[str, int]:
    needed = (
        select(versions.c.blob)
        .select_from(versions.join(nodes, nodes.c.id == versions.c.file))
        .where(versions.c.blob.is_not(None), which)
    )
    query = (
        select(blobs.c.backend, func.sum(blobs.c.size))
        .where(blobs.c.id.in_(needed))
        .group_by(blobs.c.backend)
    )
    return {backend: int(size) for backend, size in connection.execute(query)}
