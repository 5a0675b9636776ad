"""From the files that are opened to those that will be. A plan only: no I/O, no clock.

``tar``, ``grep -r``, a training loop: they open the small files of a directory one after
another, in the order in which it lists them, or in that in which they were made. Two such
opens begin a run; the next files are then fetched together, more each time as long as they
are opened indeed. What breaks the order ends the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from rengafs.fs.names.listings import Listing
from rengafs.protocol.records import Kind, Node

SMALL_BYTES = 64 << 10
"""Files up to this size are fetched in batches."""
FIRST_BATCH = 8
MOST_FILES = 512
MOST_BYTES = 4 << 20
NEAR = 4
"""How many files of a run may be skipped: because they are empty, or large, or known."""
RUNS = 16
MOST_SORTED = 20_000
"""In a larger directory, only the order of the listing is recognised."""


@dataclass(slots=True, eq=False)
class _Run:
    """How the files of one directory are being opened."""

    orders: tuple[Sequence[bytes], ...]
    places: tuple[dict[bytes, int], ...]
    last: bytes = b""
    length: int = 0
    batch: int = 0
    ahead: set[bytes] = field(default_factory=set)
    """Expected, and not opened yet."""


class Neighbours:
    """The runs of a mount."""

    def __init__(self) -> None:
        self._runs: LRUCache[int, _Run] = LRUCache(RUNS)

    def opened(self, directory: int, name: bytes, listing: Listing) -> list[Node]:
        """Take note that a file was opened; return those to fetch now, often none."""
        run = self._runs.get(directory)
        if run is None or any(name not in places for places in run.places):
            run = self._runs[directory] = _begin(listing)
        order = _order_of(run, name)
        expected = name in run.ahead
        run.ahead.discard(name)
        if order is None and not expected:
            # Elsewhere in the directory: perhaps the beginning of a run, perhaps not.
            run.length, run.batch = 1, 0
            run.ahead.clear()
            run.last = name
            return []
        if order is None or run.places[order][name] > run.places[order][run.last]:
            run.last = name
        run.length += 1
        if order is None or run.length < 2 or len(run.ahead) > run.batch // 2:
            return []
        run.batch = min(max(2 * run.batch, FIRST_BATCH), MOST_FILES)
        return self._next(run, order, listing)

    def _next(self, run: _Run, order: int, listing: Listing) -> list[Node]:
        names, place = run.orders[order], run.places[order][run.last]
        chosen: list[Node] = []
        size = 0
        for index in range(place + 1, min(place + 1 + 4 * run.batch, len(names))):
            other = names[index]
            node = listing.rows.get(other)
            if node is None or other in run.ahead or not is_small(node):
                continue
            size += node.size
            if len(chosen) == run.batch or size > MOST_BYTES:
                break
            run.ahead.add(other)
            chosen.append(node)
        return chosen


def is_small(node: Node) -> bool:
    """Whether a node is a file that is worth fetching together with others."""
    return node.kind is Kind.FILE and node.version is not None and 0 < node.size <= SMALL_BYTES


def _begin(listing: Listing) -> _Run:
    orders: list[list[bytes]] = [list(listing.rows)]
    if len(listing.rows) <= MOST_SORTED:
        orders.append(sorted(listing.rows, key=lambda name: listing.rows[name].id))
    places = tuple({name: index for index, name in enumerate(order)} for order in orders)
    return _Run(tuple(orders), places)


def _order_of(run: _Run, name: bytes) -> int | None:
    """Return the order in which *name* is close to the last one, if there is one.

    A little before it also counts: several threads may open files side by side.
    """
    for number, places in enumerate(run.places):
        last = places.get(run.last)
        if last is not None and 0 < abs(places[name] - last) <= NEAR:
            return number
    return None
