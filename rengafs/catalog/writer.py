"""One write transaction: it gives numbers and ids, and writes the rows that make history.

A `Writer` knows how a fact is recorded (close the old row, open a new one, tell the feed),
not which facts an operation changes: those are in `making`, `saving`, `renaming`,
`removing` and `attributes`.

The head row is read, under its lock, at the beginning and written once at the end; in
between it lives here. Whatever undoes rows (`undoable`) must undo that copy too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Table,
    bindparam,
    insert,
    select,
    update,
)

from rengafs.catalog.droppings import Droppings
from rengafs.catalog.nodes import encode_xattrs, get_node
from rengafs.catalog.places import Directory, Place, at_raw_name, find_directory, is_taken
from rengafs.catalog.prepared import Prepared
from rengafs.catalog.schema import (
    changes,
    crossings,
    edges,
    events,
    head,
    members,
    nodes,
    receipts,
    states,
    versions,
)
from rengafs.catalog.tallying import Tally, add_tally, get_tally, set_tally, sum_of
from rengafs.catalog.values import Actor, Rules
from rengafs.protocol.errors import NotFound
from rengafs.protocol.names import show
from rengafs.protocol.records import FIRST_ID, ROOT, Kind, Node


@dataclass(slots=True)
class _Head:
    change: int
    at_ms: int
    next_id: int
    live_bytes: int
    all_bytes: int
    files: int


_Row = dict[str, Any]


@dataclass(slots=True)
class _Pending:
    """What a savepoint must be able to take back."""

    head: _Head
    events: list[_Row] = field(default_factory=list)
    """Of the change under way."""
    adopted: set[tuple[str, str]] = field(default_factory=set)
    rows: list[tuple[Table, _Row]] = field(default_factory=list)
    """Rows that nothing asks for within the transaction; inserted together at its end."""

    tallies: dict[int, Tally] = field(default_factory=dict)
    """Of the buckets whose sums this transaction changes."""

    def copy(self) -> "_Pending":
        return _Pending(
            replace(self.head),
            list(self.events),
            set(self.adopted),
            list(self.rows),
            dict(self.tallies),
        )


class Writer:
    """The present transaction. Not shared between threads."""

    def __init__(
        self,
        connection: Connection,
        actor: Actor,
        rules: Rules,
        droppings: Droppings,
        now_ns: int,
    ) -> None:
        self.connection = connection
        self.actor = actor
        self.rules = rules
        self.droppings = droppings
        row = _HEAD.first(connection, {})
        self._pending = _Pending(_Head(*row[1:]))
        # A clock that was set back must not make history run backwards.
        self.now_ns = max(now_ns, row.at_ms * 1_000_000)
        self.now_ms = self.now_ns // 1_000_000

    # --- changes ----------------------------------------------------------------------

    @property
    def number(self) -> int:
        """The change under way: ``since`` of what it opens, ``until`` of what it closes."""
        return self._pending.head.change + 1

    @property
    def last(self) -> int:
        """The last change that is complete."""
        return self._pending.head.change

    @property
    def adopted(self) -> frozenset[tuple[str, str]]:
        """(backend, key) of the blobs that are in use by what this transaction did."""
        return frozenset(self._pending.adopted)

    def adopt(self, backend: str, key: str) -> None:
        """Note that a blob is in use now."""
        self._pending.adopted.add((backend, key))

    def take_id(self) -> int:
        """Return an id that nothing bears."""
        number = self._pending.head.next_id
        self._pending.head.next_id = number + 1
        return number

    def reserve(self, count: int) -> int:
        """Take *count* ids for what is made later; return the first."""
        first = self._pending.head.next_id
        self._pending.head.next_id = first + count
        return first

    def is_reserved(self, number: int) -> bool:
        """Whether an id was given out once; what bears it is not asked."""
        return FIRST_ID <= number < self._pending.head.next_id

    def count(
        self,
        bucket: int,
        *,
        live_bytes: int = 0,
        all_bytes: int = 0,
        files: int = 0,
        known: Tally | None = None,
    ) -> None:
        """Add to the running sums, of the bucket and of all. Raises `QuotaExceeded`.

        :param known: what the database holds of the bucket, if it was asked already.
        """
        tallies = self._pending.tallies
        before = tallies.get(bucket) or known or get_tally(self.connection, bucket)
        tallies[bucket] = before.plus(live_bytes, all_bytes, files)
        self.correct_total(live_bytes=live_bytes, all_bytes=all_bytes, files=files)

    def correct_total(self, *, live_bytes: int, all_bytes: int, files: int) -> None:
        """Add to the sums of all buckets together only."""
        total = self._pending.head
        total.live_bytes += live_bytes
        total.all_bytes += all_bytes
        total.files += files

    def carry(self, moved: ColumnElement[bool], source: int, target: int) -> None:
        """Count the nodes that fulfil a condition in another bucket. Raises `QuotaExceeded`."""
        held = sum_of(self.connection, moved)
        live, everything, files = held.live_bytes, held.all_bytes, held.files
        self.count(source, live_bytes=-live, all_bytes=-everything, files=-files)
        self.count(target, live_bytes=live, all_bytes=everything, files=files)
        crossing = {"target": target, "source": source}
        known = select(crossings.c.source).filter_by(**crossing)
        if self.connection.execute(known).first() is None:
            self.connection.execute(insert(crossings), crossing)

    def event(
        self,
        what: str,
        node: int,
        *,
        bucket: int = 0,
        parent: int = 0,
        name: bytes = b"",
        version: int = 0,
        kind: Kind | None = None,
        other: int = 0,
    ) -> None:
        """Tell the feed of one thing that the change under way does."""
        self._pending.events.append(
            {
                "seq": len(self._pending.events),
                "what": what,
                "node": node,
                "bucket": bucket,
                "parent": parent,
                "name": name,
                "version": version,
                "kind": kind.value if kind else "",
                "other": other,
            }
        )

    @property
    def has_events(self) -> bool:
        """Whether the change under way has done anything."""
        return bool(self._pending.events)

    def complete(self, action: str) -> int:
        """End the change under way; return its number, or 0 if it did nothing."""
        pending = self._pending
        if not pending.events:
            return 0
        number = self.number
        change = {
            "number": number,
            "at_ms": self.now_ms,
            "action": action,
            "author": self.actor.name,
            "host": self.actor.host,
            "client": self.actor.client,
        }
        self.insert_later(changes, change)
        for event in pending.events:
            self.insert_later(events, {"change": number, **event})
        pending.events = []
        pending.head.change = number
        pending.head.at_ms = self.now_ms
        return number

    def insert_later(self, table: Table, row: _Row) -> None:
        """Insert a row at the end of the transaction: nothing in it may ask for the row."""
        self._pending.rows.append((table, row))

    @contextmanager
    def undoable(self) -> Iterator[None]:
        """Undo what the block did if it raises, and only that."""
        before = self._pending.copy()
        try:
            with self.connection.begin_nested():
                yield
        except BaseException:
            self._pending = before
            raise

    def finish(self) -> None:
        """Write the head. The last thing before the transaction is committed."""
        for table in (changes, events, receipts):
            rows = [row for of, row in self._pending.rows if of is table]
            if len(rows) == 1:
                _ADD_LATER[table.name].run(self.connection, rows[0])
            elif rows:
                self.connection.execute(insert(table), rows)
        for bucket, tally in self._pending.tallies.items():
            set_tally(self.connection, bucket, tally)
        now = self._pending.head
        _SET_HEAD.run(self.connection, asdict(now))

    # --- nodes and their states -------------------------------------------------------

    def directory(self, number: int) -> Directory:
        """Return a directory that is in the live tree. Raises `NotFound`, `NotADirectory`."""
        found = find_directory(self.connection, number)
        if not found.links:
            raise NotFound(f"the directory {number} has been deleted", node=number)
        return found

    def node(self, number: int) -> Node:
        """Return a node as it is now, deleted or not. Raises `NotFound`."""
        return get_node(self.connection, number)

    def bucket_of(self, number: int) -> int:
        """Return the bucket where a node stands."""
        return int(_BUCKET.first(self.connection, {"number": number})[0])

    def add_node(self, node: Node, *, bucket: int, target: bytes | None = None) -> None:
        """Insert *node* with its first state; it has no name yet."""
        _ADD_NODE.run(self.connection, self.node_row(node, bucket=bucket, target=target))
        _ADD_STATE.run(self.connection, self.state_row(node))
        if node.kind is Kind.BUCKET:
            add_tally(self.connection, node.id)
        if node.kind is Kind.BUCKET and self.actor.user:
            row = {"bucket": node.id, "user": self.actor.user, "role": "owner"}
            self.connection.execute(insert(members), row)
        self.event("made", node.id, bucket=bucket, kind=node.kind)
        if node.kind is Kind.FILE:
            self.count(bucket, files=1)

    def alter(self, node: Node) -> None:
        """Give the node of that id the attributes and the version of *node*, from now on.

        Within one change the row is rewritten: nobody can have seen it.
        """
        values = self.state_row(node)
        numbers = {"number": node.id, "change": self.number}
        if _CLOSE_STATE.run(self.connection, numbers):
            _ADD_STATE.run(self.connection, values)
            return
        live = (states.c.node == node.id, states.c.until.is_(None))
        self.connection.execute(update(states).where(*live).values(values))

    def alter_in_place(self, number: int, **columns: int) -> None:
        """Overwrite columns that history does not follow: see `schema`."""
        self.connection.execute(
            update(states)
            .where(states.c.node == number, states.c.until.is_(None))
            .values(**columns)
        )

    def touch(self, directory: int) -> None:
        """Note in a directory's times that its entries changed."""
        _TOUCH.run(self.connection, {"number": directory, "now_ns": self.now_ns})

    def set_links(self, number: int, links: int) -> None:
        """Set how many names a node has."""
        _SET_LINKS.run(self.connection, {"number": number, "count": links})

    def _add_links(self, directory: int, count: int) -> None:
        """Count a subdirectory of *directory*, or one less."""
        _ADD_LINKS.run(self.connection, {"number": directory, "count": count})

    def node_row(self, node: Node, *, bucket: int, target: bytes | None) -> dict[str, Any]:
        """Return the row of a new node."""
        return {
            "id": node.id,
            "kind": node.kind.value,
            "bucket": bucket,
            "created_ms": self.now_ms,
            "owner": self.actor.name,
            "device": node.device,
            "target": target,
            "backend": node.backend,
            "links": node.links,
        }

    def state_row(self, node: Node) -> dict[str, Any]:
        """Return the row of a state that begins with the change under way."""
        return {
            "node": node.id,
            "since": self.number,
            "until": None,
            "mode": node.mode,
            "uid": node.uid,
            "gid": node.gid,
            "size": node.size,
            "version": node.version,
            "mtime_ns": node.mtime_ns,
            "ctime_ns": node.ctime_ns,
            "atime_ns": node.atime_ns,
            "xattrs": encode_xattrs(node.xattrs),
        }

    # --- names ------------------------------------------------------------------------

    def enter(
        self,
        parent: int,
        raw: bytes,
        node: Node,
        *,
        bucket: int,
        other: int = 0,
        free: bool = False,
    ) -> None:
        """Let a node stand at a raw name from now on, the eldest there or not.

        :param other: the node whose name went away by it.
        :param free: the caller knows that nothing bears the name.
        """
        elder = free or not is_taken(self.connection, parent, raw)
        edge = self.take_id()
        _ADD_EDGE.run(
            self.connection,
            {
                "id": edge,
                "parent": parent,
                "name": raw,
                "node": node.id,
                "since": self.number,
                "until": None,
            },
        )
        self.touch(parent)
        if node.kind.is_directory:
            self._add_links(parent, 1)
        shown = show(raw, node.id, elder=elder, top=parent == ROOT)
        self.tell_entered(Place(parent, edge, raw, shown, elder, bucket, node), other=other)

    def leave(self, place: Place) -> None:
        """Let a node no longer stand at its name. Whether it is gone is the caller's to say."""
        _CLOSE_EDGE.run(self.connection, {"number": place.edge, "change": self.number})
        self.touch(place.parent)
        if place.node.kind.is_directory:
            self._add_links(place.parent, -1)
        self.event(
            "left",
            place.node.id,
            bucket=place.bucket,
            parent=place.parent,
            name=place.shown,
            kind=place.node.kind,
        )
        if place.elder:
            self._promote(place)

    def tell_entered(self, place: Place, *, other: int = 0) -> None:
        """Tell the feed what stands at a name."""
        self.event(
            "entered",
            place.node.id,
            bucket=place.bucket,
            parent=place.parent,
            name=place.shown,
            kind=place.node.kind,
            other=other,
        )

    def _promote(self, left: Place) -> None:
        """The next of the same name is the elder now, and so is shown otherwise."""
        heirs = at_raw_name(self.connection, left.parent, left.raw)
        if not heirs:
            return
        heir = heirs[0]
        before = show(heir.raw, heir.node.id, elder=False, top=heir.parent == ROOT)
        self.event(
            "left",
            heir.node.id,
            bucket=heir.bucket,
            parent=heir.parent,
            name=before,
            kind=heir.node.kind,
        )
        self.tell_entered(heir)

    # --- versions ---------------------------------------------------------------------

    def hide(self, why: str, sizes: dict[int, int], bucket: int) -> None:
        """Take versions (id: size) of a bucket from every listing; they were visible until now."""
        if not sizes:
            return
        self.connection.execute(
            update(versions).where(versions.c.id.in_(list(sizes))).values(hidden=why)
        )
        self.count(bucket, all_bytes=-sum(sizes.values()))


_HEAD = Prepared(select(head).with_for_update())
_SET_HEAD = Prepared(
    update(head).values({own: bindparam(own.name) for own in head.c if own.name != "id"})
)
_ADD_NODE, _ADD_STATE, _ADD_EDGE = (Prepared(insert(table)) for table in (nodes, states, edges))
_ADD_LATER = {table.name: Prepared(insert(table)) for table in (changes, events, receipts)}
_NUMBER: BindParameter[int] = bindparam("number")
_BUCKET = Prepared(select(nodes.c.bucket).where(nodes.c.id == _NUMBER))
_SET_LINKS = Prepared(update(nodes).where(nodes.c.id == _NUMBER).values(links=bindparam("count")))
_ADD_LINKS = Prepared(
    update(nodes).where(nodes.c.id == _NUMBER).values(links=nodes.c.links + bindparam("count"))
)
_CLOSE_EDGE = Prepared(update(edges).where(edges.c.id == _NUMBER).values(until=bindparam("change")))
_CLOSE_STATE = Prepared(
    update(states)
    # The sum keeps SQLite from looking for it among all that the node ever was.
    .where(states.c.node == _NUMBER, states.c.until.is_(None))
    .where(states.c.since + 0 < bindparam("change"))
    .values(until=bindparam("change"))
)
_TOUCH = Prepared(
    update(states)
    .where(states.c.node == _NUMBER, states.c.until.is_(None))
    .values(mtime_ns=bindparam("now_ns"), ctime_ns=bindparam("now_ns"))
)
