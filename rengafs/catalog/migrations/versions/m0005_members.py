"""Members of buckets, and users who may do everything everywhere.

Whoever made a bucket owns it; the user of the embedded service may do everything.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the column, and fill them."""
    op.create_table(
        "members",
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "user"),
    )
    op.create_index("members_user", "members", ["user"], unique=False)
    op.add_column(
        "users", sa.Column("everywhere", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    nodes = sa.table("nodes", *map(sa.column, ["id", "kind", "owner"]))
    users = sa.table("users", *map(sa.column, ["id", "name", "everywhere"]))
    members = sa.table("members", *map(sa.column, ["bucket", "user", "role"]))
    owners = (
        sa.select(nodes.c.id, users.c.id, sa.literal("owner", sa.Text()))
        .select_from(nodes.join(users, users.c.name == nodes.c.owner))
        .where(nodes.c.kind == "bucket")
    )
    op.execute(members.insert().from_select(["bucket", "user", "role"], owners))
    op.execute(users.update().where(users.c.name == "embedded").values(everywhere=sa.true()))


def downgrade() -> None:
    """Drop them: everybody may do everything again."""
    op.drop_column("users", "everywhere")
    op.drop_index("members_user", "members")
    op.drop_table("members")
