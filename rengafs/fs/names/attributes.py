"""What ``stat`` says of a node or of a part of history. No pyfuse3 in here."""

import stat as st
from dataclasses import dataclass, replace

from rengafs.fs.names.guidetext import TEXT
from rengafs.fs.names.inodes import Guide, Marker, Past, Saved, What
from rengafs.protocol.records import Kind, Node, Version

BLOCK = 512
"""What ``st_blocks`` counts in."""

_TYPE = {
    Kind.BUCKET: st.S_IFDIR,
    Kind.DIRECTORY: st.S_IFDIR,
    Kind.FILE: st.S_IFREG,
    Kind.SYMLINK: st.S_IFLNK,
    Kind.FIFO: st.S_IFIFO,
    Kind.SOCKET: st.S_IFSOCK,
    Kind.CHARACTER: st.S_IFCHR,
    Kind.BLOCK: st.S_IFBLK,
}
_WRITE = 0o222


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns what nobody has chowned, and which permission bits are never shown."""

    uid: int
    gid: int
    umask: int = 0


@dataclass(frozen=True, slots=True)
class Stat:
    """``struct stat``; *mode* with the type bits, times in nanoseconds."""

    number: int
    mode: int
    links: int
    uid: int
    gid: int
    size: int
    device: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int

    def with_draft(self, size: int, mtime_ns: int) -> "Stat":
        """Return the same for a file with bytes that are not yet a version."""
        return replace(
            self,
            size=size,
            mtime_ns=mtime_ns,
            ctime_ns=max(self.ctime_ns, mtime_ns),
        )


def describe(number: int, what: What, owner: Ownership) -> Stat:
    """Return what ``stat`` says of inode *number*."""
    if isinstance(what, Node):
        return _live(number, what, owner)
    match what:
        case Saved(version):
            return _saved(number, version, owner)
        case Past(node=node):
            return replace(_live(number, node, owner), links=max(node.links, 1))
        case Guide():
            mode = st.S_IFREG | (0o444 & ~owner.umask)
            return replace(_history(number, owner), mode=mode, size=len(TEXT))
        case Marker(within=within):
            mode = st.S_IFREG | ((0o444 | within.mode & _WRITE) & ~owner.umask)
            return replace(_live(number, within, owner), mode=mode, links=1, size=0)
        case _:
            return _history(number, owner)


def kind_of(mode: int) -> Kind:
    """Return the kind of node that mknod's *mode* asks for."""
    return next(kind for kind, bits in _TYPE.items() if bits == st.S_IFMT(mode))


def _live(number: int, node: Node, owner: Ownership) -> Stat:
    return Stat(
        number=number,
        mode=_TYPE[node.kind] | (node.mode & ~owner.umask),
        links=node.links,
        uid=owner.uid if node.uid is None else node.uid,
        gid=owner.gid if node.gid is None else node.gid,
        size=node.size,
        device=node.device,
        atime_ns=node.atime_ns,
        mtime_ns=node.mtime_ns,
        ctime_ns=node.ctime_ns,
    )


def _saved(number: int, version: Version, owner: Ownership) -> Stat:
    created_ns = version.created_ms * 1_000_000
    return Stat(
        number=number,
        mode=st.S_IFREG | (version.mode & 0o777 & ~_WRITE & ~owner.umask),
        links=1,
        uid=owner.uid,
        gid=owner.gid,
        size=version.size,
        device=0,
        atime_ns=version.mtime_ns or created_ns,
        mtime_ns=version.mtime_ns or created_ns,
        ctime_ns=created_ns,
    )


def _history(number: int, owner: Ownership) -> Stat:
    return Stat(number, st.S_IFDIR | (0o555 & ~owner.umask), 1, owner.uid, owner.gid, 0, 0, 0, 0, 0)
