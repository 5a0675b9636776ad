"""How alembic runs here: on the connection, and in the transaction, of `migrating`."""

from alembic import context

from rengafs.catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
