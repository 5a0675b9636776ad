"""Brings a database to the present schema, with alembic. Runs at each start of a service.

The steps are in ``migrations/versions``, one file each, and are never edited once released.
"""

import secrets
import time
import uuid
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, insert, inspect, select

from rengafs.catalog.database import Database
from rengafs.catalog.schema import about, head, nodes, states
from rengafs.protocol.errors import BadSetting, SetupError
from rengafs.protocol.records import FIRST_ID, ROOT, Kind

LOCK = 0x72656E6761667331
"""PostgreSQL's advisory lock of a migration; SQLite's write lock needs no number."""


def check_made(database: Database) -> None:
    """Raise `BadSetting` where no catalog was ever made; make nothing."""
    url = database.engine.url
    if not database.is_sqlite or Path(url.database or "").exists():  # SQLite would make the file
        with database.read() as connection:
            if inspect(connection).has_table(about.name):
                return
    raise BadSetting(
        f"there is no catalog of rengafs in {url.render_as_string()}; name a service's data or "
        "catalog with --data or --catalog (rengafs serve makes one)"
    )


def migrate(database: Database) -> None:
    """Make or update the tables. Processes that start together take turns.

    Raises `SetupError` where a newer rengafs made the catalog.
    """
    with database.write() as connection:
        if not database.is_sqlite:
            # A step may take long, and others wait for it.
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SetupError(
                f"the catalog is of another version of rengafs ({error}); use a newer one"
            ) from error
        _begin(connection)


def _begin(connection: Connection) -> None:
    """Give a new catalog its identity and its root."""
    if connection.execute(select(about.c.key).limit(1)).first() is not None:
        return
    now_ns = time.time_ns()
    connection.execute(
        insert(about),
        [
            {"key": "catalog", "value": str(uuid.uuid4())},
            {"key": "secret", "value": secrets.token_hex(32)},
        ],
    )
    first = {"id": 1, "change": 0, "at_ms": 0, "next_id": FIRST_ID}
    sums = {"live_bytes": 0, "all_bytes": 0, "files": 0}
    connection.execute(insert(head), first | sums)
    _make_root(connection, now_ns)


def _make_root(connection: Connection, now_ns: int) -> None:
    connection.execute(
        insert(nodes),
        {
            "id": ROOT,
            "kind": Kind.DIRECTORY.value,
            "bucket": 0,
            "created_ms": now_ns // 1_000_000,
            "owner": "",
            "device": 0,
            "target": None,
            "backend": "",
            "links": 2,
        },
    )
    connection.execute(
        insert(states),
        {
            "node": ROOT,
            "since": 0,
            "until": None,
            "mode": 0o755,
            "uid": None,
            "gid": None,
            "size": 0,
            "version": None,
            "mtime_ns": now_ns,
            "ctime_ns": now_ns,
            "atime_ns": now_ns,
            "xattrs": None,
        },
    )
