"""Bringing the past back: a file or a whole tree, in one change, without moving a byte.

Nothing is taken away by it: what came to be since stays, and what is there now becomes
history by its new version. A deleted node is revived, with its id and all its versions; a
node that lives elsewhere by now is copied. All of it is one operation, so it happens as a
whole or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from sqlalchemy import select

from rengafs.catalog import copying
from rengafs.catalog.comparing import same_content
from rengafs.catalog.gathering import Gathering
from rengafs.catalog.membership import may
from rengafs.catalog.nodes import BUCKET, columns, joined, node_from
from rengafs.catalog.places import Directory, Place, at_raw_name, check_at, get, list_places
from rengafs.catalog.removing import remove
from rengafs.catalog.retaining import chunks
from rengafs.catalog.saving import refuse_pruned
from rengafs.catalog.schema import nodes
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import AlreadyExists, BadRequest
from rengafs.protocol.names import from_wire, to_wire
from rengafs.protocol.operations import Outcome, Restore
from rengafs.protocol.records import ROOT, Kind, Node


def restore(w: Writer, operation: Restore) -> Outcome:
    """Make a path what it was. Raises `NotFound`, `AlreadyExists`, `BadRequest`."""
    check_at(w.connection, operation.at)
    rows = Gathering(w)
    run = _Restoring(rows, operation.at)
    parent = Directory(ROOT, Kind.DIRECTORY, 0, 1)
    parts = [part for part in operation.path.split("/") if part]
    if not parts:
        raise BadRequest("the top can't be restored; restore its buckets one by one")
    node: Node | None = None
    above = ROOT
    for depth, part in enumerate(parts):
        then = get(w.connection, above, from_wire(part), operation.at)
        run.path = "/".join(parts[: depth + 1])
        last = depth == len(parts) - 1
        node = run.entry(parent, then, whole=last)
        above = then.node.id
        bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
        parent = Directory(node.id, node.kind, bucket, node.links)
    assert node is not None, "there is at least one part"
    rows.flush()
    return Outcome(node=w.node(node.id), restored=run.count)


class _Restoring:
    """One restoration as of a change."""

    def __init__(self, rows: Gathering, at: int) -> None:
        self._rows = rows
        self._w = rows.w
        self._at = at
        self._revived: dict[int, Node] = {}
        self._altered: dict[int, Node] = {}
        """What the rows on their way make of files of several names."""
        self._own: dict[int, bool] = {}
        self.count = 0
        """Entries that were made, revived or given other content."""
        self.path = ""
        """Where it is, for errors."""

    def entry(self, parent: Directory, then: Place, *, whole: bool) -> Node:
        """Bring one entry back below *parent*; *whole*: with all that is below it."""
        now = at_raw_name(self._w.connection, parent.id, then.raw)
        level = _look(self._rows, [then], [then.node.id])
        return self._entry(parent, then, now[0] if now else None, level, whole=whole)

    def _entry(
        self, parent: Directory, then: Place, now: Place | None, level: "_Level", *, whole: bool
    ) -> Node:
        if now is not None and now.node.kind is Kind.SYMLINK and _differs(now.node, then.node):
            remove(self._w, now)
            now = None
        if now is None:
            return self._bring_back(parent, then, level, whole=whole)
        if now.node.kind is not then.node.kind:
            raise AlreadyExists(
                f"{self.path!r}: {to_wire(then.shown)!r} was a {then.node.kind} and is a "
                f"{now.node.kind} now; rename it, then restore"
            )
        if now.node.kind is Kind.FILE:
            before = self._altered.get(now.node.id, now.node)
            node = self._content(before, then.node, level, bucket=parent.bucket)
            self.count += node is not before
            if node.links > 1:
                self._altered[node.id] = node
            return node
        if now.node.kind.is_directory and whole:
            bucket = now.node.id if now.node.kind is Kind.BUCKET else parent.bucket
            here = list_places(self._w.connection, now.node.id, None)
            into = Directory(now.node.id, now.node.kind, bucket, 1)
            self._children(into, then.node.id, {place.raw: place for place in reversed(here)})
        return now.node

    def _children(self, into: Directory, then: int, here: Mapping[bytes, Place]) -> None:
        """Bring back what stood in the directory *then*; *here*: what is there, eldest only."""
        before = list_places(self._w.connection, then, self._at)
        level = _look(self._rows, before, [place.node.id for place in before])
        for place in before:
            # Of several that bear one name only the eldest can be told apart.
            if place.elder:
                self._entry(into, place, here.get(place.raw), level, whole=True)

    def _bring_back(self, parent: Directory, then: Place, level: "_Level", *, whole: bool) -> Node:
        self.count += 1
        present = level.present[then.node.id]
        known = self._revived.get(present.id)
        if known is not None:
            node = replace(known, links=known.links + 1)
            self._rows.set_links(node)
            self._rows.enter(parent, then.raw, node)
        elif present.links or not self._may_revive(level.buckets[present.id], parent):
            copy = copying.Copying(self._rows, self._at)
            node = copy.entry(parent, then.raw, then.node, level.sources, whole=whole)
            self.count += copy.count - 1
            return node
        else:
            node = self._revive(parent, then, present, level)
        self._revived[node.id] = node
        if node.kind.is_directory and whole:
            bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
            # What was deleted was empty.
            self._children(Directory(node.id, node.kind, bucket, 1), node.id, {})
        return node

    def _may_revive(self, bucket: int, parent: Directory) -> bool:
        """Whether a node may come back with all that it was: also in the bucket where it went."""
        if bucket == parent.bucket or parent.id == ROOT:
            return True
        if bucket not in self._own:
            self._own[bucket] = may(self._w.connection, self._w.actor, bucket, "writer")
        return self._own[bucket]

    def _revive(self, parent: Directory, then: Place, present: Node, level: "_Level") -> Node:
        node = replace(present, links=2 if present.kind.is_directory else 1)
        bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
        before = level.buckets[node.id]
        if node.kind is Kind.FILE and before != bucket:
            self._w.carry(nodes.c.id == node.id, before, bucket)
        self._rows.revive(node, bucket=bucket)
        if node.kind is Kind.FILE:
            source = level.sources.get(node.version or 0)
            if source is not None and same_content(node, then.node):
                refuse_pruned(source)
            node = self._content(node, then.node, level, bucket=bucket)
        elif _differs(node, then.node):
            node = copying.with_attributes(node, then.node)
            self._rows.alter(node, bucket=bucket, tell=False)
        self._rows.enter(parent, then.raw, node)
        return node

    def _content(self, now: Node, then: Node, level: "_Level", *, bucket: int) -> Node:
        """Give a file the content and the attributes that it had."""
        if not _differs(now, then):
            return now
        node = copying.with_attributes(now, then)
        if not same_content(now, then):
            return self._rows.save(node, then, level.sources.get(then.version or 0), bucket=bucket)
        self._rows.alter(node, bucket=bucket)
        return node


@dataclass(frozen=True, slots=True)
class _Level:
    """What is to be known of the entries of a directory, asked for all of them at once."""

    present: Mapping[int, Node]
    """The nodes as they are now."""
    buckets: Mapping[int, int]
    """Where they stand, or stood last."""
    sources: Mapping[int, Any]
    """The rows of their versions, of then and of now."""


def _look(rows: Gathering, then: Sequence[Place], numbers: Sequence[int]) -> _Level:
    present: dict[int, Node] = {}
    buckets: dict[int, int] = {}
    query = select(*columns(None)).select_from(joined(None))
    for chunk in chunks(numbers):
        for row in rows.w.connection.execute(query.where(nodes.c.id.in_(chunk))):
            present[row[0]] = node_from(row)
            buckets[row[0]] = row[BUCKET]
    needed = [place.node for place in then]
    return _Level(present, buckets, rows.sources([*needed, *present.values()]))


def _differs(now: Node, then: Node) -> bool:
    if now.kind is Kind.FILE and not same_content(now, then):
        return True
    attributes = ("mode", "uid", "gid", "xattrs", "mtime_ns", "target")
    return any(getattr(now, name) != getattr(then, name) for name in attributes)
