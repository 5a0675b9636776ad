"""Operations that save: a commit makes a version, and a clone makes a file from one.

The bytes lie in a backend already when these run; here they become history.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from rengafs.catalog.making import add, free_name
from rengafs.catalog.nodes import BUCKET, columns, get_node, joined, no_node, node_from
from rengafs.catalog.parking import is_parked, park
from rengafs.catalog.prepared import Prepared
from rengafs.catalog.schema import blobs, nodes, states, tallies, versions
from rengafs.catalog.stock import LOST
from rengafs.catalog.tallying import COLUMNS as TALLY
from rengafs.catalog.tallying import Tally
from rengafs.catalog.values import Base, Blob, Content
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import (
    BadRequest,
    BaseChanged,
    IsADirectory,
    NotFound,
    NotPermitted,
    Pruned,
)
from rengafs.protocol.operations import Clone, Commit, Outcome
from rengafs.protocol.records import ROOT, Kind, Node, Version

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

SUPERSEDED = "superseded"
DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What is to become a version. *blob* is None for no bytes."""

    size: int
    sha256: str
    blob: int | None
    mtime_ns: int
    base: int | None = None
    conflict: bool = False
    handle: str = ""
    origin: str = ""
    created_ms: int | None = None
    """When it was saved, if that was not now."""


@dataclass(frozen=True, slots=True)
class Present:
    """A file as it is now, and what its bucket holds."""

    node: Node
    bucket: int
    tally: Tally
    version: Any
    """Of its current version: handle, hidden, base, conflict; None: it has none."""


def commit(w: Writer, operation: Commit, stored: Blob | None) -> Outcome:
    """Make *stored* (None: no bytes) the newest version of the file, if it is news."""
    present = _present(w.connection, operation.node)
    node, current = present.node, present.version
    if operation.atime_ns is not None:
        node = replace(node, atime_ns=operation.atime_ns)
        w.alter_in_place(node.id, atime_ns=operation.atime_ns)
    if operation.only_if_base and operation.base != node.version:
        raise BaseChanged(
            f"the file {node.id} is at version {node.version}, not {operation.base}",
            node=node.id,
            version=node.version,
        )
    size, sha256 = (stored.size, stored.sha256) if stored else (0, EMPTY_SHA256)
    if current is not None and (node.size, node.sha256) == (size, sha256):
        return _same_again(w, node, operation.mtime_ns)
    again = bool(current and operation.handle and current.handle == operation.handle)
    if current is not None and again:
        shown = {} if current.hidden or node.version is None else {node.version: node.size}
        w.hide(SUPERSEDED, shown, present.bucket)
        base, conflict = current.base, current.conflict
    else:
        base = operation.base
        conflict = None not in (base, node.version) and base != node.version
    new = NewVersion(
        size=size,
        sha256=sha256,
        blob=intern(w, stored),
        mtime_ns=w.now_ns if operation.mtime_ns is None else operation.mtime_ns,
        base=base,
        conflict=conflict,
        handle=operation.handle,
        origin=operation.origin or (node.origin if operation.base is not None else ""),
    )
    saved = save(w, node, new, present)
    return Outcome(node=saved, version=_told(w, saved, new, stored.backend if stored else ""))


def _told(w: Writer, node: Node, new: NewVersion, backend: str) -> Version:
    """Return the version that was just made, as `version_from` would from its row."""
    return Version(
        id=node.version or 0,
        file=node.id,
        size=new.size,
        sha256=new.sha256,
        created_ms=w.now_ms if new.created_ms is None else new.created_ms,
        change=w.number,
        author=w.actor.name,
        base=new.base,
        conflict=new.conflict,
        mtime_ns=new.mtime_ns,
        mode=node.mode,
        backend=backend,
    )


def save(w: Writer, node: Node, new: NewVersion, present: Present | None = None) -> Node:
    """Make a new version current; return the node with it.

    :param present: the node's file as it was found in this transaction, if it was asked for.
    """
    number = w.take_id()
    _ADD_VERSION.run(
        w.connection,
        {
            "id": number,
            "file": node.id,
            "change": w.number,
            "size": new.size,
            "sha256": new.sha256,
            "blob": new.blob,
            "author": w.actor.name,
            "base": new.base,
            "conflict": new.conflict,
            "created_ms": w.now_ms if new.created_ms is None else new.created_ms,
            "mtime_ns": new.mtime_ns,
            "mode": node.mode,
            "handle": new.handle,
            "hidden": "",
            "origin": new.origin,
            "execution": w.actor.execution,
            "project": w.actor.project,
        },
    )
    saved = replace(
        node,
        version=number,
        size=new.size,
        sha256=new.sha256,
        mtime_ns=new.mtime_ns,
        ctime_ns=w.now_ns,
        origin=new.origin,
    )
    w.alter(saved)
    bucket = w.bucket_of(node.id) if present is None else present.bucket
    w.count(
        bucket,
        all_bytes=new.size,
        live_bytes=new.size - node.size if node.links else 0,
        known=None if present is None else present.tally,
    )
    w.event("saved", node.id, bucket=bucket, version=number, kind=node.kind)
    return saved


def clone(w: Writer, operation: Clone) -> Outcome:
    """Make a file with the content of a file or version; not a byte moves."""
    if operation.parent == ROOT:
        raise NotPermitted("a file can't stand among the buckets; clone it into one")
    content, mode = cloned_content(w.connection, operation.source)
    parent = w.directory(operation.parent)
    raw = free_name(w, parent, operation.name)
    node = add(w, parent, raw, Kind.FILE, mode, free=True)
    return Outcome(node=fill_clone(w, node, content))


def fill_clone(w: Writer, node: Node, source: int | None) -> Node:
    """Give a new file the content of the version *source*; None: it stays unsaved."""
    row = version_row(w.connection, source)
    if row is None:
        return node
    return save(
        w,
        node,
        NewVersion(
            size=row.size,
            sha256=row.sha256,
            blob=row.blob,
            mtime_ns=w.now_ns,
            origin=row.origin,
        ),
    )


def cloned_content(connection: Connection, source: int) -> tuple[int | None, int]:
    """Return version and mode of what is to be cloned: a version, or a file's current one."""
    row = version_row(connection, source)
    if row is not None:
        refuse_pruned(row)
        return row.id, row.mode
    node = _file(connection, source)
    return node.version, node.mode


def intern(w: Writer, stored: Blob | None) -> int | None:
    """Return the id of the row for *stored*, or for the same content stored earlier."""
    if stored is None:
        return None
    content = {"backend": stored.backend, "sha256": stored.sha256, "size": stored.size}
    row = _KNOWN_BLOB.first(w.connection, content)
    if row is not None and not row.key.startswith(LOST):
        w.adopt(stored.backend, row.key)
        return int(row.id)
    if row is not None:
        # The blob was lost (see `stock`), and here are its bytes again.
        found = {"key": stored.key, "pieces": stored.pieces or None}
        w.connection.execute(update(blobs).where(blobs.c.id == row.id).values(found))
        _use(w, int(row.id), stored)
        return int(row.id)
    number = w.take_id()
    _ADD_BLOB.run(
        w.connection,
        {
            "id": number,
            "backend": stored.backend,
            "key": stored.key,
            "size": stored.size,
            "sha256": stored.sha256,
            "created_ms": w.now_ms,
            "pieces": stored.pieces or None,
        },
    )
    _use(w, number, stored)
    return number


def _use(w: Writer, number: int, stored: Blob) -> None:
    w.adopt(stored.backend, stored.key)
    if is_parked(stored.key):
        park(w, number, stored)


# --- reading versions ---------------------------------------------------------------------


def version_row(connection: Connection, number: int | None) -> Row[tuple[object, ...]] | None:
    """Return the row of a version, hidden or not."""
    if number is None:
        return None
    return connection.execute(_VERSION, {"number": number}).first()


def select_versions() -> Select[tuple[object, ...]]:
    """Return the query of what `version_from` needs."""
    stored = versions.outerjoin(blobs, blobs.c.id == versions.c.blob)
    return select(versions, blobs.c.backend).select_from(stored)


def version_from(row: Row[tuple[object, ...]], name: str = "") -> Version:
    """Return the record of a row of `select_versions`."""
    return Version(
        id=row.id,
        file=row.file,
        size=row.size,
        sha256=row.sha256,
        created_ms=row.created_ms,
        change=row.change,
        author=row.author,
        base=row.base,
        conflict=row.conflict,
        mtime_ns=row.mtime_ns,
        mode=row.mode,
        name=name,
        backend=row.backend or "",
    )


def get_version(connection: Connection, number: int) -> Version:
    """Return a version, hidden or not: a mount may have it open.

    Raises `NotFound`; `Pruned` for one whose bytes went.
    """
    row = version_row(connection, number)
    if row is None:
        raise NotFound(f"there is no version {number}", version=number)
    refuse_pruned(row)
    return version_from(row)


def get_content(connection: Connection, number: int) -> Content:
    """Return where the bytes of a version lie. Raises `NotFound`, `Pruned`."""
    row = connection.execute(_CONTENT, {"number": number}).first()
    if row is None:
        raise NotFound(f"there is no version {number}", version=number)
    refuse_pruned(row)
    blob = Blob(row.backend, row.key, row.size, row.sha256) if row.backend else None
    return Content(row.id, row.file, row.size, row.sha256, blob)


def with_pieces(connection: Connection, content: Content) -> Content:
    """Return *content* with the hashes of its blob's pieces, if they are known."""
    blob = content.blob
    if blob is None:
        return content
    key = {"backend": blob.backend, "sha256": blob.sha256, "size": blob.size}
    pieces = connection.execute(_PIECES, key).scalar() or b""
    return Content(
        content.version,
        content.file,
        content.size,
        content.sha256,
        Blob(blob.backend, blob.key, blob.size, blob.sha256, pieces),
    )


def refuse_pruned(row: Any) -> None:
    """Raise `Pruned` for the row of a version that is there without its bytes."""
    if row.blob is None and row.size:
        raise Pruned(
            f"the version {row.id} has been pruned: the retention of its bucket does not keep it",
            version=row.id,
        )


def _present(connection: Connection, number: int) -> Present:
    """Return a file, and what a save asks of it besides. Raises as `_file` does."""
    row = _PRESENT.first(connection, {"number": number})
    if row is None:
        raise no_node(number)
    node = _refuse_no_file(node_from(row))
    tally = Tally() if row.live_bytes is None else Tally(*row[-4:])
    return Present(node, row[BUCKET], tally, None if node.version is None else row)


def _file(connection: Connection, number: int) -> Node:
    """Return a file, deleted or not. Raises `NotFound`, `IsADirectory`, `BadRequest`."""
    return _refuse_no_file(get_node(connection, number))


def _refuse_no_file(node: Node) -> Node:
    number = node.id
    if node.kind.is_directory:
        raise IsADirectory(f"{number} is a {node.kind}; a file is needed", node=number)
    if node.kind is not Kind.FILE:
        raise BadRequest(f"{number} is a {node.kind}; a file is needed", node=number)
    return node


def _same_again(w: Writer, node: Node, mtime_ns: int | None) -> Outcome:
    if mtime_ns is not None and mtime_ns != node.mtime_ns:
        node = replace(node, mtime_ns=mtime_ns, ctime_ns=w.now_ns)
        w.alter(node)
        w.event("attributes", node.id, bucket=w.bucket_of(node.id), kind=node.kind)
    return Outcome(node=node, version=get_version(w.connection, node.version or 0))


def find_first_base(connection: Connection, parent: int) -> Base:
    """Return what a first commit in a directory is composed from. Raises `NotFound`."""
    bucket = nodes.alias("bucket")
    backend = connection.execute(
        select(bucket.c.backend)
        .select_from(nodes.join(bucket, bucket.c.id == nodes.c.bucket))
        .where(nodes.c.id == parent)
    ).scalar()
    if backend is None:
        raise NotFound(f"there is no directory {parent}", node=parent)
    return Base(backend, None)


def _file_place(connection: Connection, number: int) -> Any:
    """Return size and backend of a file, and its bucket's tally. Raises as `_file` does."""
    row = _FILE_PLACE.first(connection, {"number": number})
    if row is None:
        _file(connection, number)  # says what it is instead
        raise NotFound(f"there is no file {number}", node=number)
    return row


def find_base(connection: Connection, operation: Commit) -> Base:
    """Return what a commit is composed from.

    Raises `NotFound`, `BadRequest`; and `QuotaExceeded` before its bytes come, for one that
    can't fit. It may yet supersede the current version, so that one's bytes are not counted.
    """
    place = _file_place(connection, operation.node)
    if place.quota_bytes is not None:
        Tally(*place[-4:]).refuse(operation.length - place.size)
    if operation.base is None or operation.whole:
        return Base(place.backend, None)
    content = get_content(connection, operation.base)
    return Base(place.backend, with_pieces(connection, content))


# Built once: making a statement costs SQLAlchemy as much as carrying it out.
_ADD_VERSION, _ADD_BLOB = Prepared(insert(versions)), Prepared(insert(blobs))
_VERSION = select_versions().where(versions.c.id == bindparam("number"))
_CONTENT = (
    select(
        versions.c.id,
        versions.c.file,
        versions.c.size,
        versions.c.sha256,
        versions.c.blob,
        blobs.c.backend,
        blobs.c.key,
    )
    .select_from(versions.outerjoin(blobs, blobs.c.id == versions.c.blob))
    .where(versions.c.id == bindparam("number"))
)
_SAME_CONTENT = (
    blobs.c.backend == bindparam("backend"),
    blobs.c.sha256 == bindparam("sha256"),
    blobs.c.size == bindparam("size"),
)
_KNOWN_BLOB = Prepared(select(blobs.c.id, blobs.c.key).where(*_SAME_CONTENT))
_PIECES = select(blobs.c.pieces).where(*_SAME_CONTENT)
_bucket = nodes.alias("bucket")
_FILE_PLACE = Prepared(
    select(states.c.size, _bucket.c.backend, *TALLY)
    .select_from(
        nodes.join(states, states.c.node == nodes.c.id)
        .join(_bucket, _bucket.c.id == nodes.c.bucket)
        .outerjoin(tallies, tallies.c.bucket == nodes.c.bucket)
    )
    .where(
        nodes.c.id == bindparam("number"),
        nodes.c.kind == Kind.FILE.value,
        states.c.until.is_(None),
    )
)
_PRESENT = Prepared(
    select(
        *columns(None),
        versions.c.handle,
        versions.c.hidden,
        versions.c.base,
        versions.c.conflict,
        *TALLY,
    )
    .select_from(joined(None).outerjoin(tallies, tallies.c.bucket == nodes.c.bucket))
    .where(nodes.c.id == bindparam("number"))
)
