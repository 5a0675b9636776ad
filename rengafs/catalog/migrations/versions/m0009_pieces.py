"""Hashes of blobs' pieces, and the containers whose objects buckets show."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table; older blobs have their whole hash only."""
    op.add_column("blobs", sa.Column("pieces", sa.LargeBinary(), nullable=True))
    op.create_table(
        "adoptions",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("container", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bucket"),
    )


def downgrade() -> None:
    """Drop them: what was composed in a remote store can't be checked any more."""
    op.drop_table("adoptions")
    op.drop_column("blobs", "pieces")
