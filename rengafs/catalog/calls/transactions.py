"""What every call of the catalog stands on: the database, and the turn to write."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select

from rengafs.catalog.database import Database
from rengafs.catalog.droppings import Droppings
from rengafs.catalog.schema import about
from rengafs.catalog.values import Actor, Rules
from rengafs.catalog.writer import Writer


@dataclass(frozen=True, slots=True)
class Identity:
    """What a catalog is told apart by, and signs with."""

    catalog: str
    secret: str


class Transactions:
    """A catalog's database, and who writes to it in turn. Shared between threads."""

    def __init__(self, database: Database, rules: Rules, clock_ns: Callable[[], int]) -> None:
        self._database = database
        self._rules = rules
        self._droppings = Droppings(rules.droppings)
        self._clock_ns = clock_ns
        # Threads of one process queue here rather than at the database, whose waiting is
        # polling. Other processes are waited for there.
        self._turn = threading.Lock()
        with database.read() as connection:
            known = {row.key: row.value for row in connection.execute(select(about))}
        self.identity = Identity(known["catalog"], known["secret"])

    @property
    def rules(self) -> Rules:
        """What the catalog was opened with."""
        return self._rules

    def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        self._database.close()

    @contextmanager
    def _write(self, actor: Actor) -> Iterator[Writer]:
        with self._turn, self._database.write() as connection:
            writer = Writer(connection, actor, self._rules, self._droppings, self._clock_ns())
            yield writer
            writer.finish()
