"""What is kept of the past whatever its age, and how much of the rest: labels, leases, rules.

Here it is written down and asked for; `pruning` goes by it.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, insert, select

from rengafs.catalog.places import Directory
from rengafs.catalog.schema import (
    crossings,
    leases,
    members,
    moments,
    nodes,
    retention,
    users,
    versions,
)
from rengafs.catalog.values import Actor
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import BadRequest, NotFound
from rengafs.protocol.keeping import Retention
from rengafs.protocol.operations import Outcome, SetRetention
from rengafs.protocol.records import ROOT, Kind
from rengafs.protocol.retention import EVERYTHING, Rule, parse_rule

AT_ONCE = 500
"""Databases limit the parameters of a statement."""


def set_retention(w: Writer, operation: SetRetention) -> Outcome:
    """Give a bucket a rule. Raises `BadRequest`, `NotFound`."""
    bucket = _bucket(w, operation.bucket)
    rule = parse_rule(operation.rule)
    if str(rule) == str(rule_of(w.connection, bucket.id)):
        return Outcome()
    w.connection.execute(delete(retention).where(retention.c.bucket == bucket.id))
    if not rule.keeps_everything:
        row = {"bucket": bucket.id, "rule": str(rule)}
        row |= {"author": w.actor.name, "set_ms": w.now_ms}
        w.connection.execute(insert(retention), row)
    name = str(rule).encode()
    w.event("retention", bucket.id, bucket=bucket.id, name=name, kind=Kind.BUCKET)
    return Outcome()


def get_retention(connection: Connection, bucket: int) -> Retention:
    """Return the rule of a bucket, deleted or not. Raises `NotFound`."""
    kind = connection.execute(select(nodes.c.kind).where(nodes.c.id == bucket)).scalar()
    if kind != Kind.BUCKET:
        raise NotFound(f"there is no bucket {bucket}", bucket=bucket)
    row = connection.execute(select(retention).where(retention.c.bucket == bucket)).first()
    if row is None:
        return Retention(bucket=bucket, rule=str(EVERYTHING))
    return Retention(bucket=bucket, rule=row.rule, author=row.author, set_ms=row.set_ms)


def rule_of(connection: Connection, bucket: int) -> Rule:
    """Return the rule of a bucket; that of everything for what is none."""
    text = connection.execute(select(retention.c.rule).where(retention.c.bucket == bucket)).scalar()
    return EVERYTHING if text is None else parse_rule(text)


def labelled_changes(connection: Connection, bucket: int) -> list[int]:
    """Return the changes that a label needs of what stands in a bucket now, in order.

    Those of the bucket, and of all from which anything ever came here: a label there shows
    it where it was.
    """
    seed = select(crossings.c.source).where(crossings.c.target == bucket)
    before = seed.cte("before", recursive=True)
    before = before.union(select(crossings.c.source).where(crossings.c.target == before.c.source))
    query = select(moments.c.change).where(
        (moments.c.bucket == bucket) | moments.c.bucket.in_(select(before.c.source))
    )
    return sorted(set(connection.execute(query).scalars()))


def hold(w: Writer, holder: str, numbers: Sequence[int], seconds: int) -> int:
    """Let a holder hold these versions, and no others; return how many there are.

    What the user may not see is passed over: nobody keeps others from pruning.
    """
    user = w.actor.user
    w.connection.execute(
        delete(leases).where(
            ((leases.c.user == user) & (leases.c.holder == holder))
            | (leases.c.until_ms <= w.now_ms)
        )
    )
    kept = visible_versions(w.connection, w.actor, set(numbers))
    until_ms = w.now_ms + seconds * 1000
    rows = [
        {"user": user, "holder": holder, "version": number, "until_ms": until_ms}
        for number in sorted(kept)
    ]
    if rows:
        w.connection.execute(insert(leases), rows)
    return len(rows)


def held_versions(connection: Connection, numbers: Iterable[int], now_ms: int) -> set[int]:
    """Return which of these versions anybody holds."""
    found: set[int] = set()
    for chunk in chunks(numbers):
        query = select(leases.c.version).where(
            leases.c.version.in_(chunk), leases.c.until_ms > now_ms
        )
        found |= set(connection.execute(query).scalars())
    return found


def holders_of(
    connection: Connection, numbers: Iterable[int], now_ms: int
) -> dict[int, tuple[str, str]]:
    """Return for each of these versions that is held the user and the holder; one of several."""
    found: dict[int, tuple[str, str]] = {}
    for chunk in chunks(numbers):
        query = (
            select(leases.c.version, users.c.name, leases.c.holder)
            .join(users, users.c.id == leases.c.user)
            .where(leases.c.version.in_(chunk), leases.c.until_ms > now_ms)
            # Pins after mounts: of two reasons, the one that lasts is told.
            .order_by(leases.c.version, leases.c.holder)
        )
        found |= {row.version: (row.name, row.holder) for row in connection.execute(query)}
    return found


def visible_versions(connection: Connection, actor: Actor, numbers: set[int]) -> set[int]:
    """Return which of these versions there are, and may be seen by a user."""
    found: set[int] = set()
    for chunk in chunks(numbers):
        query = select(versions.c.id).where(versions.c.id.in_(chunk))
        if not actor.everywhere:
            query = query.join(nodes, nodes.c.id == versions.c.file).join(
                members, (members.c.bucket == nodes.c.bucket) & (members.c.user == actor.user)
            )
        found |= set(connection.execute(query).scalars())
    return found


def chunks(numbers: Iterable[int]) -> Iterable[list[int]]:
    """Yield the numbers, some hundreds at a time."""
    ordered = sorted(numbers)
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]


def _bucket(w: Writer, number: int) -> Directory:
    found = w.directory(number)
    if found.kind is not Kind.BUCKET:
        what = "the top" if number == ROOT else f"{number}"
        raise BadRequest(f"{what} is not a bucket; a rule is of a whole bucket")
    return found
