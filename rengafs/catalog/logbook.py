"""The log of a path: who saved, renamed, deleted what, when and from where. Reads only.

It is made from the feed's events: those of everything that ever bore the path's name, and,
of a directory, of all that ever stood below it.
"""

from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from rengafs.catalog.lasting import ever_below, find_last, full_path
from rengafs.catalog.places import MAX_PAGE
from rengafs.catalog.schema import changes, edges, events, versions
from rengafs.protocol.names import to_wire
from rengafs.protocol.records import ROOT, Kind, Log, LogEntry

_WORDS = ("labelled", "unlabelled")


def log_of(connection: Connection, path: str, *, before: int, limit: int) -> Log:
    """Return what happened to a path before a change (0: until now), newest first.

    Raises `NotFound` for a path that never was.
    """
    found = find_last(connection, path)
    numbers = {found.node}
    if found.parent != ROOT:  # another bucket of the same name is somebody else's
        bore = (edges.c.parent == found.parent, edges.c.name == found.raw)
        numbers |= set(connection.execute(select(edges.c.node).where(*bore)).scalars())
    touched = select(events.c.change).where(events.c.node.in_(ever_below(*numbers))).distinct()
    if before:
        touched = touched.where(events.c.change < before)
    limit = max(1, min(limit, MAX_PAGE))
    newest = touched.order_by(events.c.change.desc()).limit(limit + 1)
    kept = list(connection.execute(newest).scalars())
    more, kept = len(kept) > limit, kept[:limit]
    rows = connection.execute(_events(kept, ever_below(*numbers))).all() if kept else []
    paths: dict[int, str] = {ROOT: ""}
    entries = []
    for _, group in groupby(rows, key=lambda row: row.change):
        entries += _of_change(connection, list(group), paths)
    return Log(entries=entries, next=kept[-1] if more else 0)


def _events(kept: list[int], numbers: Any) -> Any:
    return (
        select(
            events,
            changes.c.at_ms,
            changes.c.action,
            changes.c.author,
            changes.c.host,
            versions.c.size,
        )
        .select_from(
            events.join(changes, changes.c.number == events.c.change).outerjoin(
                versions, versions.c.id == events.c.version
            )
        )
        .where(
            events.c.change >= kept[-1],
            events.c.change <= kept[0],
            events.c.node.in_(numbers),
            # What a later commit of the same open file has taken the place of is no save.
            or_(events.c.what != "saved", versions.c.hidden == ""),
        )
        .order_by(events.c.change.desc(), events.c.seq)
    )


def _of_change(
    connection: Connection, rows: list[Row[Any]], paths: dict[int, str]
) -> list[LogEntry]:
    """Return the entries of one change, one for each node that it did something to."""
    temporary = {row.other for row in rows if row.what == "entered" and row.other}
    by_node: dict[int, list[Row[Any]]] = {}
    for row in rows:
        if row.node not in temporary:
            by_node.setdefault(row.node, []).append(row)
    entries = [_entry(connection, group, paths) for group in by_node.values()]
    return [entry for entry in entries if entry is not None]


def _entry(connection: Connection, group: list[Row[Any]], paths: dict[int, str]) -> LogEntry | None:
    last = {row.what: row for row in group}
    first = group[0]
    what = _word(last)
    if what is None:
        return None
    entered, left, saved = last.get("entered"), last.get("left"), last.get("saved")
    named = entered or left
    if named is None:
        path = _path_of(connection, first.node, paths)
    else:
        path = _joined(_path_of(connection, named.parent, paths), named.name)
    source = ""
    if what == "renamed" and left is not None:
        source = _joined(_path_of(connection, left.parent, paths), left.name)
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
        return "linked"
    if "left" in last:
        return "unlinked"
    return "attributes" if "attributes" in last else None


def _path_of(connection: Connection, number: int, paths: dict[int, str]) -> str:
    if number not in paths:
        paths[number] = full_path(connection, number)
    return paths[number]


def _joined(directory: str, raw: bytes) -> str:
    return f"{directory}/{to_wire(raw)}" if directory else to_wire(raw)
