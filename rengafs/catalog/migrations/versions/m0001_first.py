"""The first schema: nodes, edges, states and versions with their validity, and one feed."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite gives a table its natural key order only for a column typed INTEGER.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
LIVE = sa.text("until IS NULL")


def upgrade() -> None:
    """Make all tables."""
    _make_about()
    _make_blobs()
    _make_changes()
    _make_edges()
    _make_events()
    _make_head()
    _make_labels()
    _make_lineage()
    _make_nodes()
    _make_receipts()
    _make_states()
    _make_tokens()
    _make_users()
    _make_versions()
    _prefer_the_living()


def downgrade() -> None:
    """There is nothing before the first."""
    raise NotImplementedError("a catalog can't go back before its first schema")


def _make_about() -> None:
    op.create_table(
        "about",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _make_blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("blobs_content", "blobs", ["backend", "sha256", "size"], unique=True)


def _make_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("number", BIG, autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("changes_at", "changes", ["at_ms", "number"], unique=False)


def _make_edges() -> None:
    op.create_table(
        "edges",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("node", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "edges_live",
        "edges",
        ["parent", "name", "id"],
        unique=False,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.create_index("edges_node", "edges", ["node", "id"], unique=False)
    op.create_index("edges_past", "edges", ["parent", "name", "id"], unique=False)


def _make_events() -> None:
    op.create_table(
        "events",
        sa.Column("change", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("node", sa.BigInteger(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("other", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("change", "seq"),
    )


def _make_head() -> None:
    op.create_table(
        "head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.Column("live_bytes", sa.BigInteger(), nullable=False),
        sa.Column("all_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _make_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("node", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "label"),
    )


def _make_lineage() -> None:
    op.create_table(
        "lineage",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("execution", sa.BigInteger(), nullable=True),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("lineage_version", "lineage", ["version"], unique=False)


def _make_nodes() -> None:
    op.create_table(
        "nodes",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("device", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.LargeBinary(), nullable=True),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("links", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _make_receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("user", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("outcome", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user", "key"),
    )
    op.create_index("receipts_at", "receipts", ["at_ms"], unique=False)


def _make_states() -> None:
    op.create_table(
        "states",
        sa.Column("node", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("gid", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("ctime_ns", sa.BigInteger(), nullable=False),
        sa.Column("atime_ns", sa.BigInteger(), nullable=False),
        sa.Column("xattrs", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("node", "since"),
    )
    op.create_index(
        "states_live", "states", ["node"], unique=True, sqlite_where=LIVE, postgresql_where=LIVE
    )
    op.create_index("states_version", "states", ["version"], unique=False)


def _make_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("user", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("read_only", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )


def _make_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _make_versions() -> None:
    op.create_table(
        "versions",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("file", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("blob", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=True),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("hidden", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("execution", sa.BigInteger(), nullable=True),
        sa.Column("project", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("versions_file", "versions", ["file", "id"], unique=False)


def _prefer_the_living() -> None:
    """Tell SQLite's planner, with made-up statistics, that `edges_live` is the narrow one.

    It would as soon take `edges_past` for the present, and step over every edge that ever
    was: a lock file that is made and removed all day leaves thousands under one name.
    """
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("ANALYZE sqlite_schema")  # makes the table of statistics
    op.execute(
        "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES"
        " ('edges', 'edges_live', '100000 100 1 1'),"
        " ('edges', 'edges_past', '10000000 10000 100 1'),"
        " ('edges', 'edges_node', '10000000 2 1')"
    )
    op.execute("ANALYZE sqlite_schema")  # makes this connection read them, too
