"""Operations on attributes. None of them makes a version."""

from typing import Any

from msgspec.structs import replace

from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import (
    AlreadyExists,
    BadRequest,
    NameTooLong,
    NoSpace,
    NoSuchAttribute,
)
from rengafs.protocol.operations import Outcome, RemoveXattr, SetAttributes, SetXattr
from rengafs.protocol.records import Node

MAX_XATTR_NAME = 255
MAX_XATTR_VALUE = 64 << 10
"""Bytes: Linux' own limit."""
MAX_XATTRS = 128 << 10
"""Bytes of all names and values of a node: pages of nodes carry them."""


def set_attributes(w: Writer, operation: SetAttributes) -> Outcome:
    """Set what is given. Raises `NotFound`."""
    node = w.node(operation.node)
    given: dict[str, Any] = {
        name: value
        for name in ("mode", "uid", "gid", "atime_ns", "mtime_ns")
        if (value := getattr(operation, name)) is not None and value != getattr(node, name)
    }
    if not given:
        return Outcome(node=node)
    if "mode" in given and not 0 <= given["mode"] <= 0o7777:
        raise BadRequest(f"{given['mode']:#o} is not a mode; permission bits go to 0o7777")
    if given.keys() == {"atime_ns"}:
        # A row for each time that something is read would drown the history.
        given["ctime_ns"] = w.now_ns
        w.alter_in_place(node.id, **given)
        _tell(w, node)
        return Outcome(node=replace(node, **given))
    return Outcome(node=_altered(w, replace(node, **given)))


def set_xattr(w: Writer, operation: SetXattr) -> Outcome:
    """Set an extended attribute. Raises `AlreadyExists`, `NoSuchAttribute`, `NoSpace`."""
    node = w.node(operation.node)
    name, value = operation.name, operation.value
    if not 1 <= len(name.encode()) <= MAX_XATTR_NAME:
        raise NameTooLong(f"the name of an attribute has 1 to {MAX_XATTR_NAME} bytes")
    if operation.how == "create" and name in node.xattrs:
        raise AlreadyExists(f"the attribute {name!r} is there already")
    if operation.how == "replace" and name not in node.xattrs:
        raise NoSuchAttribute(f"there is no attribute {name!r}")
    if node.xattrs.get(name) == value:
        return Outcome(node=node)
    xattrs = {**node.xattrs, name: value}
    if len(value) > MAX_XATTR_VALUE:
        raise NoSpace(f"the value of an attribute has at most {MAX_XATTR_VALUE} bytes")
    if sum(len(key.encode()) + len(item) for key, item in xattrs.items()) > MAX_XATTRS:
        raise NoSpace(f"all attributes of a node have at most {MAX_XATTRS} bytes together")
    return Outcome(node=_altered(w, replace(node, xattrs=xattrs)))


def remove_xattr(w: Writer, operation: RemoveXattr) -> Outcome:
    """Remove an extended attribute. Raises `NoSuchAttribute`."""
    node = w.node(operation.node)
    if operation.name not in node.xattrs:
        raise NoSuchAttribute(f"there is no attribute {operation.name!r}")
    xattrs = {key: value for key, value in node.xattrs.items() if key != operation.name}
    return Outcome(node=_altered(w, replace(node, xattrs=xattrs)))


def _altered(w: Writer, node: Node) -> Node:
    node = replace(node, ctime_ns=w.now_ns)
    w.alter(node)
    _tell(w, node)
    return node


def _tell(w: Writer, node: Node) -> None:
    w.event("attributes", node.id, bucket=w.bucket_of(node.id), kind=node.kind)
