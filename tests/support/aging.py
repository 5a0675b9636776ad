"""History made older than it is, so that retention has something to do."""

import sqlite3
from contextlib import closing
from pathlib import Path

DAY_MS = 86_400_000


def age(data: Path, days: float) -> None:
    """Put everything that a service's SQLite catalog remembers so many days back."""
    back = int(days * DAY_MS)
    with closing(sqlite3.connect(data / "catalog.sqlite", timeout=240)) as connection, connection:
        for table, column in (
            ("changes", "at_ms"),
            ("versions", "created_ms"),
            ("moments", "at_ms"),
            ("head", "at_ms"),
        ):
            connection.execute(f"UPDATE {table} SET {column} = {column} - ?", (back,))
