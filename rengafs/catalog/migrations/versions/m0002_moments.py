"""Labels for moments of a bucket; and indexes for the log of a file or directory."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the indexes."""
    op.create_table(
        "moments",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "name"),
    )
    op.create_index("events_node", "events", ["node", "change"], unique=False)
    op.create_index("events_parent", "events", ["parent", "change"], unique=False)


def downgrade() -> None:
    """Drop them; the labels are lost."""
    op.drop_index("events_parent", "events")
    op.drop_index("events_node", "events")
    op.drop_table("moments")
