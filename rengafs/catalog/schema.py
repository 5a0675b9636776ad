"""The tables, with the meaning of every column beside it. No queries here.

The catalog is a history. A row that is valid for a while has ``since`` and ``until``: it
holds as of every change N with ``since <= N < until``; ``until`` is NULL while it holds
now. "Now" and "as of N" are the same query with another condition (`valid`).

Rules that every writer keeps:

* Nothing that was ever visible is overwritten. Exceptions, each with its reason beside it:
  ``nodes.links``, ``nodes.bucket``, ``versions.hidden``, a directory's times; and what a prune
  takes: ``versions.blob``.
* A row's ``since`` and ``until`` are numbers of rows of `changes`.
* Ids of nodes, edges and versions come from one counter (`head.next_id`), so a greater id
  is younger, and an id names one thing only.

Migrations make these tables (``migrations/``); a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    false,
    or_,
    text,
)

metadata = MetaData()

# SQLite gives a table its natural key order only for a column typed INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")

about = Table(
    "about",
    metadata,
    # "catalog": a UUID, made with the catalog. "secret": signs access tokens, hex.
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

# One row: where the history stands. Every write transaction locks it first, so changes get
# their numbers in the order in which they become visible.
head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True),  # always 1
    Column("change", BigInteger, nullable=False),  # number of the last change; 0 at first
    Column("at_ms", BigInteger, nullable=False),  # its moment; never goes back
    Column("next_id", BigInteger, nullable=False),  # the id that is given next
    # Running sums, so that statfs costs one row. Logical bytes, before deduplication.
    Column("live_bytes", BigInteger, nullable=False),  # of current versions of live files
    Column("all_bytes", BigInteger, nullable=False),  # of all versions that are not hidden
    Column("files", BigInteger, nullable=False),  # files with at least one name
)

tallies = Table(
    "tallies",
    metadata,
    # What a bucket holds, deleted buckets too: as in `head`, of the files that stand in it.
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # nodes.id
    Column("live_bytes", BigInteger, nullable=False),
    Column("all_bytes", BigInteger, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("quota_bytes", BigInteger, nullable=True),  # the most of all_bytes; NULL: no limit
)

nodes = Table(
    "nodes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),  # records.ROOT, or >= FIRST_ID
    Column("kind", Text, nullable=False),  # records.Kind; the root is a "directory"
    # The bucket where it stands, itself for a bucket, 0 for the root. Rewritten when it moves
    # to another bucket: only the present is asked for it.
    Column("bucket", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),  # user who made it; "" for the root
    Column("device", BigInteger, nullable=False),  # st_rdev of a device node, else 0
    Column("target", LargeBinary, nullable=True),  # of a symlink, raw bytes; else NULL
    Column("backend", Text, nullable=False),  # of a bucket; else ""
    # Edges with until IS NULL. 0: deleted. Kept because every stat asks for it. 1 for the root.
    Column("links", Integer, nullable=False),
)

edges = Table(
    "edges",
    metadata,
    # Among edges of one (parent, name) that hold together, the lowest id is the elder.
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("parent", BigInteger, nullable=False),  # nodes.id of a directory or bucket, or ROOT
    Column("name", LargeBinary, nullable=False),  # raw bytes; see protocol.names
    Column("node", BigInteger, nullable=False),  # nodes.id
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=True),
    # The listing of a directory, now: sorted, paged, without the past in between.
    Index(
        "edges_live",
        "parent",
        "name",
        "id",
        sqlite_where=text("until IS NULL"),
        postgresql_where=text("until IS NULL"),
    ),
    # The same as of a change, and the history of a name.
    Index("edges_past", "parent", "name", "id"),
    Index("edges_node", "node", "id"),
)

states = Table(
    "states",
    metadata,
    Column("node", BigInteger, primary_key=True, autoincrement=False),  # nodes.id
    Column("since", BigInteger, primary_key=True, autoincrement=False),
    Column("until", BigInteger, nullable=True),
    Column("mode", Integer, nullable=False),  # permission bits, 0 to 0o7777
    Column("uid", BigInteger, nullable=True),  # NULL until set by chown
    Column("gid", BigInteger, nullable=True),  # NULL until set by chown
    Column("size", BigInteger, nullable=False),  # bytes of content or of a symlink's target
    Column("version", BigInteger, nullable=True),  # versions.id of the current one; files only
    # Nanoseconds since 1970. Of a directory, mtime and ctime change in place when its entries
    # do: a row for each entry that comes or goes would double the history. As-of views
    # therefore see a directory's times only roughly. So it is with atime, of everything.
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("atime_ns", BigInteger, nullable=False),
    Column("xattrs", LargeBinary, nullable=True),  # MessagePack of {str: bytes}; NULL: none
    Index(
        "states_live",
        "node",
        unique=True,
        sqlite_where=text("until IS NULL"),
        postgresql_where=text("until IS NULL"),
    ),
    Index("states_version", "version"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("backend", Text, nullable=False),
    Column("key", Text, nullable=False),  # what the backend calls it; "!…": lost; "=…": parked
    Column("size", BigInteger, nullable=False),
    # Hex; or a mark, where nobody has seen the bytes as a whole: see `backends.pieces`.
    Column("sha256", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # The sha256 of each piece of 8 MiB, 32 bytes each; NULL: not known.
    Column("pieces", LargeBinary, nullable=True),
    # The same content is stored once per backend.
    Index("blobs_content", "backend", "sha256", "size", unique=True),
    Index("blobs_key", "backend", "key"),
)

parked = Table(
    "parked",
    metadata,
    # Bytes of small blobs that are not in their backend yet; see `parking`.
    Column("blob", BigInteger, primary_key=True, autoincrement=False),  # blobs.id
    Column("backend", Text, nullable=False),  # as the blob's
    Column("created_ms", BigInteger, nullable=False),
    Column("taken_ms", BigInteger, nullable=False),  # when a process began to put it; 0: none
    Column("data", LargeBinary, nullable=False),
)

adoptions = Table(
    "adoptions",
    metadata,
    # A bucket that shows what another program stores in a container.
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # nodes.id
    Column("backend", Text, nullable=False),  # by which the container is reached
    Column("container", Text, nullable=False),
)

adopted = Table(
    "adopted",
    metadata,
    # A version that another program stored, as `Foreign.key` names it: known by that also when
    # its bytes were moved elsewhere or pruned, or when there are none.
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # versions.id
    Column("key", Text, nullable=False),
    Index("adopted_key", "key"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("file", BigInteger, nullable=False),  # nodes.id
    Column("change", BigInteger, nullable=False),  # changes.number that made it
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),  # as the blob's; of no bytes for an empty one
    Column("blob", BigInteger, nullable=True),  # blobs.id; NULL: empty, or pruned
    Column("author", Text, nullable=False),  # users.name
    Column("base", BigInteger, nullable=True),  # versions.id the edit started from; NULL: unknown
    Column("conflict", Boolean, nullable=False),  # base was not current any more
    Column("created_ms", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),  # of the last write
    Column("mode", Integer, nullable=False),  # of the file when it was saved
    Column("handle", Text, nullable=False),  # the open file that saved it; "" unknown
    # Why no listing shows it: "" it does; "superseded" by a later commit of the same handle or
    # by the version that a rename over another file made of it; "discarded" with an editor's
    # dropping; "pruned" as the bucket's retention says. Set later: it is known only then.
    Column("hidden", Text, nullable=False),
    Column("origin", Text, nullable=False),  # URL of what came from one; inherited from the base
    Column("execution", BigInteger, nullable=True),  # lineage: the execution that wrote it
    Column("project", BigInteger, nullable=True),  # lineage: the project that wrote it
    Index("versions_file", "file", "id"),
    Index("versions_blob", "blob"),
)

changes = Table(
    "changes",
    metadata,
    Column("number", Id, primary_key=True, autoincrement=False),  # 1, 2, 3, … without gaps
    Column("at_ms", BigInteger, nullable=False),  # never less than the one before
    Column("action", Text, nullable=False),  # tag of the operation, or "apply" for several
    Column("author", Text, nullable=False),
    Column("host", Text, nullable=False),  # as the client calls its machine
    Column("client", Text, nullable=False),  # the mount or client; see records.Change
    Index("changes_at", "at_ms", "number"),
)

events = Table(
    "events",
    metadata,
    # Everything as in records.Event; 0 and empty where it says nothing.
    Column("change", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),  # 0, 1, … in the change
    Column("what", Text, nullable=False),
    Column("node", BigInteger, nullable=False),
    Column("bucket", BigInteger, nullable=False),
    Column("parent", BigInteger, nullable=False),
    Column("name", LargeBinary, nullable=False),  # as shown then, raw bytes
    Column("version", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("other", BigInteger, nullable=False),
    # The log of a file or directory.
    Index("events_node", "node", "change"),
    Index("events_parent", "parent", "change"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("user", BigInteger, primary_key=True, autoincrement=False),  # users.id
    Column("key", Text, primary_key=True),  # of the operation; unique for a user
    Column("outcome", LargeBinary, nullable=False),  # JSON of receipts.Receipt
    Column("at_ms", BigInteger, nullable=False),  # dropped after 90 days
    Index("receipts_at", "at_ms"),
)

labels = Table(
    "labels",
    metadata,
    Column("node", BigInteger, primary_key=True, autoincrement=False),  # a bucket or file
    Column("label", Text, primary_key=True),
)

moments = Table(
    "moments",
    metadata,
    # A label for a moment of a bucket. Put anew, it is moved.
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # nodes.id
    Column("name", LargeBinary, primary_key=True),  # raw bytes
    Column("at_ms", BigInteger, nullable=False),  # the moment that was named
    Column("change", BigInteger, nullable=False),  # the last change until then
    Column("author", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

retention = Table(
    "retention",
    metadata,
    # How much of its past a bucket keeps. No row: everything.
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # nodes.id
    Column("rule", Text, nullable=False),  # as protocol.retention writes it
    Column("author", Text, nullable=False),
    Column("set_ms", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    # Versions that a client has open or pinned: no prune takes them until then.
    Column("user", BigInteger, primary_key=True, autoincrement=False),  # users.id
    Column("holder", Text, primary_key=True),  # as the client calls itself, or the pin
    Column("version", BigInteger, primary_key=True, autoincrement=False),  # versions.id
    Column("until_ms", BigInteger, nullable=False),
    Index("leases_version", "version"),
    Index("leases_until", "until_ms"),
)

crossings = Table(
    "crossings",
    metadata,
    # Something moved from *source* to *target*: so labels of the one need history of the other.
    Column("target", BigInteger, primary_key=True, autoincrement=False),  # nodes.id of a bucket
    Column("source", BigInteger, primary_key=True, autoincrement=False),  # nodes.id of a bucket
)

lineage = Table(
    "lineage",
    metadata,
    # Who read what. Who wrote it stands with the version.
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("execution", BigInteger, nullable=True),
    Column("project", BigInteger, nullable=True),
    Column("user", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("lineage_version", "version"),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    # May do everything in every bucket, member or not.
    Column("everywhere", Boolean, nullable=False, server_default=false()),
)

identities = Table(
    "identities",
    metadata,
    # Who an OpenID Connect issuer's tokens speak for.
    Column("issuer", Text, primary_key=True),  # claim "iss"
    Column("subject", Text, primary_key=True),  # claim "sub": unique with the issuer, for ever
    Column("user", BigInteger, nullable=False),  # users.id
)

members = Table(
    "members",
    metadata,
    # Who may do what in a bucket, now. Who made the bucket owns it. No row: it is hidden.
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),  # nodes.id
    Column("user", BigInteger, primary_key=True, autoincrement=False),  # users.id
    Column("role", Text, nullable=False),  # values.Role
    Index("members_user", "user"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("user", BigInteger, nullable=False),  # users.id
    Column("sha256", Text, nullable=False, unique=True),  # hex; the token itself is not kept
    Column("read_only", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=True),  # NULL: never
    Column("revoked_ms", BigInteger, nullable=True),  # NULL: not revoked
)


def valid(table: FromClause, at: int | BindParameter[int] | None) -> ColumnElement[bool]:
    """Return the condition that a row of `edges` or `states` holds as of *at*; None is now."""
    if at is None:
        return table.c.until.is_(None)
    return and_(table.c.since <= at, or_(table.c.until.is_(None), table.c.until > at))
