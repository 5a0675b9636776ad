"""`Catalog`: all that the service asks of it. One method is one transaction.

Methods block, and are called from worker threads. A write waits for its turn. The calls are
written down by purpose, in `rengafs.catalog.calls`.
"""

import time
from collections.abc import Callable

from rengafs.catalog.calls.blobs import Blobs
from rengafs.catalog.calls.changing import Changes
from rengafs.catalog.calls.keeping import Keeping
from rengafs.catalog.calls.originals import Originals
from rengafs.catalog.calls.parked import ParkedBlobs
from rengafs.catalog.calls.quotas import Quotas
from rengafs.catalog.calls.storage import Storage
from rengafs.catalog.calls.transactions import Identity
from rengafs.catalog.calls.users import Users
from rengafs.catalog.calls.viewing import Views
from rengafs.catalog.database import open_database
from rengafs.catalog.droppings import DEFAULT
from rengafs.catalog.migrating import check_made, migrate
from rengafs.catalog.values import Rules

__all__ = ["Catalog", "Identity", "open_catalog"]


def open_catalog(
    url: str,
    *,
    make: bool = True,
    backends: tuple[str, ...] = ("local",),
    droppings: tuple[str, ...] = DEFAULT,
    clock_ns: Callable[[], int] = time.time_ns,
) -> "Catalog":
    """Open the catalog at *url*, made or updated to this version's schema.

    :param make: else one that is not there is refused, and nothing is made.

    Raises `SetupError`.
    """
    database = open_database(url)
    try:
        if not make:
            check_made(database)
        migrate(database)
        return Catalog(database, Rules(backends, droppings), clock_ns)
    except BaseException:
        database.close()
        raise


class Catalog(Views, Changes, Originals, Users, Blobs, Keeping, Quotas, Storage, ParkedBlobs):
    """The history, and its views. Shared between threads."""
