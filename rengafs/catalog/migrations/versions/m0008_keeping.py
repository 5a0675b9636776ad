"""How much of the past is kept: buckets' rules, what mounts hold, and moves between buckets."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; find the moves between buckets in the events."""
    op.create_table(
        "retention",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("set_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
    )
    op.create_table(
        "leases",
        sa.Column("user", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user", "holder", "version"),
    )
    op.create_index("leases_version", "leases", ["version"], unique=False)
    op.create_index("leases_until", "leases", ["until_ms"], unique=False)
    op.create_table(
        "crossings",
        sa.Column("target", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("target", "source"),
    )
    events = sa.table("events", *map(sa.column, ["change", "what", "node", "bucket"]))
    crossings = sa.table("crossings", *map(sa.column, ["target", "source"]))
    left, entered = events.alias("left_then"), events.alias("entered_then")
    same = sa.and_(left.c.change == entered.c.change, left.c.node == entered.c.node)
    moved = (
        sa.select(entered.c.bucket, left.c.bucket)
        .select_from(left.join(entered, same))
        .where(left.c.what == "left", entered.c.what == "entered")
        .where(left.c.bucket != entered.c.bucket)
        .distinct()
    )
    op.execute(crossings.insert().from_select(["target", "source"], moved))


def downgrade() -> None:
    """Drop them: everything is kept again."""
    op.drop_table("crossings")
    op.drop_index("leases_until", "leases")
    op.drop_index("leases_version", "leases")
    op.drop_table("leases")
    op.drop_table("retention")
