"""What alembic runs to bring a catalog to the present schema; see `migrating`."""
