"""What each bucket holds, as running sums, and how much it may hold."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and count what there is."""
    op.create_table(
        "tallies",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("live_bytes", sa.BigInteger(), nullable=False),
        sa.Column("all_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("quota_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("bucket"),
    )
    nodes = sa.table("nodes", *map(sa.column, ["id", "kind", "bucket", "links"]))
    states = sa.table("states", *map(sa.column, ["node", "size", "until"]))
    versions = sa.table("versions", *map(sa.column, ["file", "size", "hidden"]))
    tallies = sa.table("tallies", *map(sa.column, ["bucket", "live_bytes", "all_bytes", "files"]))
    bucket = nodes.alias("bucket")
    live = (
        sa.select(sa.func.coalesce(sa.func.sum(states.c.size), 0))
        .select_from(nodes.join(states, states.c.node == nodes.c.id))
        .where(nodes.c.kind == "file", nodes.c.links > 0, states.c.until.is_(None))
        .where(nodes.c.bucket == bucket.c.id)
    )
    everything = (
        sa.select(sa.func.coalesce(sa.func.sum(versions.c.size), 0))
        .select_from(nodes.join(versions, versions.c.file == nodes.c.id))
        .where(versions.c.hidden == "", nodes.c.bucket == bucket.c.id)
    )
    files = (
        sa.select(sa.func.count())
        .select_from(nodes)
        .where(nodes.c.kind == "file", nodes.c.links > 0, nodes.c.bucket == bucket.c.id)
    )
    counted = sa.select(
        bucket.c.id, live.scalar_subquery(), everything.scalar_subquery(), files.scalar_subquery()
    ).where(bucket.c.kind == "bucket")
    columns = ["bucket", "live_bytes", "all_bytes", "files"]
    op.execute(tallies.insert().from_select(columns, counted))


def downgrade() -> None:
    """Drop it."""
    op.drop_table("tallies")
