"""What buckets hold, and may hold: running sums, so that a commit asks for one row.

Logical bytes, before equal contents are stored once: what a bucket holds does not depend on
what others hold. The `Writer` keeps the sums; a quota bounds all versions together.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, bindparam, func, insert, select, true, update

from rengafs.catalog.prepared import Prepared
from rengafs.catalog.schema import nodes, states, tallies, versions
from rengafs.protocol.errors import NotFound, QuotaExceeded
from rengafs.protocol.records import Kind

COLUMNS = (
    tallies.c.live_bytes,
    tallies.c.all_bytes,
    tallies.c.files,
    tallies.c.quota_bytes,
)
"""What a `Tally` is made of."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a bucket holds; *quota_bytes* of None is no limit."""

    live_bytes: int = 0
    all_bytes: int = 0
    files: int = 0
    quota_bytes: int | None = None

    def plus(self, live_bytes: int, all_bytes: int, files: int) -> "Tally":
        """Return the sums with these added. Raises `QuotaExceeded` where they grow too large."""
        if all_bytes > 0:
            self.refuse(all_bytes)
        return replace(
            self,
            live_bytes=self.live_bytes + live_bytes,
            all_bytes=self.all_bytes + all_bytes,
            files=self.files + files,
        )

    def refuse(self, more: int) -> None:
        """Raise `QuotaExceeded` if *more* bytes are too many."""
        if self.quota_bytes is not None and self.all_bytes + more > self.quota_bytes:
            raise QuotaExceeded(
                f"the bucket may hold {self.quota_bytes} bytes, past versions included; it has "
                f"{self.all_bytes}, and {more} more do not fit: prune its history, or ask its "
                "administrator for a greater quota",
                quota_bytes=self.quota_bytes,
                all_bytes=self.all_bytes,
            )

    @property
    def left(self) -> int | None:
        """The bytes that still fit; None: no limit."""
        return None if self.quota_bytes is None else max(0, self.quota_bytes - self.all_bytes)


def get_tally(connection: Connection, bucket: int) -> Tally:
    """Return what a bucket holds; nothing for what is none."""
    row = _GET.first(connection, {"number": bucket})
    return Tally() if row is None else Tally(*row)


def list_tallies(connection: Connection, buckets: Iterable[int] | None = None) -> dict[int, Tally]:
    """Return what buckets (None: all) hold, by their ids; deleted buckets too."""
    query = select(tallies.c.bucket, *COLUMNS)
    if buckets is not None:
        # Filtered here: databases limit the parameters of a statement.
        wanted = frozenset(buckets)
        return {row[0]: Tally(*row[1:]) for row in connection.execute(query) if row[0] in wanted}
    return {row[0]: Tally(*row[1:]) for row in connection.execute(query)}


def add_tally(connection: Connection, bucket: int) -> None:
    """Begin the sums of a new bucket."""
    row = {"bucket": bucket, "live_bytes": 0, "all_bytes": 0, "files": 0, "quota_bytes": None}
    connection.execute(insert(tallies), row)


def set_tally(connection: Connection, bucket: int, tally: Tally) -> None:
    """Write the sums of a bucket; its quota stays."""
    sums = {"live": tally.live_bytes, "everything": tally.all_bytes, "count": tally.files}
    _SET.run(connection, {"number": bucket, **sums})


def set_quota(connection: Connection, bucket: int, quota_bytes: int | None) -> None:
    """Bound a bucket. What it holds stays, even if it is more."""
    connection.execute(
        update(tallies).where(tallies.c.bucket == bucket).values(quota_bytes=quota_bytes)
    )


def bucket_of(connection: Connection, number: int) -> int:
    """Return the bucket where a node stands. Raises `NotFound`, for the root too."""
    query = select(nodes.c.bucket).where(nodes.c.id == number, nodes.c.bucket != 0)
    bucket = connection.execute(query).scalar()
    if bucket is None:
        raise NotFound(f"{number} is in no bucket", node=number)
    return int(bucket)


def sum_of(connection: Connection, which: ColumnElement[bool]) -> Tally:
    """Count what the nodes that fulfil a condition hold."""
    found = count_tallies(connection, which).values()
    return Tally(
        sum(tally.live_bytes for tally in found),
        sum(tally.all_bytes for tally in found),
        sum(tally.files for tally in found),
    )


def count_tallies(
    connection: Connection, which: ColumnElement[bool] | None = None
) -> dict[int, Tally]:
    """Count what nodes (None: all) hold, by their buckets."""
    which = true() if which is None else which
    live = connection.execute(
        select(nodes.c.bucket, func.coalesce(func.sum(states.c.size), 0), func.count())
        .select_from(nodes.join(states, states.c.node == nodes.c.id))
        .where(nodes.c.kind == Kind.FILE.value, nodes.c.links > 0, states.c.until.is_(None), which)
        .group_by(nodes.c.bucket)
    )
    found = {bucket: Tally(live_bytes=int(size), files=int(files)) for bucket, size, files in live}
    everything = connection.execute(
        select(nodes.c.bucket, func.sum(versions.c.size))
        .select_from(nodes.join(versions, versions.c.file == nodes.c.id))
        .where(versions.c.hidden == "", which)
        .group_by(nodes.c.bucket)
    )
    for bucket, size in everything:
        found[bucket] = replace(found.get(bucket, Tally()), all_bytes=int(size))
    return found


_GET = Prepared(select(*COLUMNS).where(tallies.c.bucket == bindparam("number")))
_SET = Prepared(
    update(tallies)
    .where(tallies.c.bucket == bindparam("number"))
    .values(
        live_bytes=bindparam("live"), all_bytes=bindparam("everything"), files=bindparam("count")
    )
)
