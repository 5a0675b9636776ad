"""Copies of what stands, or stood, somewhere: new nodes with the old contents.

Blobs are shared, so a copy of any size costs rows only. A copy has a history of its own.
"""

from msgspec.structs import replace

from rengafs.catalog import saving
from rengafs.catalog.making import add_bucket, free_name
from rengafs.catalog.nodes import find_node
from rengafs.catalog.places import Directory, check_at, last_change, list_places
from rengafs.catalog.saving import EMPTY_SHA256, NewVersion, save, version_row
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
    copy = Copying(w, last_change(w.connection) if at is None else at)
    node = copy.entry(parent, raw, source, whole=True)
    return Outcome(node=w.node(node.id), restored=copy.count)


class Copying:
    """One copy of what was as of a change."""

    def __init__(self, w: Writer, at: int) -> None:
        self._w = w
        self._at = at
        self._linked: dict[int, Node] = {}
        """Copies of files of several names, by the original's id."""
        self.count = 0
        """Entries that were made."""

    def entry(self, parent: Directory, raw: bytes, then: Node, *, whole: bool) -> Node:
        """Copy a node to a raw name that is free; *whole*: with all that is below it."""
        w = self._w
        self.count += 1
        if then.kind is Kind.BUCKET:
            node = add_bucket(w, raw, then.backend, then.mode)
        elif (known := self._linked.get(then.id)) is not None:
            node = self._linked[then.id] = replace(known, links=known.links + 1)
            w.set_links(node.id, node.links)
            w.enter(parent.id, raw, node, bucket=parent.bucket, free=True)
        else:
            node = self._new(parent, raw, then)
        if node.kind.is_directory and whole:
            bucket = node.id if node.kind is Kind.BUCKET else parent.bucket
            into = Directory(node.id, node.kind, bucket, 1)
            for place in list_places(w.connection, then.id, self._at):
                if place.elder:
                    self.entry(into, place.raw, place.node, whole=True)
        return node

    def _new(self, parent: Directory, raw: bytes, then: Node) -> Node:
        w = self._w
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
        w.add_node(node, bucket=parent.bucket, target=target)
        w.enter(parent.id, raw, node, bucket=parent.bucket, free=True)
        if then.kind is Kind.FILE and then.version is not None:
            node = fill(w, node, then)
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


def fill(w: Writer, node: Node, then: Node) -> Node:
    """Save the content of *then* as the newest version of *node*."""
    row = version_row(w.connection, then.version)
    new = NewVersion(
        size=then.size,
        sha256=then.sha256 or EMPTY_SHA256,
        blob=row.blob if row else None,
        mtime_ns=then.mtime_ns,
        base=node.version,
        origin=row.origin if row else "",
    )
    return save(w, node, new)
