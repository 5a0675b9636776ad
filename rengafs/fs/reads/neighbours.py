"""From the files that are opened to those that will be. A plan only: no I/O, no clock.

``tar``, ``grep -r``: they open the small files of a directory one after another, in the order
in which it lists them, or in that in which they were made. Two such opens begin a run; the
next files are then fetched together, more each time as long as they are opened indeed. What
breaks the order ends the run.

A training loop opens them in any order: after many enough for the directory, all of them are
worth having, a batch for each open that was not provided for, within a bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from rengafs.fs.names.listings import Listing
from rengafs.protocol.records import Kind, Node

SMALL_BYTES = 64 << 10
"""Files up to this size are fetched in batches."""
FIRST_BATCH = 8
MOST_FILES = 512
MOST_BYTES = 4 << 20
NEAR = 4
"""How many files of a run may be skipped: because they are empty, or large, or known."""
MOST_SORTED = 20_000
"""In a larger directory, only the order of the listing is recognised."""

OPENS = 8
"""Different files of a directory, opened in no order, before all are fetched: at least these …"""
FILES_FOR_OPEN = 64
"""… and one for so many of its files: a request takes as long as these, in a batch."""
MOST_SCATTERED_BYTES = 64 << 20
"""Of one directory. More would not stay in memory anyway."""


@dataclass(slots=True, eq=False)
class _Run:
    """How the files of one directory are being opened."""

    last: bytes
    orders: tuple[list[bytes], ...] = ()
    places: tuple[dict[bytes, int], ...] = ()
    length: int = 1
    batch: int = 0
    ahead: set[bytes] = field(default_factory=set)
    """Expected in order, and not opened yet."""
    opened: set[bytes] = field(default_factory=set)
    scattered: set[bytes] = field(default_factory=set)
    """Fetched for opens in any order, and not opened yet."""
    scattered_bytes: int = 0
    cursor: int = 0
    """How far the listing was gone through for these."""


class Neighbours:
    """The runs of a mount: one for each listing, and as long as that is kept."""

    def __init__(self) -> None:
        self._runs: WeakKeyDictionary[Listing, _Run] = WeakKeyDictionary()

    def opened(self, name: bytes, listing: Listing) -> list[Node]:
        """Take note that a small file was opened; return those to fetch now, often none."""
        run = self._runs.get(listing)
        if run is None:
            self._runs[listing] = _Run(name, opened={name})
            return []  # most directories are not worth indexing: one file is opened
        _index(run, name, listing)
        order = _order_of(run, name)
        expected = name in run.ahead
        provided = name in run.scattered
        run.ahead.discard(name)
        run.scattered.discard(name)
        run.opened.add(name)
        if order is None and not expected:
            # Elsewhere in the directory: perhaps the beginning of a run, perhaps not.
            run.length, run.batch = 1, 0
            run.ahead.clear()
            run.last = name
            return [] if provided else _scattered(run, listing)
        if order is None or run.places[order][name] > run.places[order][run.last]:
            run.last = name
        run.length += 1
        # In a shuffled directory neighbours are opened by chance, too.
        least = OPENS if run.scattered_bytes else 2
        if order is None or run.length < least or len(run.ahead) > run.batch // 2:
            return []
        return _next(run, order, listing)


def _next(run: _Run, order: int, listing: Listing) -> list[Node]:
    """Return what follows in an order."""
    run.batch = min(max(2 * run.batch, FIRST_BATCH), MOST_FILES)
    place = run.places[order][run.last]
    chosen, _ = _choose(run, run.orders[order], place + 1, run.batch, listing)
    run.ahead.update(name for name, _ in chosen)
    return [node for _, node in chosen]


def _scattered(run: _Run, listing: Listing) -> list[Node]:
    """Return more of the directory, if it is worth to have all of it."""
    opens = len(run.opened)
    if opens < OPENS or opens * FILES_FOR_OPEN < len(listing.rows):
        return []
    if run.scattered_bytes >= MOST_SCATTERED_BYTES:
        return []
    chosen, run.cursor = _choose(run, run.orders[0], run.cursor, MOST_FILES, listing)
    run.scattered.update(name for name, _ in chosen)
    run.scattered_bytes += sum(node.size for _, node in chosen)
    return [node for _, node in chosen]


def _choose(
    run: _Run, names: Sequence[bytes], first: int, most: int, listing: Listing
) -> tuple[list[tuple[bytes, Node]], int]:
    """Return small files from a place on, within the bounds of a batch; and where to go on."""
    chosen: list[tuple[bytes, Node]] = []
    size = 0
    end = min(first + 4 * most, len(names))
    for index in range(first, end):
        name = names[index]
        node = listing.rows.get(name)
        if node is None or name in run.ahead or name in run.scattered or not is_small(node):
            continue
        size += node.size
        if len(chosen) == most or size > MOST_BYTES:
            return chosen, index
        chosen.append((name, node))
    return chosen, end


def is_small(node: Node) -> bool:
    """Whether a node is a file that is worth fetching together with others."""
    return node.kind is Kind.FILE and node.version is not None and 0 < node.size <= SMALL_BYTES


def _index(run: _Run, name: bytes, listing: Listing) -> None:
    """Know the places of all names; one that was made since is the newest, and the last."""
    if not run.orders:
        orders = [list(listing.rows)]
        if len(listing.rows) <= MOST_SORTED:
            orders.append(sorted(listing.rows, key=lambda name: listing.rows[name].id))
        run.orders = tuple(orders)
        run.places = tuple({name: index for index, name in enumerate(order)} for order in orders)
    for order, places in zip(run.orders, run.places, strict=True):
        if name not in places:
            places[name] = len(order)
            order.append(name)


def _order_of(run: _Run, name: bytes) -> int | None:
    """Return the order in which *name* is close to the last one, if there is one.

    A little before it also counts: several threads may open files side by side.
    """
    for number, places in enumerate(run.places):
        last = places.get(run.last)
        if last is not None and 0 < abs(places[name] - last) <= NEAR:
            return number
    return None
