"""The log of a path: who saved, renamed, deleted what, when and from where. Reads only.

It is made from the feed's events: those of everything that ever bore the path's name, and,
of a directory, of all that ever stood below it.
"""

from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from rengafs.catalog.lasting import ever_below, find_last, full_path, may_see
from rengafs.catalog.membership import seen_by
from rengafs.catalog.places import MAX_PAGE
from rengafs.catalog.pruning import PRUNED
from rengafs.catalog.schema import changes, edges, events, versions
from rengafs.protocol.names import to_wire
from rengafs.protocol.records import ROOT, Kind, Log, LogEntry

_WORDS = ("labelled", "unlabelled", "retention", "pruned")
_LESSER = (("taken", "unshared"), ("left", "unlinked"), ("attributes", "attributes"))
"""Events that are news where nothing greater happened, and their words."""


def log_of(
    connection: Connection, path: str, *, before: int, limit: int, user: int | None = None
) -> Log:
    """Return what happened to a path before a change (0: until now), newest first.

    :param user: who asks; what happened in buckets that are hidden from them is left out.
        None may see everything.

    Raises `NotFound` for a path that never was.
    """
    found = find_last(connection, path, user)
    numbers = {found.node}
    if found.parent != ROOT:  # another bucket of the same name is somebody else's
        bore = (edges.c.parent == found.parent, edges.c.name == found.raw)
        numbers |= set(connection.execute(select(edges.c.node).where(*bore)).scalars())
    wanted: ColumnElement[bool] = events.c.node.in_(ever_below(*numbers))
    if user is not None:
        wanted = and_(wanted, events.c.bucket.in_(seen_by(user)))
    touched = select(events.c.change).where(wanted).distinct()
    if before:
        touched = touched.where(events.c.change < before)
    limit = max(1, min(limit, MAX_PAGE))
    newest = touched.order_by(events.c.change.desc()).limit(limit + 1)
    kept = list(connection.execute(newest).scalars())
    more, kept = len(kept) > limit, kept[:limit]
    rows = connection.execute(_events(kept, wanted)).all() if kept else []
    paths = _Paths(connection, user)
    entries = []
    for _, group in groupby(rows, key=lambda row: row.change):
        entries += _of_change(list(group), paths)
    return Log(entries=entries, next=kept[-1] if more else 0)


def _events(kept: list[int], wanted: ColumnElement[bool]) -> Any:
    return (
        select(
            events,
            changes.c.at_ms,
            changes.c.action,
            changes.c.author,
            changes.c.host,
            versions.c.size,
            versions.c.hidden,
            versions.c.conflict,
        )
        .select_from(
            events.join(changes, changes.c.number == events.c.change).outerjoin(
                versions, versions.c.id == events.c.version
            )
        )
        .where(
            events.c.change >= kept[-1],
            events.c.change <= kept[0],
            wanted,
            # What a later commit of the same open file has taken the place of is no save.
            or_(events.c.what != "saved", versions.c.hidden.in_(["", PRUNED])),
        )
        .order_by(events.c.change.desc(), events.c.seq)
    )


def _of_change(rows: list[Row[Any]], paths: "_Paths") -> list[LogEntry]:
    """Return the entries of one change, one for each node that it did something to."""
    temporary = {row.other for row in rows if row.what == "entered" and row.other}
    by_node: dict[int, list[Row[Any]]] = {}
    for row in rows:
        if row.node not in temporary:
            by_node.setdefault(row.node, []).append(row)
    entries = [_entry(group, paths) for group in by_node.values()]
    return [entry for entry in entries if entry is not None]


def _entry(group: list[Row[Any]], paths: "_Paths") -> LogEntry | None:
    last = {row.what: row for row in group}
    first = group[0]
    what = _word(last)
    if what is None:
        return None
    entered, left, saved = last.get("entered"), last.get("left"), last.get("saved")
    named = entered or left
    path = paths.of(first.node) if named is None else _joined(paths.of(named.parent), named.name)
    source = ""
    if what == "renamed" and left is not None:
        source = _joined(paths.of(left.parent), left.name)
    return LogEntry(
        change=first.change,
        at_ms=first.at_ms,
        what=what,
        action=first.action,
        author=first.author,
        host=first.host,
        node=first.node,
        kind=Kind(first.kind) if first.kind else Kind.FILE,
        path=path,
        source=source,
        version=saved.version if saved else None,
        size=saved.size if saved else None,
        conflict=bool(saved and saved.conflict),
        pruned=first.other if what == "pruned" else int(bool(saved and saved.hidden == PRUNED)),
        label=to_wire(first.name) if what in _WORDS else "",
    )


def _word(last: dict[str, Row[Any]]) -> str | None:
    """Return the word for what a change did to a node; None for what is no news."""
    for word in _WORDS:
        if word in last:
            return word
    if "gone" in last:
        return "deleted"
    if "left" in last and "entered" in last:
        return "renamed"
    if "saved" in last:
        if last["saved"].action in ("restore", "clone", "copy_file"):
            return "cloned" if last["saved"].action != "restore" else "restored"
        return "replaced" if "entered" in last and "made" not in last else "saved"
    if "made" in last:
        return "restored" if last["made"].action == "restore" else "made"
    if "entered" in last:
        return "shared" if last["entered"].action == "grant" else "linked"
    return next((word for event, word in _LESSER if event in last), None)


class _Paths:
    """Present paths of nodes, as a user may see them; each looked up once."""

    def __init__(self, connection: Connection, user: int | None) -> None:
        self._connection = connection
        self._user = user
        self._known: dict[int, str] = {ROOT: ""}

    def of(self, number: int) -> str:
        """Return ``bucket/dir/file``; of what is in a hidden bucket by now, only dots."""
        path = self._known.get(number)
        if path is None:
            path = "…"
            if self._user is None or may_see(self._connection, self._user, number):
                path = full_path(self._connection, number)
            self._known[number] = path
        return path


def _joined(directory: str, raw: bytes) -> str:
    return f"{directory}/{to_wire(raw)}" if directory else to_wire(raw)
