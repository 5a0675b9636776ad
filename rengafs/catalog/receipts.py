"""Receipts: a repeated operation is told what it came to, and is not done again.

A client repeats what it got no answer to; one that writes back does so for as long as its
service is away, and others may have saved meanwhile. So receipts are kept for long, and are
short: ids, not what they stand for. What they stand for is looked up when somebody asks, as it
is by then. Of all the rows that a change leaves, its receipt is the smallest.
"""

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from rengafs.catalog.nodes import find_node
from rengafs.catalog.prepared import Prepared
from rengafs.catalog.saving import version_from, version_row
from rengafs.catalog.schema import receipts
from rengafs.catalog.writer import Writer
from rengafs.protocol.operations import Outcome
from rengafs.protocol.records import Node, Version

KEPT_MS = 90 * 24 * 3600 * 1000
"""How long a repeated operation is recognised."""
AT_ONCE = 500
"""Databases limit the parameters of a statement."""


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """An `Outcome` by ids. Those of earlier releases hold the records themselves."""

    change: int = 0
    node: int | Node | None = None
    version: int | Version | None = None
    moved: int | None = None
    replaced: int | None = None
    restored: int = 0


_decoder = msgspec.json.Decoder(Receipt)


def find(connection: Connection, user: int, key: str) -> Outcome | None:
    """Return what an operation of this key came to before."""
    if not key:
        return None
    row = _RECEIPT.first(connection, {"user": user, "key": key})
    return None if row is None else _recalled(connection, row.outcome)


def find_all(connection: Connection, user: int, keys: list[str]) -> dict[str, Outcome]:
    """Return the same for several keys, of those that have receipts."""
    if len(keys) == 1:
        known = find(connection, user, keys[0])
        return {} if known is None else {keys[0]: known}
    found: dict[str, Outcome] = {}
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        rows = connection.execute(
            select(receipts.c.key, receipts.c.outcome).where(
                receipts.c.user == user, receipts.c.key.in_(some)
            )
        ).all()
        found |= {row.key: _recalled(connection, row.outcome) for row in rows}
    return found


def leave(w: Writer, key: str, outcome: Outcome) -> None:
    """Leave the receipt of what was just done."""
    short = Receipt(
        change=outcome.change,
        node=None if outcome.node is None else outcome.node.id,
        version=None if outcome.version is None else outcome.version.id,
        moved=outcome.moved,
        replaced=outcome.replaced,
        restored=outcome.restored,
    )
    row = {
        "user": w.actor.user,
        "key": key,
        "outcome": msgspec.json.encode(short),
        "at_ms": w.now_ms,
    }
    w.insert_later(receipts, row)


def drop_old(connection: Connection, now_ms: int) -> None:
    """Forget the receipts that need not be kept any more."""
    connection.execute(delete(receipts).where(receipts.c.at_ms < now_ms - KEPT_MS))


def _recalled(connection: Connection, text: bytes) -> Outcome:
    short = _decoder.decode(text)
    node, version = short.node, short.version
    if isinstance(node, int):
        node = find_node(connection, node)
    if isinstance(version, int):
        row = version_row(connection, version)
        version = None if row is None else version_from(row)
    return Outcome(
        change=short.change,
        node=node,
        version=version,
        moved=short.moved,
        replaced=short.replaced,
        restored=short.restored,
    )


_RECEIPT = Prepared(
    select(receipts.c.outcome).where(
        receipts.c.user == bindparam("user"), receipts.c.key == bindparam("key")
    )
)
