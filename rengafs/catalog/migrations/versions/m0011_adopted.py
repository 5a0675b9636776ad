"""What another program called the versions that were adopted from it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; of adopted versions the key of the blob told it until now."""
    op.create_table(
        "adopted",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_index("adopted_key", "adopted", ["key"])
    op.execute(
        "INSERT INTO adopted (version, key) SELECT versions.id, blobs.key FROM versions"
        " JOIN blobs ON blobs.id = versions.blob WHERE blobs.key LIKE '@%'"
    )


def downgrade() -> None:
    """Drop it: what was moved or pruned since would be adopted once more."""
    op.drop_table("adopted")
