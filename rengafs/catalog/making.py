"""Operations that make something: buckets, directories, files, links, special nodes.

The mount's operations refuse a name that is taken; the original API's allow doubles and
are in `original`.
"""

from typing import Any

from msgspec.structs import replace
from sqlalchemy import select, union_all

from rengafs.catalog.places import Directory, find
from rengafs.catalog.schema import edges, nodes, versions
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import (
    AlreadyExists,
    BadRequest,
    CrossesBuckets,
    InvalidName,
    IsADirectory,
    NameTooLong,
    NotFound,
    NotPermitted,
    UnknownBackend,
)
from rengafs.protocol.names import carries, check_component, from_wire
from rengafs.protocol.operations import (
    Link,
    MakeBucket,
    MakeDirectory,
    MakeFile,
    MakeSpecial,
    MakeSymlink,
    Outcome,
)
from rengafs.protocol.records import ROOT, Kind, Node

MAX_TARGET = 4095
"""Bytes of a symlink's target: ``PATH_MAX`` without its NUL."""
SPECIAL = (Kind.FIFO, Kind.SOCKET, Kind.CHARACTER, Kind.BLOCK)


def make_bucket(w: Writer, operation: MakeBucket) -> Outcome:
    """Make a bucket of a name that is free."""
    raw = free_name(w, w.directory(ROOT), operation.name)
    return Outcome(node=add_bucket(w, raw, operation.backend, operation.mode))


def add_bucket(w: Writer, raw: bytes, backend: str, mode: int = 0o755) -> Node:
    """Make a bucket, whether or not another bears the name. Raises `UnknownBackend`."""
    backend = backend or w.rules.backends[0]
    if backend not in w.rules.backends:
        known = ", ".join(w.rules.backends)
        raise UnknownBackend(
            f"there is no backend {backend!r}; choose of: {known}", backends=[*w.rules.backends]
        )
    node = _new(w, Kind.BUCKET, mode, backend=backend)
    w.add_node(node, bucket=node.id)
    w.enter(ROOT, raw, node, bucket=node.id)
    return node


def make_directory(w: Writer, operation: MakeDirectory) -> Outcome:
    """Make an empty directory of a name that is free."""
    parent = _inside_a_bucket(w, operation.parent, "a directory")
    raw = free_name(w, parent, operation.name)
    node = add(
        w, parent, raw, Kind.DIRECTORY, operation.mode, operation.uid, operation.gid, free=True
    )
    return Outcome(node=node)


def make_file(w: Writer, operation: MakeFile) -> Outcome:
    """Make an empty file; or return the one that is there, unless that is excluded."""
    parent = _inside_a_bucket(w, operation.parent, "a file")
    if not operation.exclusive:
        place = find(w.connection, parent.id, from_wire(operation.name))
        if place is not None and place.node.kind is Kind.FILE:
            return Outcome(node=place.node)
        if place is not None and place.node.kind.is_directory:
            raise IsADirectory(f"{operation.name!r} is a directory")
    raw = free_name(w, parent, operation.name)
    if operation.id is not None:
        _refuse_taken(w, operation.id)
    node = _new(w, Kind.FILE, operation.mode, operation.id, uid=operation.uid, gid=operation.gid)
    w.add_node(node, bucket=parent.bucket)
    w.enter(parent.id, raw, node, bucket=parent.bucket, free=True)
    return Outcome(node=node)


def make_symlink(w: Writer, operation: MakeSymlink) -> Outcome:
    """Make a symbolic link of a name that is free."""
    parent = _inside_a_bucket(w, operation.parent, "a symbolic link")
    target = from_wire(operation.target)
    if not target or b"\0" in target:
        raise BadRequest("the target of a symbolic link is neither empty nor does it hold NUL")
    if len(target) > MAX_TARGET:
        raise NameTooLong(f"a target has {len(target)} bytes; {MAX_TARGET} are the most")
    raw = free_name(w, parent, operation.name)
    node = _new(
        w,
        Kind.SYMLINK,
        0o777,
        size=len(target),
        uid=operation.uid,
        gid=operation.gid,
        target=operation.target,
    )
    w.add_node(node, bucket=parent.bucket, target=target)
    w.enter(parent.id, raw, node, bucket=parent.bucket, free=True)
    return Outcome(node=node)


def make_special(w: Writer, operation: MakeSpecial) -> Outcome:
    """Make a FIFO, socket or device node of a name that is free."""
    if operation.kind not in SPECIAL:
        raise BadRequest(f"a {operation.kind} is not made so; see make_file, make_directory, …")
    parent = _inside_a_bucket(w, operation.parent, f"a {operation.kind}")
    raw = free_name(w, parent, operation.name)
    owner = {"uid": operation.uid, "gid": operation.gid}
    node = _new(w, operation.kind, operation.mode, device=operation.device, **owner)
    w.add_node(node, bucket=parent.bucket)
    w.enter(parent.id, raw, node, bucket=parent.bucket, free=True)
    return Outcome(node=node)


def link(w: Writer, operation: Link) -> Outcome:
    """Give a node another name in its bucket."""
    node = w.node(operation.node)
    if node.kind.is_directory:
        raise NotPermitted("a directory has one name only; make a symbolic link instead")
    if not node.links:
        raise NotFound(f"{node.id} has been deleted", node=node.id)
    parent = w.directory(operation.parent)
    if parent.bucket != w.bucket_of(node.id):
        raise CrossesBuckets("a hard link stays within one bucket; copy the file instead")
    raw = free_name(w, parent, operation.name)
    w.set_links(node.id, node.links + 1)
    w.alter(replace(node, ctime_ns=w.now_ns))
    w.enter(parent.id, raw, node, bucket=parent.bucket, free=True)
    return Outcome(node=w.node(node.id))


def add(
    w: Writer,
    parent: Directory,
    raw: bytes,
    kind: Kind,
    mode: int,
    uid: int | None = None,
    gid: int | None = None,
    *,
    free: bool = False,
) -> Node:
    """Make a file or directory, whether or not another bears the name.

    :param free: the caller knows that none does.
    """
    node = _new(w, kind, mode, uid=uid, gid=gid)
    w.add_node(node, bucket=parent.bucket)
    w.enter(parent.id, raw, node, bucket=parent.bucket, free=free)
    return node


def free_name(w: Writer, parent: Directory, name: str) -> bytes:
    """Return the raw bytes of a new entry's name.

    Raises `InvalidName`, `NameTooLong`, `NotPermitted`, `AlreadyExists`.
    """
    raw = check_component(from_wire(name))
    if parent.id == ROOT and raw.startswith(b"."):
        raise NotPermitted(f"{name!r}: the name of a bucket does not begin with a dot")
    if not carries(raw, top=parent.id == ROOT):
        # It would be listed under another name than it was made with.
        raise InvalidName(f"{name!r} stands for a name that no path carries")
    if find(w.connection, parent.id, raw) is not None:
        raise AlreadyExists(f"{name!r} is taken", parent=parent.id)
    return raw


def _inside_a_bucket(w: Writer, number: int, what: str) -> Directory:
    if number == ROOT:
        raise NotPermitted(f"{what} can't stand among the buckets; make it inside of one")
    return w.directory(number)


def _refuse_taken(w: Writer, number: int) -> None:
    """Raise `BadRequest` for an id that was not reserved, or that something bears."""
    taken = union_all(
        *(select(table.c.id).where(table.c.id == number) for table in (nodes, versions, edges))
    )
    if not w.is_reserved(number) or w.connection.execute(taken).first() is not None:
        raise BadRequest(f"{number} is not an id that was reserved and is free", node=number)


def _new(w: Writer, kind: Kind, mode: int, number: int | None = None, **more: Any) -> Node:
    """Return a node that comes to be now, with a new id."""
    return Node(
        id=w.take_id() if number is None else number,
        kind=kind,
        mode=mode & 0o7777,
        mtime_ns=w.now_ns,
        ctime_ns=w.now_ns,
        atime_ns=w.now_ns,
        created_ns=w.now_ms * 1_000_000,
        links=2 if kind.is_directory else 1,
        **more,
    )
