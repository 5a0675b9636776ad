"""Small blobs that wait in the catalog for their way into a store."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; everything saved until now is in its backend."""
    op.create_table(
        "parked",
        sa.Column("blob", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("blob"),
    )


def downgrade() -> None:
    """Drop it; say ``rengafs sweep`` first, or what is still in it is lost."""
    op.drop_table("parked")
