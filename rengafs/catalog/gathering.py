"""Rows of one operation on thousands of nodes, written together.

A statement a row is what takes the time of a restored tree. Here rows are gathered and
written some thousands at a time, each table in one statement. What `Writer` does for one
node at a time is meant to be the same; the caller asks the database for nothing that is
gathered and not yet written.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, delete, insert, update

from rengafs.catalog.places import Directory, Place
from rengafs.catalog.retaining import chunks
from rengafs.catalog.saving import EMPTY_SHA256, refuse_pruned, select_versions
from rengafs.catalog.schema import edges, nodes, states, versions
from rengafs.catalog.writer import Writer
from rengafs.protocol.names import show
from rengafs.protocol.records import ROOT, Kind, Node

ROWS = 5000
"""That are kept before they are written, about."""

_Row = dict[str, Any]


class Gathering:
    """Rows on their way. `flush` at the end."""

    def __init__(self, w: Writer) -> None:
        self.w = w
        self._nodes: dict[int, _Row] = {}
        self._revived: dict[int, _Row] = {}
        self._states: dict[int, _Row] = {}
        self._altered: set[int] = set()
        """Those of the states that take another's place."""
        self._edges: list[_Row] = []
        self._versions: list[_Row] = []
        self._touched: set[int] = set()
        self._subdirectories: Counter[int] = Counter()

    def add(self, node: Node, *, bucket: int, target: bytes | None = None) -> None:
        """Make a node, not a bucket; it has no name yet."""
        w = self.w
        self._nodes[node.id] = w.node_row(node, bucket=bucket, target=target)
        self._states[node.id] = w.state_row(node)
        w.event("made", node.id, bucket=bucket, kind=node.kind)
        if node.kind is Kind.FILE:
            w.count(bucket, files=1)

    def revive(self, node: Node, *, bucket: int) -> None:
        """Give a deleted node its links, in the bucket where it stands now."""
        w = self.w
        self._revived[node.id] = {"number": node.id, "count": node.links, "into": bucket}
        w.event("made", node.id, bucket=bucket, kind=node.kind)
        if node.kind is Kind.FILE:
            w.count(bucket, files=1, live_bytes=node.size)

    def set_links(self, node: Node) -> None:
        """Set how many names a node has that was added or revived."""
        if node.id in self._nodes:
            self._nodes[node.id]["links"] = node.links
        elif node.id in self._revived:
            self._revived[node.id]["count"] = node.links
        else:
            self.w.set_links(node.id, node.links)

    def alter(self, node: Node, *, bucket: int, tell: bool = True) -> None:
        """Give a node other attributes, or another version."""
        self._states[node.id] = self.w.state_row(node)
        if node.id not in self._nodes:
            self._altered.add(node.id)
        if tell:
            self.w.event("attributes", node.id, bucket=bucket, kind=node.kind)

    def save(self, node: Node, then: Node, source: Any, *, bucket: int) -> Node:
        """Make the content of *then* the newest version of a file; return the file with it.

        :param source: what `sources` found for it. Raises `Pruned`, `QuotaExceeded`.
        """
        w = self.w
        if source is not None:
            refuse_pruned(source)
        number = w.take_id()
        sha256 = then.sha256 or EMPTY_SHA256
        origin = source.origin if source else ""
        row: _Row = {"id": number, "file": node.id, "change": w.number, "size": then.size}
        row |= {"sha256": sha256, "blob": source.blob if source else None, "author": w.actor.name}
        row |= {"base": node.version, "conflict": False, "created_ms": w.now_ms, "handle": ""}
        row |= {"mtime_ns": then.mtime_ns, "mode": node.mode, "hidden": "", "origin": origin}
        row |= {"execution": w.actor.execution, "project": w.actor.project}
        self._versions.append(row)
        saved = replace(
            node,
            version=number,
            size=then.size,
            sha256=sha256,
            mtime_ns=then.mtime_ns,
            ctime_ns=w.now_ns,
            origin=origin,
        )
        self.alter(saved, bucket=bucket, tell=False)
        w.count(bucket, all_bytes=then.size, live_bytes=then.size - node.size)
        w.event("saved", node.id, bucket=bucket, version=number, kind=node.kind)
        return saved

    def enter(self, parent: Directory, raw: bytes, node: Node) -> None:
        """Let a node stand at a raw name that is free."""
        w = self.w
        bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
        edge = w.take_id()
        row = {"id": edge, "parent": parent.id, "name": raw, "node": node.id}
        self._edges.append({**row, "since": w.number, "until": None})
        self._touched.add(parent.id)
        if node.kind.is_directory:
            self._subdirectories[parent.id] += 1
        shown = show(raw, node.id, elder=True, top=parent.id == ROOT)
        w.tell_entered(Place(parent.id, edge, raw, shown, True, bucket, node))
        if len(self._edges) >= ROWS:
            self.flush()

    def sources(self, nodes_then: Iterable[Node]) -> dict[int, Any]:
        """Return where the contents of files lie, by their versions' ids."""
        return version_rows(self.w.connection, {node.version for node in nodes_then})

    def flush(self) -> None:
        """Write what was gathered."""
        c, now = self.w.connection, {"now_ns": self.w.now_ns}
        if self._nodes:
            c.execute(insert(nodes), list(self._nodes.values()))
        if self._revived:
            c.execute(_REVIVE, list(self._revived.values()))
        if self._altered:
            closed = [{"number": number, "change": self.w.number} for number in self._altered]
            # Within one change the row is rewritten: nobody can have seen it.
            c.execute(_DROP_STATE, closed)
            c.execute(_CLOSE_STATE, closed)
        if self._states:
            c.execute(insert(states), list(self._states.values()))
        if self._versions:
            c.execute(insert(versions), self._versions)
        if self._edges:
            c.execute(insert(edges), self._edges)
        if self._touched:
            c.execute(_TOUCH, [{"number": number, **now} for number in sorted(self._touched)])
        if self._subdirectories:
            counts = [{"number": n, "more": more} for n, more in self._subdirectories.items()]
            c.execute(_ADD_LINKS, counts)
        self._forget()

    def _forget(self) -> None:
        gathered = (self._nodes, self._revived, self._states, self._altered, self._edges)
        for rows in (*gathered, self._versions, self._touched, self._subdirectories):
            rows.clear()


def version_rows(connection: Connection, numbers: Iterable[int | None]) -> dict[int, Any]:
    """Return the rows of versions, by their ids."""
    found: dict[int, Any] = {}
    for chunk in chunks({number for number in numbers if number is not None}):
        rows = connection.execute(select_versions().where(versions.c.id.in_(chunk)))
        found |= {row.id: row for row in rows}
    return found


_THE_NODE = nodes.c.id == bindparam("number")
_REVIVE = update(nodes).where(_THE_NODE).values(links=bindparam("count"), bucket=bindparam("into"))
_ADD_LINKS = update(nodes).where(_THE_NODE).values(links=nodes.c.links + bindparam("more"))
_LIVE = (states.c.node == bindparam("number"), states.c.until.is_(None))
_DROP_STATE = delete(states).where(*_LIVE, states.c.since == bindparam("change"))
_CLOSE_STATE = update(states).where(*_LIVE).values(until=bindparam("change"))
_TOUCH = (
    update(states).where(*_LIVE).values(mtime_ns=bindparam("now_ns"), ctime_ns=bindparam("now_ns"))
)
