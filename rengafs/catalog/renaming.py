"""Renaming, with the rule that makes a save of a rename over a file.

A tool that saves by writing a temporary and renaming it over ``f`` means "the next version
of f". So ``f`` keeps its id and its history and gets the content, and the temporary leaves
nothing listed (`_replace_content`). Every other rename moves an edge.
"""

from msgspec.structs import replace
from sqlalchemy import func, select, update

from rengafs.catalog.making import free_name
from rengafs.catalog.places import Directory, Place, find, get
from rengafs.catalog.removing import refuse_full, remove
from rengafs.catalog.saving import (
    EMPTY_SHA256,
    SUPERSEDED,
    NewVersion,
    get_version,
    save,
    version_row,
)
from rengafs.catalog.schema import edges, nodes, versions
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import (
    AlreadyExists,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
    WouldLoop,
)
from rengafs.protocol.names import from_wire
from rengafs.protocol.operations import Outcome, Rename
from rengafs.protocol.records import ROOT, Kind, Node

TEMPORARY_MS = 60_000
"""A tool renames its temporary as soon as it is written; what is older is a person's file."""


def rename(w: Writer, operation: Rename) -> Outcome:
    """Give an entry another name. Raises our errors where the system call fails."""
    if (operation.parent == ROOT) != (operation.new_parent == ROOT):
        raise NotPermitted(
            "only buckets stand at the top, and they stay there; copy the content instead"
        )
    source = get(w.connection, operation.parent, from_wire(operation.name))
    into = w.directory(operation.new_parent)
    target = find(w.connection, into.id, from_wire(operation.new_name))
    if operation.how == "exchange":
        if target is None:
            raise NotFound(f"there is no {operation.new_name!r} to exchange with")
        return _exchange(w, source, target, w.directory(operation.parent), into)
    if operation.how == "noreplace" and target is not None:
        raise AlreadyExists(f"{operation.new_name!r} is taken", parent=into.id)
    if target is not None and target.node.id == source.node.id:
        return Outcome(
            node=source.node, moved=source.node.id
        )  # as rename(2): two names of one node both stay
    _refuse_loop(w, source, into.id)
    if target is None:
        raw = free_name(w, into, operation.new_name)
        _move(w, source, into, raw)
        return Outcome(node=source.node, moved=source.node.id)
    _refuse_mismatch(w, source, target)
    if _is_a_save(w, source, target):
        return _replace_content(w, source, target)
    remove(w, target)
    _move(w, source, into, target.raw, other=target.node.id)
    return Outcome(node=source.node, moved=source.node.id, replaced=target.node.id)


def _is_a_save(w: Writer, source: Place, target: Place) -> bool:
    if source.node.kind is not Kind.FILE or target.node.kind is not Kind.FILE:
        return False
    # ``f`` over an older ``f~`` is no save of ``f~``: an editor is about to write a new ``f``.
    if w.droppings.match(target.raw):
        return False
    # A node with two names can't become another node's version: its other name stays.
    return source.node.links == 1 and target.node.links == 1


def _replace_content(w: Writer, source: Place, target: Place) -> Outcome:
    """Make what *source* holds the next version of *target*, and take *source* away."""
    old, new = target.node, source.node
    _retire(w, source)
    remove(w, source)
    node = replace(
        old,
        mode=new.mode,
        uid=new.uid,
        gid=new.gid,
        xattrs=new.xattrs,
        mtime_ns=new.mtime_ns,
        atime_ns=new.atime_ns,
        ctime_ns=w.now_ns,
    )
    version = None
    if _content(new) != _content(old):
        row = version_row(w.connection, new.version)
        node = save(
            w,
            node,
            NewVersion(
                size=new.size,
                sha256=new.sha256 or EMPTY_SHA256,
                blob=row.blob if row else None,
                mtime_ns=new.mtime_ns,
                base=old.version,
                origin=row.origin if row else "",
            ),
        )
        version = get_version(w.connection, node.version or 0)
    else:
        w.alter(node)
    w.event("attributes", node.id, bucket=target.bucket, kind=node.kind)
    w.tell_entered(target, other=new.id)
    w.touch(target.parent)
    return Outcome(node=node, version=version, moved=new.id, replaced=new.id)


def _content(node: Node) -> tuple[int, str]:
    """What tells contents apart; a file never saved is as one saved empty."""
    return node.size, node.sha256 or EMPTY_SHA256


def _retire(w: Writer, source: Place) -> None:
    """Hide the temporary's only version: it lives on as the target's.

    Not where the source has a history of its own, ever bore another name, or was saved a
    while ago (a person's ``mv f f.bak``): that history is somebody's, and stays to be seen.
    """
    names = w.connection.execute(
        select(func.count()).select_from(edges).where(edges.c.node == source.node.id)
    ).scalar_one()
    rows = w.connection.execute(
        select(versions.c.id, versions.c.size, versions.c.created_ms).where(
            versions.c.file == source.node.id, versions.c.hidden == ""
        )
    ).all()
    fresh = all(row.created_ms >= w.now_ms - TEMPORARY_MS for row in rows)
    if names == 1 and len(rows) <= 1 and fresh:
        w.hide(SUPERSEDED, {row.id: row.size for row in rows}, source.bucket)


def _exchange(
    w: Writer, one: Place, other: Place, one_in: Directory, other_in: Directory
) -> Outcome:
    if one.node.id == other.node.id:
        return Outcome(node=one.node, moved=one.node.id)
    _refuse_loop(w, one, other.parent)
    _refuse_loop(w, other, one.parent)
    w.leave(one)
    w.leave(other)
    _settle(w, one, other_in)
    _settle(w, other, one_in)
    w.enter(other_in.id, other.raw, one.node, bucket=_bucket(one, other_in))
    w.enter(one_in.id, one.raw, other.node, bucket=_bucket(other, one_in))
    return Outcome(node=one.node, moved=one.node.id)


def _move(w: Writer, source: Place, into: Directory, raw: bytes, *, other: int = 0) -> None:
    w.leave(source)
    _settle(w, source, into)
    w.enter(into.id, raw, source.node, bucket=_bucket(source, into), other=other)


def _bucket(place: Place, into: Directory) -> int:
    return place.bucket if into.id == ROOT else into.bucket


def _settle(w: Writer, place: Place, into: Directory) -> None:
    """Note the bucket of what moves, with everything below it."""
    if place.parent == ROOT or place.bucket == into.bucket:
        return
    below = (
        select(edges.c.node)
        .where(edges.c.parent == place.node.id, edges.c.until.is_(None))
        .cte("below", recursive=True)
    )
    deeper = select(edges.c.node).where(edges.c.parent == below.c.node, edges.c.until.is_(None))
    below = below.union(deeper)
    moved = (nodes.c.id == place.node.id) | nodes.c.id.in_(select(below.c.node))
    w.carry(moved, place.bucket, into.bucket)
    w.connection.execute(update(nodes).where(moved).values(bucket=into.bucket))


def _refuse_loop(w: Writer, source: Place, parent: int) -> None:
    """Raise `WouldLoop` if the directory *parent* is *source* or stands below it."""
    if not source.node.kind.is_directory:
        return
    step = parent
    while step != ROOT:
        if step == source.node.id:
            raise WouldLoop("a directory can't be moved into itself")
        step = w.connection.execute(
            select(edges.c.parent).where(edges.c.node == step, edges.c.until.is_(None))
        ).scalar_one()


def _refuse_mismatch(w: Writer, source: Place, target: Place) -> None:
    if source.node.kind.is_directory:
        if not target.node.kind.is_directory:
            raise NotADirectory("a directory can't replace what is none")
        refuse_full(w, target)
    elif target.node.kind.is_directory:
        raise IsADirectory("a directory can't be replaced by what is none")
