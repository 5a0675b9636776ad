"""The past of a name and of a directory. Reads only.

The history of a name is not that of a file: whatever was ever current under the name, of
any file, and what the file that bears it now was before. So an editor that renames ``f``
to ``f~`` and writes a new ``f`` still leaves one list of saves.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, or_, select

from rengafs.catalog.droppings import Droppings
from rengafs.catalog.places import MAX_PAGE, Place, at_raw_name, find, find_directory
from rengafs.catalog.saving import select_versions, version_from
from rengafs.catalog.schema import changes, edges, nodes, states, versions
from rengafs.protocol import names
from rengafs.protocol.errors import BadRequest, NotFound
from rengafs.protocol.records import ROOT, Kind, PastName, PastNames, Versions


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of time, both ends included; None: open."""

    from_ms: int | None = None
    until_ms: int | None = None


ALL_TIME = Span()


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a shown name means in the past of a directory."""

    raw: bytes
    only: int | None = None
    """If set, only this node's time under the name."""
    without: tuple[int, ...] = ()
    """Nodes that are shown otherwise now."""
    live: int | None = None
    """The node that bears the name now."""


def history(
    connection: Connection,
    directory: int,
    shown: bytes,
    *,
    after: str,
    limit: int,
    span: Span = ALL_TIME,
) -> Versions:
    """Return the versions that were ever current under a name, oldest first.

    Raises `NotFound` if nothing ever bore the name, `NotADirectory`.
    """
    find_directory(connection, directory)
    meant = _meant(connection, directory, shown)
    limit = max(1, min(limit, MAX_PAGE))
    chosen = [edges.c.parent == directory, edges.c.name == meant.raw, _overlap()]
    if meant.only is not None:
        chosen.append(edges.c.node == meant.only)
    if meant.without:
        chosen.append(edges.c.node.not_in(meant.without))
    ever = (
        select(states.c.version)
        .select_from(edges.join(states, states.c.node == edges.c.node))
        .where(*chosen, states.c.version.is_not(None))
    )
    wanted: ColumnElement[bool] = versions.c.id.in_(ever)
    if meant.live is not None:
        wanted = or_(wanted, versions.c.file == meant.live)
    query = (
        select_versions()
        .where(wanted, versions.c.hidden == "", versions.c.id > _number(after), *_within(span))
        .order_by(versions.c.id)
        .limit(limit + 1)
    )
    rows = connection.execute(query).all()
    name = names.to_wire(meant.raw)
    found = [version_from(row, name) for row in rows[:limit]]
    return Versions(versions=found, next=str(found[-1].id) if len(rows) > limit else "")


def past_names(
    connection: Connection, directory: int, droppings: Droppings, *, after: str, limit: int
) -> PastNames:
    """Return the names with something to show for them, sorted by name bytes.

    That is a version that a listing shows, or a directory, be it deleted. An editor's
    dropping that is gone has nothing: what was saved under it went with it, and what was a
    version before is shown under its real name.
    """
    find_directory(connection, directory)
    limit = max(1, min(limit, MAX_PAGE))
    try:
        beyond = bytes.fromhex(after)
    except ValueError:
        raise BadRequest(f"{after!r} is not a cursor; use `next` of the page before") from None
    groups: dict[bytes, list[Row[Any]]] = {}
    more = False
    rows = connection.execute(_past_edges(directory, beyond if after else None))
    for row in rows:
        if not _is_shown(row, droppings):
            continue
        if row.name not in groups and len(groups) == limit:
            more = True
            break
        groups.setdefault(row.name, []).append(row)
    rows.close()
    found = [past for group in groups.values() for past in _past(connection, directory, group)]
    return PastNames(names=found, next=next(reversed(groups)).hex() if more else "")


def past_name(
    connection: Connection, directory: int, droppings: Droppings, shown: bytes
) -> PastName:
    """Return one name of `past_names`. Raises `NotFound`, `NotADirectory`."""
    find_directory(connection, directory)
    for raw, number in names.candidates(shown):
        if raw is None and number is not None:
            raw = _name_once(connection, directory, number)
        if raw is None:
            continue
        rows = connection.execute(_past_edges(directory, None).where(edges.c.name == raw)).all()
        group = [row for row in rows if _is_shown(row, droppings)]
        for past in _past(connection, directory, group) if group else []:
            if names.from_wire(past.name) == shown:
                return past
    raise NotFound(
        f"nothing there was ever called {names.to_wire(shown)!r}; rengafs ls shows what there is",
        parent=directory,
    )


def _within(span: Span) -> list[ColumnElement[bool]]:
    bounds = []
    if span.from_ms is not None:
        bounds.append(versions.c.created_ms >= span.from_ms)
    if span.until_ms is not None:
        bounds.append(versions.c.created_ms <= span.until_ms)
    return bounds


def _is_shown(row: Row[Any], droppings: Droppings) -> bool:
    return row.until is None or _is_directory(row) or not droppings.match(row.name)


def _overlap() -> ColumnElement[bool]:
    """The condition that a state held while an edge did."""
    return and_(
        or_(states.c.until.is_(None), states.c.until > edges.c.since),
        or_(edges.c.until.is_(None), states.c.since < edges.c.until),
    )


def _past_edges(directory: int, after: bytes | None) -> Any:
    something = exists(
        select(versions.c.id)
        .select_from(states.join(versions, versions.c.id == states.c.version))
        .where(states.c.node == edges.c.node, _overlap(), versions.c.hidden == "")
        .correlate(edges)
    )
    a_directory = nodes.c.kind.in_([Kind.DIRECTORY.value, Kind.BUCKET.value])
    query = (
        select(edges.c.name, edges.c.node, edges.c.until, nodes.c.kind, changes.c.at_ms)
        .select_from(
            edges.join(nodes, nodes.c.id == edges.c.node).outerjoin(
                changes, changes.c.number == edges.c.until
            )
        )
        .where(edges.c.parent == directory, or_(a_directory, something))
        .order_by(edges.c.name, edges.c.id)
    )
    return query if after is None else query.where(edges.c.name > after)


def _past(connection: Connection, directory: int, group: list[Row[Any]]) -> list[PastName]:
    """Return what one raw name stands for: who bears it now, else who bore it last.

    Where both a file and a directory bore it, the one of them that does not have it is
    shown with its id, so that the past of both can be reached. If neither has it now, the
    file does: what was saved under a name is looked for under that name.
    """
    live = [row for row in group if row.until is None]
    files = [row for row in group if not _is_directory(row)]
    chosen = live[:1] or files[-1:] or group[-1:]
    rest = live[1:]
    other = [row for row in group if Kind(row.kind).is_directory != _is_directory(chosen[0])]
    rest += [row for row in other[-1:] if row not in rest]
    elder = not live or _is_elder(connection, directory, chosen[0])
    return [_past_name(directory, chosen[0], elder)] + [
        _past_name(directory, row, elder=False) for row in rest
    ]


def _is_directory(row: Row[Any]) -> bool:
    return Kind(row.kind).is_directory


def _is_elder(connection: Connection, directory: int, row: Row[Any]) -> bool:
    # The elder may be a file never saved, which is not in the listing of the past.
    bearers = at_raw_name(connection, directory, row.name)
    return not bearers or bearers[0].node.id == row.node


def _past_name(directory: int, row: Row[Any], elder: bool) -> PastName:
    shown = names.show(row.name, row.node, elder=elder, top=directory == ROOT)
    return PastName(
        name=names.to_wire(shown),
        kind=Kind(row.kind),
        node=row.node,
        live=row.until is None,
        until_ms=row.at_ms or 0,
        raw="" if shown == row.name else names.to_wire(row.name),
    )


def _meant(connection: Connection, directory: int, shown: bytes) -> _Meant:
    place = find(connection, directory, shown)
    if place is not None:
        return _meant_live(connection, place)
    for raw, number in names.candidates(shown):
        if raw is None and number is not None:
            raw = _name_once(connection, directory, number)
        if raw is None or not _ever(connection, directory, raw, number):
            continue
        elder = number is None
        top = directory == ROOT
        if names.show(raw, number or 0, elder=elder, top=top) == shown:
            return _Meant(raw, only=number)
    raise NotFound(
        f"nothing there was ever called {names.to_wire(shown)!r}; rengafs ls shows what there is",
        parent=directory,
    )


def _meant_live(connection: Connection, place: Place) -> _Meant:
    live = place.node.id if place.node.kind is Kind.FILE else None
    if not place.elder:
        return _Meant(place.raw, only=place.node.id, live=live)
    doubles = at_raw_name(connection, place.parent, place.raw)[1:]
    return _Meant(place.raw, without=tuple(other.node.id for other in doubles), live=live)


def _ever(connection: Connection, directory: int, raw: bytes, number: int | None) -> bool:
    query = select(edges.c.id).where(edges.c.parent == directory, edges.c.name == raw)
    if number is not None:
        query = query.where(edges.c.node == number)
    return connection.execute(query.limit(1)).first() is not None


def _name_once(connection: Connection, directory: int, number: int) -> bytes | None:
    query = select(edges.c.name).where(edges.c.parent == directory, edges.c.node == number)
    return connection.execute(query.order_by(edges.c.id.desc()).limit(1)).scalar()


def _number(cursor: str) -> int:
    try:
        return int(cursor or "0")
    except ValueError:
        raise BadRequest(f"{cursor!r} is not a cursor; use `next` of the page before") from None
