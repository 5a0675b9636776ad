"""The database under the catalog: connections, transactions, and its errors as ours.

Not the queries. What differs between SQLite and PostgreSQL is in this module and in the
indexes' conditions of `schema`, nowhere else.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from rengafs.protocol.errors import (
    BadRequest,
    BadSetting,
    Corrupt,
    NoSpace,
    RengafsError,
    SetupError,
    Unavailable,
)

BUSY_SECONDS = 20
"""How long a writer waits for another process's transaction; ours are milliseconds."""
CONNECTIONS = 12
"""More than the service has threads that ask the catalog."""
STATEMENT_SECONDS = 60
"""How long PostgreSQL works on one statement; ours are milliseconds."""
CONNECT_SECONDS = 10
_CONNECT = {
    "connect_timeout": CONNECT_SECONDS,
    # A server that fell silent is given up.
    "tcp_user_timeout": 1000 * (STATEMENT_SECONDS + 10),
    "keepalives_idle": 30,
}


class Database:
    """Gives transactions. Safe to share between threads."""

    def __init__(self, engine: Engine, viewer: int | None = None) -> None:
        """*viewer*: the user as whom the names of buckets are seen; None: all of them are."""
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._viewer = viewer

    def seen_by(self, viewer: int | None) -> "Database":
        """Return the same database, in whose root a user sees one's own buckets only."""
        return self if viewer == self._viewer else Database(self.engine, viewer)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give one consistent view; it neither waits for writers nor holds them up."""
        with translated(), self.engine.connect() as connection:
            connection = connection.execution_options(rengafs_viewer=self._viewer)
            if not self.is_sqlite:
                # There, one view a statement is the default; SQLite knows one a transaction.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give the only write transaction there is; commit at the end, undo on an error.

        On PostgreSQL it is the only one from when it has locked the head row: see `Writer`.
        """
        with translated(), self.engine.connect() as connection:
            connection = connection.execution_options(
                rengafs_write=True, rengafs_viewer=self._viewer
            )
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at *url* (SQLAlchemy's notation, or ``postgresql://…``).

    Raises `SetupError` for a URL that is none.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadSetting(
            f"the catalog {url!r} is not a URL; write sqlite:////PATH or postgresql://HOST/NAME"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    try:
        options = _options(parsed)
    except ArgumentError:  # no such kind of database
        raise _unfit(parsed) from None
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=CONNECTIONS,
        max_overflow=0,
        pool_timeout=30,
        **options,
    )
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine)
    else:
        _tune_postgresql(engine)
    return Database(engine)


def _options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {}
    if url.get_driver_name() != "psycopg":
        raise _unfit(url)
    # A writer must see what was committed while it waited for the head row.
    return {"isolation_level": "READ COMMITTED", "connect_args": dict(_CONNECT)}


def _unfit(url: URL) -> BadSetting:
    return BadSetting(
        f"the catalog can't be kept in {url.drivername!r}; "
        "write sqlite:////PATH or postgresql://HOST/NAME"
    )


def connect_options(database: Database) -> dict[str, Any]:
    """Return what psycopg connects to a PostgreSQL with, for a connection of one's own."""
    _, options = database.engine.dialect.create_connect_args(database.engine.url)
    return {**_CONNECT, **options}


def sqlite_url(path: Path) -> str:
    """Return the URL of a catalog in a file."""
    return f"sqlite:///{path}"


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: Any) -> None:
        # Python's own implicit BEGIN comes too late and is never IMMEDIATE: see `begun`.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit that was answered survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16384")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A transaction that reads and then writes can't wait for its turn in the middle
        # (SQLITE_BUSY at once): a writer therefore takes the lock at the beginning.
        write = connection.get_execution_options().get("rengafs_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _tune_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT set_config('lock_timeout', '{BUSY_SECONDS}s', false),"
                f" set_config('statement_timeout', '{STATEMENT_SECONDS}s', false),"
                f" set_config('idle_in_transaction_session_timeout', '{STATEMENT_SECONDS}s', false)"
            )
        connection.commit()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's errors into ours; leave defects (wrong SQL) as they are."""
    try:
        yield
    except DBAPIError as error:
        ours = _ours(error)
        if ours is None:
            raise
        raise ours from error
    except (OverflowError, UnicodeEncodeError) as error:
        # SQLite's driver raises these itself, for values that no column can hold.
        raise BadRequest(f"a number or text is not one that can be kept ({error})") from error


def _ours(error: DBAPIError) -> RengafsError | None:
    name = getattr(error.orig, "sqlite_errorname", "")
    state = getattr(error.orig, "sqlstate", None) or ""
    if name.startswith("SQLITE_FULL") or state == "53100":
        return NoSpace("the disk of the catalog is full; free some space and try again")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state in ("40001", "40P01", "55P03"):
        return Unavailable("the catalog is busy; try again", carried_out=False)
    if state.startswith("22") or (isinstance(error, DataError) and not state):
        return BadRequest(f"a number or text is not one that can be kept ({error.orig})")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return Corrupt(f"the catalog is damaged ({error.orig}); restore it from a backup")
    if name.startswith("SQLITE_IOERR"):
        # A full disk shows up so, too, when the shared-memory file can't grow.
        return NoSpace(f"the disk of the catalog refuses ({name}); is it full?")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
        return SetupError(f"the catalog can't be opened for writing ({error.orig})")
    if state.startswith(("28", "3D")) or state == "42501":
        return SetupError(f"the catalog's database refuses ({_line(error)})")
    if error.connection_invalidated or state.startswith(("08", "57")):
        return Unavailable("the catalog's database does not answer; try again")
    if not name and not state and isinstance(error, OperationalError):
        return Unavailable(f"the catalog's database can't be reached ({_line(error)})")
    return None


def _line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
