"""Who may do what in which bucket. What somebody may not see is answered as if it were not.

Names of buckets are looked up in what the user sees of the root: see `places`.
"""

from typing import Literal, cast

from sqlalchemy import Connection, Select, bindparam, delete, insert, select

from rengafs.catalog.nodes import no_node
from rengafs.catalog.places import at_raw_name, find, missing
from rengafs.catalog.prepared import Prepared
from rengafs.catalog.schema import edges, members, nodes, users, versions
from rengafs.catalog.values import ROLES, Actor, Member, Role
from rengafs.catalog.writer import Writer
from rengafs.protocol.errors import Forbidden, NotFound
from rengafs.protocol.names import from_wire
from rengafs.protocol.operations import Clone, Commit, MakeBucket, Operation, Restore, SetRetention
from rengafs.protocol.records import ROOT

What = Literal["node", "bucket", "file", "version", "resource"]


def permit(connection: Connection, user: int, number: int, role: Role, what: What = "node") -> None:
    """Raise `NotFound` for an id that the user may not see; `Forbidden` if *role* is more.

    :param what: what the id is said to be, and so which error names it.
    """
    if number == ROOT:
        return
    row = _PLACE.first(connection, {"number": number, "user": user})
    if row is not None and row.role is not None and ROLES.index(row.role) >= ROLES.index(role):
        return
    # Why not is told with more care.
    bucket = _bucket_of(connection, number, versions_too=what in ("version", "resource", "file"))
    has = 0 if bucket is None else _rank(connection, user, bucket)
    if not has:
        raise _absent(number, what)
    if has <= ROLES.index(role):
        raise Forbidden(
            f"only {'an' if role == 'owner' else 'a'} {role} of the bucket may do that; "
            "its owner can make you one",
            bucket=bucket,
        )


def permit_name(
    connection: Connection, user: int, name: str, role: Role, at: int | None = None
) -> None:
    """The same for the bucket of a shown name, or for the last that bore it, if it is deleted.

    Raises `NotFound` as a look-up does.
    """
    shown = from_wire(name)
    place = find(connection, ROOT, shown, at)
    bucket = _last_of_name(connection, shown, user) if place is None else place.node.id
    if bucket is None or not _rank(connection, user, bucket):
        raise missing(ROOT, shown)
    permit(connection, user, bucket, role)


def permit_operation(connection: Connection, actor: Actor, operation: Operation) -> None:
    """Raise `NotFound` or `Forbidden` unless *actor* may do that."""
    if actor.everywhere or isinstance(operation, MakeBucket):
        return
    user = actor.user
    if isinstance(operation, Restore):
        first = next((part for part in operation.path.split("/") if part), "")
        permit_name(connection, user, first, "writer", operation.at)
        _permit_heir(connection, user, first, operation.at)
        return
    if isinstance(operation, SetRetention):
        permit(connection, user, operation.bucket, "owner", "bucket")
        return
    if isinstance(operation, Clone):
        permit(connection, user, operation.source, "reader", "resource")
    if isinstance(operation, Commit) and operation.base is not None and not operation.whole:
        permit(connection, user, operation.base, "reader", "version")
    for field in ("node", "bucket", "parent", "new_parent"):
        number = getattr(operation, field, None)
        if number is not None:
            permit(connection, user, number, "writer")
    # What is done to a bucket itself is done to a name of the root.
    for parent, name in (("parent", "name"), ("new_parent", "new_name")):
        if getattr(operation, parent, None) == ROOT and not isinstance(operation, Clone):
            _permit_bucket(connection, user, getattr(operation, name))


def visible(connection: Connection, user: int) -> frozenset[int]:
    """Return the buckets that a user may see, deleted ones too."""
    query = select(members.c.bucket).where(members.c.user == user)
    return frozenset(connection.execute(query).scalars())


def list_members(connection: Connection, bucket: int | None = None) -> list[Member]:
    """Return the members of a bucket, or of all that are not deleted."""
    query = (
        select(members.c.bucket, users.c.name, members.c.role)
        .select_from(
            members.join(users, users.c.id == members.c.user).join(
                nodes, nodes.c.id == members.c.bucket
            )
        )
        .where(nodes.c.links > 0)
        .order_by(members.c.bucket, users.c.id)
    )
    if bucket is not None:
        query = query.where(members.c.bucket == bucket)
    return [Member(row.bucket, row.name, row.role) for row in connection.execute(query)]


def set_role(w: Writer, bucket: int, name: str, role: Role | None) -> int:
    """Make a user a member of a bucket; None: no longer. Raises `NotFound` for either.

    Return the user's id.
    """
    user = w.connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if user is None:
        raise NotFound(f"nobody is called {name!r}; `rengafs token create {name}` makes a user")
    w.connection.execute(delete(members).where(members.c.bucket == bucket, members.c.user == user))
    if role is not None:
        row = {"bucket": bucket, "user": user, "role": role}
        w.connection.execute(insert(members), row)
    return int(user)


def _permit_bucket(connection: Connection, user: int, name: str) -> None:
    place = find(connection, ROOT, from_wire(name))
    if place is not None:  # a new name is free to take
        permit(connection, user, place.node.id, "owner")


def _permit_heir(connection: Connection, user: int, name: str, at: int) -> None:
    """Refuse if the name of a bucket of then is by now that of one that is not the user's."""
    then = find(connection, ROOT, from_wire(name), at)
    if then is None:
        return
    for place in at_raw_name(connection, ROOT, then.raw)[:1]:
        permit(connection, user, place.node.id, "writer")


def may(connection: Connection, actor: Actor, bucket: int, role: Role) -> bool:
    """Whether somebody has a role, or a greater one, in a bucket."""
    return actor.everywhere or _rank(connection, actor.user, bucket) > ROLES.index(role)


def seen_by(user: int) -> Select[tuple[int]]:
    """Return the query of the buckets that a user may see."""
    return select(members.c.bucket).where(members.c.user == user)


def _last_of_name(connection: Connection, raw: bytes, user: int) -> int | None:
    query = (
        select(edges.c.node)
        .where(edges.c.parent == ROOT, edges.c.name == raw, edges.c.node.in_(seen_by(user)))
        .order_by(edges.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()


def _rank(connection: Connection, user: int, bucket: int) -> int:
    """Return 0 for no member, 1 for a reader, and so on."""
    role = connection.execute(_ROLE, {"bucket": bucket, "user": user}).scalar()
    return 0 if role is None else ROLES.index(cast(Role, role)) + 1


def _bucket_of(connection: Connection, number: int, *, versions_too: bool) -> int | None:
    bucket = connection.execute(_BUCKET, {"number": number}).scalar()
    if bucket is None and versions_too:
        of_file = select(nodes.c.bucket).join_from(nodes, versions, versions.c.file == nodes.c.id)
        bucket = connection.execute(of_file.where(versions.c.id == number)).scalar()
    return bucket


def _absent(number: int, what: What) -> NotFound:
    """Return what is answered for an id that is nobody's."""
    match what:
        case "bucket":
            return NotFound(f"there is no bucket {number}", bucket=number)
        case "file":
            return NotFound(f"there is no file {number}", file=number)
        case "version":
            return NotFound(f"there is no version {number}", version=number)
        case "resource":
            return NotFound(f"there is no file or version {number}", resource_id=number)
        case "node":
            return no_node(number)


# Built once: making a statement costs SQLAlchemy as much as carrying it out.
_ROLE = select(members.c.role).where(
    members.c.bucket == bindparam("bucket"), members.c.user == bindparam("user")
)
_PLACE = Prepared(
    select(members.c.role)
    .select_from(nodes.join(members, members.c.bucket == nodes.c.bucket))
    .where(nodes.c.id == bindparam("number"), members.c.user == bindparam("user"))
)
_BUCKET = select(nodes.c.bucket).where(nodes.c.id == bindparam("number"))
