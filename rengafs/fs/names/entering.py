"""A new entry: what it may be called, whom it belongs to, and which operation makes it.

Decides; asks and changes nothing.
"""

import stat as st

from rengafs.fs.names.attributes import Ownership, kind_of
from rengafs.fs.names.inodes import Inode
from rengafs.fs.names.requests import Caller
from rengafs.protocol import names
from rengafs.protocol.errors import AlreadyExists, NameTooLong, NotPermitted
from rengafs.protocol.operations import (
    MakeBucket,
    MakeDirectory,
    MakeFile,
    MakeSpecial,
    MakeSymlink,
    Operation,
)
from rengafs.protocol.records import ROOT, Kind, Node

VERSIONS = names.VERSIONS.encode()
MAX_SYMLINK = 4095

Owners = tuple[int | None, int | None]
"""uid and gid to store; None for those of the mount's owner."""


def check_new_name(directory: Inode, name: bytes, *, files: bool) -> None:
    """Raise unless an entry called *name* may come into *directory*.

    :param files: the entry is no directory. At the top, only buckets are.

    Raises `AlreadyExists`, `NotPermitted`, `InvalidName`, `NameTooLong`.
    """
    if name == VERSIONS:
        raise AlreadyExists(f"{names.VERSIONS!r} is the history of the directory")
    if directory.number == ROOT:
        if files:
            raise NotPermitted("only buckets stand at the top: make a directory first")
        if name.startswith(b"."):
            raise NotPermitted("the name of a bucket doesn't begin with a dot")
    names.check_component(name)


def cannot_exist(directory: Inode, name: bytes) -> bool:
    """Whether nothing can be called so: at the top, a dot. File managers ask all day."""
    return directory.number == ROOT and name.startswith(b".")


def owners(parent: Node, caller: Caller, owner: Ownership) -> Owners:
    """Return whom a new entry of *caller* belongs to, on the mount of *owner*."""
    gid = caller.gid
    if parent.mode & st.S_ISGID:
        gid = owner.gid if parent.gid is None else parent.gid
    return (
        None if caller.uid == owner.uid else caller.uid,
        None if gid == owner.gid else gid,
    )


def directory(parent: Node, name: bytes, mode: int, belongs: Owners, backend: str) -> Operation:
    """Return what makes a directory; at the top, a bucket. Set-gid is handed down."""
    bits = (mode & 0o7777) | (parent.mode & st.S_ISGID)
    wire = names.to_wire(name)
    if parent.id == ROOT:
        return MakeBucket(name=wire, backend=backend, mode=bits)
    uid, gid = belongs
    return MakeDirectory(parent=parent.id, name=wire, mode=bits, uid=uid, gid=gid)


def symlink(parent: Node, name: bytes, target: bytes, belongs: Owners) -> Operation:
    """Return what makes a symbolic link. Raises `NameTooLong`."""
    if len(target) > MAX_SYMLINK:
        raise NameTooLong(f"a link's target has {len(target)} bytes; {MAX_SYMLINK} are the most")
    uid, gid = belongs
    wire = names.to_wire(name)
    return MakeSymlink(parent=parent.id, name=wire, target=names.to_wire(target), uid=uid, gid=gid)


def node(parent: Node, name: bytes, mode: int, device: int, belongs: Owners) -> Operation:
    """Return what makes an empty file, FIFO, socket or device node, as mknod's *mode* says."""
    kind = kind_of(mode)
    if kind is Kind.FILE:
        return file(parent, name, mode, belongs, exclusive=True)
    uid, gid = belongs
    return MakeSpecial(
        parent=parent.id,
        name=names.to_wire(name),
        kind=kind,
        mode=mode & 0o7777,
        device=device,
        uid=uid,
        gid=gid,
    )


def file(parent: Node, name: bytes, mode: int, belongs: Owners, *, exclusive: bool) -> Operation:
    """Return what makes an empty file; or finds the one that is there, unless *exclusive*."""
    uid, gid = belongs
    return MakeFile(
        parent=parent.id,
        name=names.to_wire(name),
        mode=mode & 0o7777,
        uid=uid,
        gid=gid,
        exclusive=exclusive,
    )
