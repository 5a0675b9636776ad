"""Changes announced from process to process: PostgreSQL's LISTEN and NOTIFY.

An announcement says no more than the number of the last change. It may be lost with its
connection, so who listens also looks now and then. SQLite has nothing of the kind.
"""

from collections.abc import AsyncIterator
from contextlib import suppress

import psycopg
from psycopg import sql
from sqlalchemy import Connection, bindparam, func, select

from rengafs.catalog.database import Database, connect_options
from rengafs.protocol.errors import Unavailable


def channel_of(catalog: str) -> str:
    """Return the channel of a catalog: several may lie in one database."""
    return "rengafs_" + catalog.replace("-", "")


def announce(connection: Connection, channel: str, change: int) -> None:
    """Tell of the last change when the transaction is committed, and not if it is undone."""
    connection.execute(_NOTIFY, {"channel": channel, "payload": str(change)})


async def announcements(database: Database, channel: str) -> AsyncIterator[int]:
    """Yield 0 when it listens, then the number of each change that is announced.

    Raises `Unavailable` when the connection can't be made, or breaks.
    """
    try:
        async with await psycopg.AsyncConnection.connect(
            autocommit=True, **connect_options(database)
        ) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            yield 0
            async for notice in connection.notifies():
                with suppress(ValueError):  # somebody else may write to the channel, too
                    yield int(notice.payload)
    except psycopg.Error as error:
        text = " ".join(str(error).split())
        raise Unavailable(f"the catalog's database tells of no changes ({text})") from error


_NOTIFY = select(func.pg_notify(bindparam("channel"), bindparam("payload")))
