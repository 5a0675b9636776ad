"""Which versions a bucket's rule does not keep, and taking them from history.

A rule names moments (see `rengafs.protocol.retention`), and a version is kept if it was
what its file held at one of them, under any name. Beside what the rule says is kept: what
was current within the last day, what a label shows, what anybody holds, what is current.

What goes leaves its row, for the log and as others' base, without its bytes. A blob goes
with the last version that needs it; removing it from its backend is the caller's.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, or_, select, update

from rengafs.catalog.parking import drop
from rengafs.catalog.retaining import chunks, held_versions, labelled_changes, rule_of
from rengafs.catalog.schema import blobs, changes, edges, nodes, states, versions
from rengafs.catalog.stock import LOST
from rengafs.catalog.values import Blob
from rengafs.catalog.writer import Writer
from rengafs.protocol.records import Kind
from rengafs.protocol.retention import DAY_MS, Every, Rule, end_of

PRUNED = "pruned"
GRACE_MS = DAY_MS
"""What was current so lately is never pruned: somebody has it open, and will say so."""
FILES_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Doomed:
    """A version that goes."""

    version: int
    file: int
    size: int
    created_ms: int
    blob: int | None
    listed: bool
    """Whether listings show it; else only its bytes are left of it."""


@dataclass(slots=True)
class Judged:
    """What becomes of the versions of some files."""

    doomed: list[Doomed] = field(default_factory=list)
    spared: list[Doomed] = field(default_factory=list)
    """Versions that only a lease keeps."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A piece of time, as changes and as their moments; an end of None is now."""

    since: int
    until: int | None
    since_ms: int
    until_ms: int | None


class Judge:
    """Says of each version of a bucket whether it is kept, as of now."""

    def __init__(self, connection: Connection, bucket: int, now_ms: int) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self.rule = rule_of(connection, bucket)
        self._labels = labelled_changes(connection, bucket)
        self._young_ms = now_ms - GRACE_MS
        self._zones = list(_zones(self.rule, now_ms))

    def judge(self, files: Sequence[int]) -> Judged:
        """Judge the versions of some hundred files that have not been pruned yet."""
        judged = Judged()
        if self.rule.keeps_everything or not files:
            return judged
        rows = self._connection.execute(_VERSIONS.where(versions.c.file.in_(files))).all()
        spans = _spans(self._connection, files)
        going = [row for row in rows if not self._keeps(spans.get(row.id, []), row.created_ms)]
        held = held_versions(self._connection, [row.id for row in going], self._now_ms)
        for row in going:
            one = Doomed(row.id, row.file, row.size, row.created_ms, row.blob, row.hidden == "")
            (judged.spared if row.id in held else judged.doomed).append(one)
        return judged

    def _keeps(self, spans: list[_Span], created_ms: int) -> bool:
        """Whether a version that was current for these spans stays."""
        if not spans:  # saved when its file had no name any more
            spans = [_Span(0, 0, created_ms, created_ms + 1)]
        return any(self._keeps_span(span) for span in spans)

    def _keeps_span(self, span: _Span) -> bool:
        if span.until_ms is None or span.until is None or span.until_ms > self._young_ms:
            return True
        place = bisect_left(self._labels, span.since)
        if place < len(self._labels) and self._labels[place] < span.until:
            return True
        return any(
            end_of(every, first) < last
            for every, from_ms, until_ms in self._zones
            if (first := max(span.since_ms, from_ms)) < (last := min(span.until_ms, until_ms))
        )


def _zones(rule: Rule, now_ms: int) -> Iterator[tuple[Every, int, int]]:
    """Yield which moments are kept, from when and until when (excluded).

    Those of a later clause are kept from the beginning: a month's end need not be a week's.
    """
    start = now_ms + 1
    for index, clause in enumerate(rule.clauses):
        end = 0 if clause.for_ms is None else max(0, now_ms - clause.for_ms)
        for later in rule.clauses[index:]:
            yield later.every, end, start
        start = end


def files_after(connection: Connection, bucket: int, after: int) -> list[int]:
    """Return the next files of a bucket by id, deleted ones too."""
    query = (
        select(nodes.c.id)
        .where(nodes.c.bucket == bucket, nodes.c.kind == Kind.FILE.value, nodes.c.id > after)
        .order_by(nodes.c.id)
        .limit(FILES_AT_ONCE)
    )
    return list(connection.execute(query).scalars())


def prune_files(w: Writer, bucket: int, files: Sequence[int]) -> tuple[Judged, list[Blob]]:
    """Take what goes of some files from history; return it, and the blobs that nothing needs."""
    judged = Judge(w.connection, bucket, w.now_ms).judge(files)
    if not judged.doomed:
        return judged, []
    listed = [one.version for one in judged.doomed if one.listed]
    for chunk in chunks(listed):
        w.connection.execute(update(versions).where(versions.c.id.in_(chunk)).values(hidden=PRUNED))
    for chunk in chunks(one.version for one in judged.doomed):
        w.connection.execute(update(versions).where(versions.c.id.in_(chunk)).values(blob=None))
    freed = _drop_blobs(w, {one.blob for one in judged.doomed if one.blob is not None})
    w.count(bucket, all_bytes=-sum(one.size for one in judged.doomed if one.listed))
    w.event("pruned", bucket, bucket=bucket, kind=Kind.BUCKET, other=len(judged.doomed))
    w.complete("prune")
    return judged, freed


def freed_bytes(connection: Connection, doomed: dict[int, int]) -> int:
    """Return the bytes of blobs that nothing would need without so many (by id) versions."""
    total = 0
    for chunk in chunks(doomed):
        query = (
            select(blobs.c.id, blobs.c.size, func.count())
            .select_from(blobs.join(versions, versions.c.blob == blobs.c.id))
            .where(blobs.c.id.in_(chunk))
            .group_by(blobs.c.id, blobs.c.size)
        )
        rows = connection.execute(query)
        total += sum(size for number, size, needed in rows if needed == doomed[number])
    return total


def _drop_blobs(w: Writer, candidates: set[int]) -> list[Blob]:
    needed = exists(select(versions.c.id).where(versions.c.blob == blobs.c.id))
    freed: list[Blob] = []
    for chunk in chunks(candidates):
        rows = w.connection.execute(select(blobs).where(blobs.c.id.in_(chunk), ~needed)).all()
        freed += [
            Blob(row.backend, row.key.removeprefix(LOST), row.size, row.sha256) for row in rows
        ]
        w.connection.execute(delete(blobs).where(blobs.c.id.in_([row.id for row in rows])))
        drop(w.connection, [row.id for row in rows])
    return freed


def _spans(connection: Connection, files: Sequence[int]) -> dict[int, list[_Span]]:
    """Return when each version of some files was what a name led to."""
    named: dict[int, list[_Span]] = defaultdict(list)
    for row in connection.execute(_held_by(edges, edges.c.node).where(edges.c.node.in_(files))):
        _add_span(named[row.node], _Span(row.since, row.until, row.since_ms or 0, row.until_ms))
    found: dict[int, list[_Span]] = defaultdict(list)
    query = _held_by(states, states.c.node, states.c.version).where(
        states.c.node.in_(files), states.c.version.is_not(None)
    )
    for row in connection.execute(query):
        span = _Span(row.since, row.until, row.since_ms or 0, row.until_ms)
        for name in named[row.node]:
            both = _both(span, name)
            if both is not None:
                found[row.version].append(both)
    return found


def _add_span(spans: list[_Span], span: _Span) -> None:
    """Add the time of another name; a rename, or a second link, is no new span."""
    before = spans[-1] if spans else None
    if before is None or (before.until is not None and before.until < span.since):
        spans.append(span)
    elif before.until is not None and (span.until is None or span.until > before.until):
        spans[-1] = _Span(before.since, span.until, before.since_ms, span.until_ms)


def _both(one: _Span, other: _Span) -> _Span | None:
    """Return the time that two spans share."""
    later = one if one.since >= other.since else other
    ends = [span for span in (one, other) if span.until is not None]
    if not ends:
        return _Span(later.since, None, later.since_ms, None)
    sooner = min(ends, key=lambda span: span.until or 0)
    if sooner.until is not None and later.since >= sooner.until:
        return None
    return _Span(later.since, sooner.until, later.since_ms, sooner.until_ms)


def _held_by(table: Any, *columns: Any) -> Any:
    first, last = changes.alias("first"), changes.alias("last")
    return (
        select(
            *columns,
            table.c.since,
            table.c.until,
            first.c.at_ms.label("since_ms"),
            last.c.at_ms.label("until_ms"),
        )
        .select_from(
            table.outerjoin(first, first.c.number == table.c.since).outerjoin(
                last, last.c.number == table.c.until
            )
        )
        .order_by(table.c.since)
    )


_VERSIONS = (
    select(
        versions.c.id,
        versions.c.file,
        versions.c.size,
        versions.c.created_ms,
        versions.c.blob,
        versions.c.hidden,
    )
    .select_from(versions.outerjoin(blobs, blobs.c.id == versions.c.blob))
    .where(
        or_(
            # What another program stored takes none of our room, as long as it lies there.
            blobs.c.key.not_like("@%"),
            # Empty. What has been pruned has no bytes left either, but is in no listing.
            and_(versions.c.blob.is_(None), versions.c.hidden == ""),
        )
    )
    .order_by(versions.c.id)
)
