"""What every call of the catalog stands on: the database, and the turn to write."""

import copy
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from sqlalchemy import select

from rengafs.catalog.announcing import announce, announcements, channel_of
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
        self._channel = channel_of(self.identity.catalog)

    @property
    def rules(self) -> Rules:
        """What the catalog was opened with."""
        return self._rules

    def close(self) -> None:
        """Close the database. Nothing may be asked afterwards."""
        self._database.close()

    def seen_by(self, user: int | None) -> Self:
        """Return this catalog as a user sees it: hidden buckets have no names; None: all have.

        It is to be asked, not to be changed. Ids are not judged; see `membership`.
        """
        if user is None:
            return self
        seen = copy.copy(self)
        seen._database = self._database.seen_by(user)
        return seen

    @contextmanager
    def _write(self, actor: Actor) -> Iterator[Writer]:
        viewer = None if actor.everywhere or not actor.user else actor.user
        with self._turn, self._database.seen_by(viewer).write() as connection:
            writer = Writer(connection, actor, self._rules, self._droppings, self._clock_ns())
            before = writer.last
            yield writer
            writer.finish()
            if writer.last > before and not self._database.is_sqlite:
                announce(connection, self._channel, writer.last)

    def announcements(self) -> AsyncIterator[int] | None:
        """Return the changes as other processes announce them; None: they don't.

        The numbers only, and 0 when it begins. Raises `Unavailable` when it breaks off.
        """
        if self._database.is_sqlite:
            return None
        return announcements(self._database, self._channel)
