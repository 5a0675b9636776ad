"""Rows to `Node` records: the one select that every reader of attributes uses."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    and_,
    bindparam,
    func,
    select,
)

from rengafs.catalog.schema import edges, nodes, states, valid, versions
from rengafs.protocol.errors import NotFound
from rengafs.protocol.names import to_wire
from rengafs.protocol.records import Kind, Node

At: TypeAlias = int | BindParameter[int] | None
"""A change, or the parameter of a statement that stands for one; None is now."""

_xattrs = msgspec.msgpack.Decoder(dict[str, bytes])


def columns(at: At) -> list[ColumnElement[Any]]:
    """Return what `node_from` needs, in its order."""
    n, s, v = nodes.c, states.c, versions.c
    return [
        n.id,
        n.kind,
        n.bucket,
        n.created_ms,
        n.device,
        n.target,
        n.backend,
        n.links if at is None else _links_then(at),
        s.mode,
        s.uid,
        s.gid,
        s.size,
        s.version,
        s.mtime_ns,
        s.ctime_ns,
        s.atime_ns,
        s.xattrs,
        v.sha256,
        v.origin,
    ]


COLUMNS = 19
"""Length of `columns`; what a query adds comes after them."""
BUCKET = 2
"""Place of the bucket's id among them; `Node` does not have it."""


def joined(at: At) -> FromClause:
    """Return nodes with their state as of *at*, and their version where they have one."""
    then = and_(states.c.node == nodes.c.id, valid(states, at))
    return nodes.join(states, then).outerjoin(versions, versions.c.id == states.c.version)


def node_from(row: Sequence[Any]) -> Node:
    """Return the record of a row that begins with `columns`."""
    target, xattrs = row[5], row[16]
    return Node(
        id=row[0],
        kind=Kind(row[1]),
        created_ns=row[3] * 1_000_000,
        device=row[4],
        target="" if target is None else to_wire(target),
        backend=row[6],
        links=row[7],
        mode=row[8],
        uid=row[9],
        gid=row[10],
        size=row[11],
        version=row[12],
        mtime_ns=row[13],
        ctime_ns=row[14],
        atime_ns=row[15],
        xattrs={} if xattrs is None else _xattrs.decode(xattrs),
        sha256=row[17] or "",
        origin=row[18] or "",
    )


def find_node(connection: Connection, number: int, at: int | None = None) -> Node | None:
    """Return a node, deleted or not; None if there is none, or there was none as of *at*."""
    query = _ONE_NOW if at is None else _ONE_THEN
    row = connection.execute(query, {"number": number, "at": at}).first()
    return None if row is None else node_from(row)


def get_node(connection: Connection, number: int, at: int | None = None) -> Node:
    """Return a node, deleted or not. Raises `NotFound`."""
    node = find_node(connection, number, at)
    if node is None:
        raise no_node(number)
    return node


def no_node(number: int) -> NotFound:
    """Return the error for an id that is no node's."""
    return NotFound(f"there is no bucket, directory or file with the id {number}", node=number)


def encode_xattrs(xattrs: dict[str, bytes]) -> bytes | None:
    """Return what the column holds."""
    return msgspec.msgpack.encode(xattrs) if xattrs else None


def _links_then(at: int | BindParameter[int]) -> ColumnElement[Any]:
    counted = edges.alias("counted")
    return (
        select(func.count())
        .select_from(counted)
        .where(counted.c.node == nodes.c.id, valid(counted, at))
        .scalar_subquery()
    )


# Built once: making a statement costs SQLAlchemy as much as carrying it out.
_ONE_NOW = select(*columns(None)).select_from(joined(None)).where(nodes.c.id == bindparam("number"))
_ONE_THEN = (
    select(*columns(bindparam("at")))
    .select_from(joined(bindparam("at")))
    .where(nodes.c.id == bindparam("number"))
)
