"""Labels: names for moments of a bucket. What they name is never touched by them.

Not the original API's labels of files and buckets, which are words without a moment: those
are in `original`.
"""

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from rengafs.catalog.feed import change_at
from rengafs.catalog.nodes import find_node, no_node
from rengafs.catalog.schema import moments, nodes
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import BadRequest, InvalidName, NameTooLong, NotFound
from rengafs.protocol.moments import parse, stamp
from rengafs.protocol.names import from_wire, to_wire
from rengafs.protocol.operations import DropLabel, Outcome, PutLabel
from rengafs.protocol.records import ROOT, Kind, Label

MAX_LABEL = 200
"""Bytes of a label: it is shown behind an ``@``, and in tables."""
GUIDE = "README.txt"
"""What ``.versions/@README.txt`` is where a file of that name is in the way."""


def put_label(w: Writer, operation: PutLabel) -> Outcome:
    """Name a moment, or move the name to it."""
    bucket = _bucket(w, operation.bucket)
    raw = check_label(operation.name)
    at_ms = w.now_ms if operation.at_ms is None else operation.at_ms
    if at_ms > w.now_ms:
        raise BadRequest(f"{stamp(at_ms)} is still to come; a label names a moment that was")
    change = w.last if operation.at_ms is None else change_at(w.connection, at_ms).change
    if find_node(w.connection, bucket, change) is None:
        raise BadRequest(f"there was no such bucket at {stamp(at_ms)}; name a later moment")
    values = {"at_ms": at_ms, "change": change}
    found = w.connection.execute(
        update(moments).where(*_is(bucket, raw)).values(**values, author=w.actor.name)
    )
    if not found.rowcount:
        row = {"bucket": bucket, "name": raw, "author": w.actor.name, "created_ms": w.now_ms}
        w.connection.execute(insert(moments), row | values)
    w.event("labelled", bucket, bucket=bucket, name=raw, kind=Kind.BUCKET)
    return Outcome()


def drop_label(w: Writer, operation: DropLabel) -> Outcome:
    """Take a label away. Raises `NotFound`."""
    bucket = _bucket(w, operation.bucket)
    raw = from_wire(operation.name)
    if not w.connection.execute(delete(moments).where(*_is(bucket, raw))).rowcount:
        raise _no_label(bucket, operation.name)
    w.event("unlabelled", bucket, bucket=bucket, name=raw, kind=Kind.BUCKET)
    return Outcome()


def check_label(name: str) -> bytes:
    """Return the raw bytes of a label's name. Raises `InvalidName`, `NameTooLong`."""
    raw = from_wire(name)
    if len(raw) > MAX_LABEL:
        raise NameTooLong(f"a label has {len(raw)} bytes; {MAX_LABEL} are the most")
    if not raw or b"/" in raw or b"\0" in raw or raw.startswith(b"@") or name == GUIDE:
        raise InvalidName(f"{name!r} can't be a label; write a word without '/', like paper-v1")
    try:
        parse(name)
    except BadRequest:
        return raw
    raise InvalidName(f"{name!r} can't be a label: it would be read as a moment")


# --- reading ------------------------------------------------------------------------------


def list_labels(connection: Connection, node: int) -> list[Label]:
    """Return the labels of the bucket where a node stands, by moment. Raises `NotFound`."""
    query = select(moments).where(moments.c.bucket == bucket_of(connection, node))
    rows = connection.execute(query.order_by(moments.c.at_ms, moments.c.name))
    return [_label(row) for row in rows]


def get_label(connection: Connection, node: int, name: str) -> Label:
    """Return one label of the bucket where a node stands. Raises `NotFound`."""
    bucket = bucket_of(connection, node)
    row = connection.execute(select(moments).where(*_is(bucket, from_wire(name)))).first()
    if row is None:
        raise _no_label(bucket, name)
    return _label(row)


def bucket_of(connection: Connection, node: int) -> int:
    """Return the bucket where a node stands, or stood last; 0 for the root."""
    bucket = connection.execute(select(nodes.c.bucket).where(nodes.c.id == node)).scalar()
    if bucket is None:
        raise no_node(node)
    return int(bucket)


def _bucket(w: Writer, number: int) -> int:
    found = w.directory(number)
    if found.kind is not Kind.BUCKET:
        what = "the top" if number == ROOT else f"{number}"
        raise BadRequest(f"{what} is not a bucket; a label is of a whole bucket")
    return number


def _is(bucket: int, raw: bytes) -> tuple[Any, ...]:
    return moments.c.bucket == bucket, moments.c.name == raw


def _label(row: Row[Any]) -> Label:
    return Label(
        bucket=row.bucket,
        name=to_wire(row.name),
        at_ms=row.at_ms,
        change=row.change,
        author=row.author,
        created_ms=row.created_ms,
    )


def _no_label(bucket: int, name: str) -> NotFound:
    return NotFound(f"there is no label {name!r} in the bucket", bucket=bucket, label=name)
