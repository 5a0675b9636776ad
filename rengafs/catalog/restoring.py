"""Bringing the past back: a file or a whole tree, in one change, without moving a byte.

Nothing is taken away by it: what came to be since stays, and what is there now becomes
history by its new version. A deleted node is revived, with its id and all its versions; a
node that lives elsewhere by now is copied. All of it is one operation, so it happens as a
whole or not at all.
"""

from msgspec.structs import replace
from sqlalchemy import select, update

from rengafs.catalog import copying
from rengafs.catalog.comparing import same_content
from rengafs.catalog.nodes import columns, joined, node_from
from rengafs.catalog.places import Directory, Place, at_raw_name, check_at, get, list_places
from rengafs.catalog.removing import remove
from rengafs.catalog.schema import edges, nodes, valid
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import AlreadyExists, BadRequest
from rengafs.protocol.names import from_wire, to_wire
from rengafs.protocol.operations import Outcome, Restore
from rengafs.protocol.records import ROOT, Kind, Node


def restore(w: Writer, operation: Restore) -> Outcome:
    """Make a path what it was. Raises `NotFound`, `AlreadyExists`, `BadRequest`."""
    check_at(w.connection, operation.at)
    run = _Restoring(w, operation.at)
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
    return Outcome(node=w.node(node.id), restored=run.count)


class _Restoring:
    """One restoration as of a change."""

    def __init__(self, w: Writer, at: int) -> None:
        self._w = w
        self._at = at
        self._revived: dict[int, Node] = {}
        self.count = 0
        """Entries that were made, revived or given other content."""
        self.path = ""
        """Where it is, for errors."""

    def entry(self, parent: Directory, then: Place, *, whole: bool) -> Node:
        """Bring one entry back below *parent*; *whole*: with all that is below it."""
        now = at_raw_name(self._w.connection, parent.id, then.raw)
        present = _present(self._w, [then.node.id])
        return self._entry(parent, then, now[0] if now else None, present, whole=whole)

    def _entry(
        self,
        parent: Directory,
        then: Place,
        now: Place | None,
        present: dict[int, Node],
        *,
        whole: bool,
    ) -> Node:
        if now is not None and now.node.kind is Kind.SYMLINK and _differs(now.node, then.node):
            remove(self._w, now)
            now = None
        if now is None:
            return self._bring_back(parent, then, present[then.node.id], whole=whole)
        if now.node.kind is not then.node.kind:
            raise AlreadyExists(
                f"{self.path!r}: {to_wire(then.shown)!r} was a {then.node.kind} and is a "
                f"{now.node.kind} now; rename it, then restore"
            )
        if now.node.kind is Kind.FILE:
            node = self._content(now.node, then.node)
            self.count += node is not now.node
            return node
        if now.node.kind.is_directory and whole:
            bucket = now.node.id if now.node.kind is Kind.BUCKET else parent.bucket
            self._children(Directory(now.node.id, now.node.kind, bucket, 1), then.node.id)
        return now.node

    def _children(self, into: Directory, then: int) -> None:
        w = self._w
        here = {place.raw: place for place in reversed(list_places(w.connection, into.id, None))}
        before = list_places(w.connection, then, self._at)
        present = _present_below(w, then, self._at)
        for place in before:
            # Of several that bear one name only the eldest can be told apart.
            if place.elder:
                self._entry(into, place, here.get(place.raw), present, whole=True)

    def _bring_back(self, parent: Directory, then: Place, present: Node, *, whole: bool) -> Node:
        self.count += 1
        known = self._revived.get(present.id)
        if known is not None:
            node = replace(known, links=known.links + 1)
            self._w.set_links(node.id, node.links)
            self._enter(parent, then, node)
        elif present.links:
            copy = copying.Copying(self._w, self._at)
            node = copy.entry(parent, then.raw, then.node, whole=whole)
            self.count += copy.count - 1
            return node
        else:
            node = self._revive(parent, then, present)
        self._revived[node.id] = node
        if node.kind.is_directory and whole:
            bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
            self._children(Directory(node.id, node.kind, bucket, 1), node.id)
        return node

    def _revive(self, parent: Directory, then: Place, present: Node) -> Node:
        w = self._w
        links = 2 if present.kind.is_directory else 1
        node = replace(present, links=links)
        bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
        w.connection.execute(
            update(nodes).where(nodes.c.id == node.id).values(links=links, bucket=bucket)
        )
        w.event("made", node.id, bucket=bucket, kind=node.kind)
        if node.kind is Kind.FILE:
            w.count(files=1, live_bytes=node.size)
            node = self._content(node, then.node)
        elif _differs(node, then.node):
            node = copying.with_attributes(node, then.node)
            w.alter(node)
        self._enter(parent, then, node)
        return node

    def _enter(self, parent: Directory, then: Place, node: Node) -> None:
        bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
        self._w.enter(parent.id, then.raw, node, bucket=bucket, free=True)

    def _content(self, now: Node, then: Node) -> Node:
        """Give a file the content and the attributes that it had."""
        if not _differs(now, then):
            return now
        node = copying.with_attributes(now, then)
        if not same_content(now, then):
            return copying.fill(self._w, node, then)
        self._w.alter(node)
        self._w.event("attributes", node.id, bucket=self._w.bucket_of(node.id), kind=node.kind)
        return node


def _differs(now: Node, then: Node) -> bool:
    if now.kind is Kind.FILE and not same_content(now, then):
        return True
    attributes = ("mode", "uid", "gid", "xattrs", "mtime_ns", "target")
    return any(getattr(now, name) != getattr(then, name) for name in attributes)


def _present(w: Writer, numbers: list[int]) -> dict[int, Node]:
    return {number: w.node(number) for number in numbers}


def _present_below(w: Writer, directory: int, at: int) -> dict[int, Node]:
    """Return what the entries of then are now, in one query."""
    then = select(edges.c.node).where(edges.c.parent == directory, valid(edges, at))
    query = select(*columns(None)).select_from(joined(None)).where(nodes.c.id.in_(then))
    return {row[0]: node_from(row) for row in w.connection.execute(query)}
