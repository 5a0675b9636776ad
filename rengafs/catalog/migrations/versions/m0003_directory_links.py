"""A directory's link count becomes what POSIX tools expect: two, and one a subdirectory."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_nodes = sa.table("nodes", sa.column("id"), sa.column("kind"), sa.column("links"))
_edges = sa.table("edges", sa.column("parent"), sa.column("node"), sa.column("until"))
_LIVE_DIRECTORY = (_nodes.c.kind.in_(("bucket", "directory")), _nodes.c.links > 0)


def upgrade() -> None:
    """Count the subdirectories."""
    below = _nodes.alias("below")
    count = (
        sa.select(sa.func.count())
        .select_from(_edges.join(below, below.c.id == _edges.c.node))
        .where(
            _edges.c.parent == _nodes.c.id,
            _edges.c.until.is_(None),
            below.c.kind.in_(("bucket", "directory")),
        )
        .scalar_subquery()
    )
    op.execute(_nodes.update().where(*_LIVE_DIRECTORY).values(links=2 + count))


def downgrade() -> None:
    """Give each directory one link again."""
    op.execute(_nodes.update().where(*_LIVE_DIRECTORY).values(links=1))
