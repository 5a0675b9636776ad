"""Operations that save: a commit makes a version, and a clone makes a file from one.

The bytes lie in a backend already when these run; here they become history.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from rengafs.catalog.making import add, free_name
from rengafs.catalog.nodes import get_node
from rengafs.catalog.schema import blobs, nodes, states, versions
from rengafs.catalog.stock import LOST
from rengafs.catalog.tallying import get_tally
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


def commit(w: Writer, operation: Commit, stored: Blob | None) -> Outcome:
    """Make *stored* (None: no bytes) the newest version of the file, if it is news."""
    node = get_file(w, operation.node)
    if operation.atime_ns is not None:
        node = replace(node, atime_ns=operation.atime_ns)
        w.alter_in_place(node.id, atime_ns=operation.atime_ns)
    current = version_row(w.connection, node.version)
    if operation.only_if_base and operation.base != node.version:
        raise BaseChanged(
            f"the file {node.id} is at version {node.version}, not {operation.base}",
            node=node.id,
            version=node.version,
        )
    size, sha256 = (stored.size, stored.sha256) if stored else (0, EMPTY_SHA256)
    if current is not None and (current.size, current.sha256) == (size, sha256):
        return _same_again(w, node, operation.mtime_ns)
    again = bool(current and operation.handle and current.handle == operation.handle)
    if current is not None and again:
        shown = {} if current.hidden else {current.id: current.size}
        w.hide(SUPERSEDED, shown, w.bucket_of(node.id))
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
    saved = save(w, node, new)
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


def save(w: Writer, node: Node, new: NewVersion) -> Node:
    """Make a new version current; return the node with it."""
    number = w.take_id()
    w.connection.execute(
        _ADD_VERSION,
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
    bucket = w.bucket_of(node.id)
    w.count(bucket, all_bytes=new.size, live_bytes=new.size - node.size if node.links else 0)
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
    row = w.connection.execute(_KNOWN_BLOB, content).first()
    if row is not None and not row.key.startswith(LOST):
        w.adopt(stored.backend, row.key)
        return int(row.id)
    if row is not None:
        # The blob was lost (see `stock`), and here are its bytes again.
        found = {"key": stored.key, "pieces": stored.pieces or None}
        w.connection.execute(update(blobs).where(blobs.c.id == row.id).values(found))
        w.adopt(stored.backend, stored.key)
        return int(row.id)
    number = w.take_id()
    w.connection.execute(
        _ADD_BLOB,
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
    w.adopt(stored.backend, stored.key)
    return number


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


def get_file(w: Writer, number: int) -> Node:
    """Return a file, deleted or not. Raises `NotFound`, `IsADirectory`, `BadRequest`."""
    return _file(w.connection, number)


def _file(connection: Connection, number: int) -> Node:
    node = get_node(connection, number)
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


def refuse_too_much(connection: Connection, operation: Commit) -> None:
    """Raise `QuotaExceeded` before its bytes come, for a commit that can't fit.

    The commit may yet supersede the current version, so that one's bytes are not counted.
    """
    place = _file_place(connection, operation.node)
    get_tally(connection, place.bucket).refuse(operation.length - place.size)


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
    """Return size, bucket and backend of a file. Raises as `get_file` does."""
    row = connection.execute(_FILE_PLACE, {"number": number}).first()
    if row is None:
        _file(connection, number)  # says what it is instead
        raise NotFound(f"there is no file {number}", node=number)
    return row


def find_base(connection: Connection, number: int, base: int | None) -> Base:
    """Return what a commit to the file is composed from. Raises `NotFound`, `BadRequest`."""
    backend = _file_place(connection, number).backend
    if base is None:
        return Base(backend, None)
    content = get_content(connection, base)
    return Base(backend, with_pieces(connection, content))


# Built once: making a statement costs SQLAlchemy as much as carrying it out.
_ADD_VERSION, _ADD_BLOB = insert(versions), insert(blobs)
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
_KNOWN_BLOB = select(blobs.c.id, blobs.c.key).where(*_SAME_CONTENT)
_PIECES = select(blobs.c.pieces).where(*_SAME_CONTENT)
_bucket = nodes.alias("bucket")
_FILE_PLACE = (
    select(states.c.size, nodes.c.bucket, _bucket.c.backend)
    .select_from(
        nodes.join(states, states.c.node == nodes.c.id).join(
            _bucket, _bucket.c.id == nodes.c.bucket
        )
    )
    .where(
        nodes.c.id == bindparam("number"),
        nodes.c.kind == Kind.FILE.value,
        states.c.until.is_(None),
    )
)
