"""Indexes for the sweeper and the check: a blob by its key, the versions of a blob."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("blobs_key", "blobs", ["backend", "key"], unique=False)
    op.create_index("versions_blob", "versions", ["blob"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("versions_blob", "versions")
    op.drop_index("blobs_key", "blobs")
