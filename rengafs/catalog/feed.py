"""The changes in order, the moments they happened at, and the sums kept along. Reads only."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from rengafs.catalog.places import last_change
from rengafs.catalog.schema import changes, events
from rengafs.catalog.tallying import list_tallies
from rengafs.protocol.errors import BadRequest
from rengafs.protocol.names import to_wire
from rengafs.protocol.records import Change, Event, Kind, Moment, Usage

PAGE = 500
"""Changes read at a time: a client that was away for long is fed in bounded pieces."""


def changes_after(connection: Connection, since: int, limit: int = PAGE) -> list[Change]:
    """Return the changes after *since*, with their events; at most *limit*.

    Raises `BadRequest` for a number beyond the last change: it is of another catalog.
    """
    last = last_change(connection)
    if not 0 <= since <= last:
        raise BadRequest(f"there is no change {since}; the last is {last}", last=last)
    if since == last:
        return []
    rows = connection.execute(
        select(changes).where(changes.c.number > since).order_by(changes.c.number).limit(limit)
    ).all()
    happened: dict[int, list[Event]] = {row.number: [] for row in rows}
    query = (
        select(events)
        .where(events.c.change > since, events.c.change <= rows[-1].number)
        .order_by(events.c.change, events.c.seq)
    )
    for row in connection.execute(query):
        happened[row.change].append(_event(row))
    return [
        Change(
            number=row.number,
            at_ms=row.at_ms,
            action=row.action,
            author=row.author,
            host=row.host,
            client=row.client,
            events=happened[row.number],
        )
        for row in rows
    ]


def change_at(connection: Connection, at_ms: int) -> Moment:
    """Return the last change until a moment; 0 where there was none."""
    query = select(func.max(changes.c.number)).where(changes.c.at_ms <= at_ms)
    number = connection.execute(query).scalar()
    return Moment(at_ms=at_ms, change=number or 0)


def usage(connection: Connection, buckets: Collection[int] | None = None) -> Usage:
    """Return the running sums of some buckets (None: of all), and what their quotas leave.

    What the backend has left is the service's to add.
    """
    found = list_tallies(connection, buckets).values()
    left = [tally.left for tally in found]
    quotas = [tally.quota_bytes for tally in found]
    live = sum(tally.live_bytes for tally in found)
    return Usage(
        live_bytes=live,
        history_bytes=sum(tally.all_bytes for tally in found) - live,
        files=sum(tally.files for tally in found),
        free_bytes=_sum_if_all(left),
        quota_bytes=_sum_if_all(quotas),
    )


def _sum_if_all(numbers: Sequence[int | None]) -> int | None:
    """Return the sum; None where there is nothing, or where one has no limit."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _event(row: Row[Any]) -> Event:
    return Event(
        what=row.what,
        node=row.node,
        bucket=row.bucket,
        parent=row.parent,
        name=to_wire(row.name),
        version=row.version,
        kind=Kind(row.kind) if row.kind else None,
        other=row.other,
    )
