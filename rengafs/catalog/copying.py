"""Copies of what stands, or stood, somewhere: new nodes with the old contents.

Blobs are shared, so a copy of any size costs rows only. A copy has a history of its own.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from rengafs.catalog import saving
from rengafs.catalog.gathering import Gathering
from rengafs.catalog.making import add_bucket, free_name
from rengafs.catalog.nodes import find_node
from rengafs.catalog.places import Directory, check_at, last_change, list_places
from rengafs.catalog.saving import version_row
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import NotFound, NotPermitted
from rengafs.protocol.names import from_wire
from rengafs.protocol.operations import Clone, Outcome
from rengafs.protocol.records import ROOT, Kind, Node


def clone(w: Writer, operation: Clone) -> Outcome:
    """Copy a file, a version, a directory or a bucket, as it is or was.

    Raises `NotFound`, `NotPermitted`, `AlreadyExists`.
    """
    at = operation.at
    if version_row(w.connection, operation.source) is not None:
        return saving.clone(w, operation)
    source = find_node(w.connection, operation.source, check_at(w.connection, at))
    if source is None or (at is not None and not source.links):
        raise NotFound(f"there is no {operation.source} to clone", node=operation.source)
    if source.kind is Kind.FILE and at is None:
        return saving.clone(w, operation)
    if (operation.parent == ROOT) != (source.kind is Kind.BUCKET):
        raise NotPermitted("a bucket is cloned to a bucket, anything else into one")
    parent = w.directory(operation.parent)
    raw = free_name(w, parent, operation.name)
    # As of the last change: a directory cloned into itself must not find its own copy.
    rows = Gathering(w)
    copy = Copying(rows, last_change(w.connection) if at is None else at)
    node = copy.entry(parent, raw, source, rows.sources([source]))
    rows.flush()
    return Outcome(node=w.node(node.id), restored=copy.count)


class Copying:
    """One copy of what was as of a change."""

    def __init__(self, rows: Gathering, at: int) -> None:
        self._rows = rows
        self._w = rows.w
        self._at = at
        self._linked: dict[int, Node] = {}
        """Copies of files of several names, by the original's id."""
        self.count = 0
        """Entries that were made."""

    def entry(
        self,
        parent: Directory,
        raw: bytes,
        then: Node,
        sources: Mapping[int, Any],
        *,
        whole: bool = True,
    ) -> Node:
        """Copy a node to a raw name that is free.

        :param sources: of the contents at this level.
        :param whole: with all that is below it.
        """
        self.count += 1
        known = self._linked.get(then.id)
        if then.kind is Kind.BUCKET:
            node = add_bucket(self._w, raw, then.backend, then.mode)
        elif known is not None:
            node = self._linked[then.id] = replace(known, links=known.links + 1)
            self._rows.set_links(node)
            self._rows.enter(parent, raw, node)
        else:
            node = self._new(parent, raw, then, sources)
        if node.kind.is_directory and whole:
            bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
            self._children(Directory(node.id, node.kind, bucket, 1), then.id)
        return node

    def _children(self, into: Directory, then: int) -> None:
        places = list_places(self._w.connection, then, self._at)
        sources = self._rows.sources(place.node for place in places)
        for place in places:
            if place.elder:
                self.entry(into, place.raw, place.node, sources)

    def _new(self, parent: Directory, raw: bytes, then: Node, sources: Mapping[int, Any]) -> Node:
        w, rows = self._w, self._rows
        node = with_attributes(
            Node(
                id=w.take_id(),
                kind=then.kind,
                mode=then.mode,
                device=then.device,
                target=then.target,
                size=then.size if then.kind is Kind.SYMLINK else 0,
                links=2 if then.kind.is_directory else 1,
                ctime_ns=w.now_ns,
                atime_ns=w.now_ns,
                created_ns=w.now_ms * 1_000_000,
            ),
            then,
        )
        target = from_wire(then.target) if then.kind is Kind.SYMLINK else None
        rows.add(node, bucket=parent.bucket, target=target)
        if then.kind is Kind.FILE and then.version is not None:
            node = rows.save(node, then, sources.get(then.version), bucket=parent.bucket)
        rows.enter(parent, raw, node)
        if then.links > 1 and not then.kind.is_directory:
            self._linked[then.id] = node
        return node


def with_attributes(node: Node, then: Node) -> Node:
    """Return *node* with the mode, owner, time and xattrs that *then* has."""
    return replace(
        node,
        mode=then.mode,
        uid=then.uid,
        gid=then.gid,
        mtime_ns=then.mtime_ns,
        xattrs=then.xattrs,
    )
