"""Extended attributes: those that are stored, and those that tell of the version.

The latter are found by name and not listed.
"""

from collections.abc import Callable

from rengafs.fs.names.inodes import Past, Saved, What
from rengafs.fs.remote import Remote
from rengafs.protocol import moments
from rengafs.protocol.errors import NoSuchAttribute, NotPermitted, NotSupported
from rengafs.protocol.records import Kind, Node, Version

PREFIX = "user.renga."
STATE = b"user.renga.state"
"""Of a file: whether the service has what was written. Found by name, not listed."""
REPORT = b"user.renga.report"
"""Of the root: all that is yet to be sent, as JSON; for ``rengafs status``."""
SERVICE = b"user.renga.service"
"""Of the root: which service the mount is of, and whether it is away, as JSON."""
INODES = b"user.renga.inodes"
"""Of the root: how many files and directories the mount remembers."""
PINS = b"user.renga.pins"
"""Set on the root to have the mount look whether pins have come or gone."""
ORIGIN = "user.xdg.origin.url"

BLOB = f"{PREFIX}blob"
"""Of a file or a save: the key of its bytes in the backend, for the store's own tools."""

_OF_VERSION: dict[str, Callable[[Version], str]] = {
    f"{PREFIX}version": lambda version: str(version.id),
    f"{PREFIX}sha256": lambda version: version.sha256,
    f"{PREFIX}author": lambda version: version.author,
    f"{PREFIX}created": lambda version: moments.stamp(version.created_ms),
    f"{PREFIX}base": lambda version: "" if version.base is None else str(version.base),
    f"{PREFIX}backend": lambda version: version.backend,
}


def listed(what: What) -> list[str]:
    """Return the names that listxattr gives: of what is stored, and can be stored elsewhere.

    Not what tells of the version: ``cp -a`` and ``rsync -X`` would try to give it to a copy.
    """
    if not isinstance(what, Node | Past):
        return []
    node = what.node if isinstance(what, Past) else what
    return [*node.xattrs, *([ORIGIN] if node.origin else [])]


async def get(remote: Remote, what: What, name: str) -> bytes:
    """Return one attribute. Raises `NoSuchAttribute`; `NotSupported` for other kinds."""
    if not name.startswith("user."):
        # Not "none of that name": told so once, ls asks no further file for its label and ACL.
        raise NotSupported(f"only attributes that begin with 'user.' are kept, not {name!r}")
    match what:
        case (Node() as node) | Past(node=node):
            return await _of_node(remote, node, name)
        case Saved(version):
            if name == f"{PREFIX}id":
                return str(version.file).encode()
            if name in _OF_VERSION:
                return _OF_VERSION[name](version).encode()
            if name == BLOB:
                return await _blob(remote, version.id)
        case _:
            pass
    raise NoSuchAttribute(f"there is no attribute {name!r}")


def check_settable(name: str) -> str:
    """Return *name* if a client may set it; raise `NotPermitted` or `NotSupported`."""
    if name.startswith(PREFIX) or name == ORIGIN:
        raise NotPermitted(f"{name!r} tells of the version and can't be set")
    if not name.startswith("user."):
        raise NotSupported(f"only attributes that begin with 'user.' are stored, not {name!r}")
    return name


async def _of_node(remote: Remote, node: Node, name: str) -> bytes:
    if name in node.xattrs:
        return node.xattrs[name]
    if name == f"{PREFIX}id":
        return str(node.id).encode()
    if name == ORIGIN and node.origin:
        return node.origin.encode()
    if name == f"{PREFIX}backend" and node.kind is Kind.BUCKET:
        return node.backend.encode()
    if name in _OF_VERSION and node.version is not None:
        return _OF_VERSION[name](await remote.version(node.version)).encode()
    if name == BLOB and node.version is not None:
        return await _blob(remote, node.version)
    raise NoSuchAttribute(f"there is no attribute {name!r}")


async def _blob(remote: Remote, version: int) -> bytes:
    key = (await remote.whereabouts(version)).blob
    if not key:
        raise NoSuchAttribute("there are no bytes, so they are nowhere")
    return key.encode()
