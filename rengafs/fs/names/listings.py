"""Directories whose every name is known: so that no name of theirs must be asked for again.

A listing is kept when a directory was listed from end to end, or when so many of its names
were looked up one by one that a listing is cheaper. The feed and the mount's own changes
keep it right, or end it; while the feed is lost there are none.

What stands at a name may have been changed since: `Touched` knows.
"""

from collections.abc import Callable

from cachetools import LRUCache

from rengafs.fs.names.touched import Touched
from rengafs.protocol.records import ROOT, Node

MOST_NAMES = 120_000
"""Of all listings together. A name costs about 100 bytes here; its node is mostly the inode's."""

LOOKUPS_BEFORE = 4
"""Names of one directory that are asked for one by one, before all of them are."""
MOST_LOOKUPS_BEFORE = 4096
NAMES_FOR_LOOKUP = 250
"""So many names are listed in the time of one look-up, about."""
FILL_NAMES = 10_000
"""A directory of more names than this is not listed for the sake of look-ups."""
COUNTED = 512


class Listing:
    """All names of one directory, and what stood there at *mark*."""

    __slots__ = ("__weakref__", "in_order", "mark", "rows")

    def __init__(self, rows: dict[bytes, Node], mark: int) -> None:
        self.rows = rows
        self.mark = mark
        self.in_order = True
        """Whether the names are in the service's order."""


class Listings:
    """The listings of a mount, by the node of the directory.

    :param fresh: whether something newer than the row is known of a node.
    """

    def __init__(
        self,
        touched: Touched,
        fresh: Callable[[Node], bool] = lambda _: False,
        most_names: int = MOST_NAMES,
    ) -> None:
        self.touched = touched
        self._fresh = fresh
        self.most_names = most_names
        self._kept: LRUCache[int, Listing] = LRUCache(
            most_names, getsizeof=lambda listing: len(listing.rows) + 8
        )
        self._asked: LRUCache[int, int] = LRUCache(COUNTED)
        self._needed: LRUCache[int, int] = LRUCache(COUNTED)

    def get(self, directory: int) -> Listing | None:
        """Return the names of a directory, if all are known."""
        listing = self._kept.get(directory)
        if listing is not None and self.touched.forgotten(listing.mark):
            del self._kept[directory]
            return None
        return listing

    def whole(self, directory: int) -> Listing | None:
        """Return a listing that can be handed out as it is."""
        listing = self.get(directory)
        if listing is None or not listing.in_order:
            return None
        mark, since, fresh = listing.mark, self.touched.since, self._fresh
        if any(since(mark, node.id) and not fresh(node) for node in listing.rows.values()):
            return None  # to ask for them one by one would take longer than for all
        return listing

    def keep(self, directory: int, rows: dict[bytes, Node], mark: int) -> None:
        """Keep all names of a directory, as they were asked for from *mark* on."""
        if directory == ROOT:
            return  # which buckets one may see is changed without a word in the feed
        if len(rows) + 8 <= self.most_names and not self.touched.since(mark, -directory):
            self._kept[directory] = Listing(rows, mark)

    def entered(self, directory: int, name: bytes, node: Node) -> None:
        """Take in that a change of this mount's own has put *node* at a name."""
        self.touched.note(-directory)
        listing = self._kept.get(directory)
        if listing is not None:
            listing.in_order = listing.in_order and name in listing.rows
            listing.rows[name] = node
            if len(listing.rows) > self.most_names:
                del self._kept[directory]

    def left(self, directory: int, name: bytes) -> None:
        """Take in that a change of this mount's own has taken a name away."""
        self.touched.note(-directory)
        listing = self._kept.get(directory)
        if listing is not None:
            listing.rows.pop(name, None)

    def changed(self, directory: int) -> None:
        """Forget a directory: its names have been changed elsewhere, or nobody knows how."""
        self.touched.note(-directory)
        if self._kept.pop(directory, None) is not None:
            # The more often that happens, the less it is worth to list it for look-ups.
            needed = self._needed.get(directory, LOOKUPS_BEFORE)
            self._needed[directory] = min(2 * needed, MOST_LOOKUPS_BEFORE)

    def clear(self) -> None:
        """Forget all: the feed is lost."""
        self._kept.clear()
        self._asked.clear()
        self.touched.note_all()

    def worth_filling(self, directory: int) -> int:
        """Count a name that was not known; return how many names to ask for now: often 0."""
        if directory == ROOT:
            return 0
        asked = self._asked.get(directory, 0) + 1
        needed = self._needed.get(directory, LOOKUPS_BEFORE)
        self._asked[directory] = 0 if asked >= needed else asked
        return min(NAMES_FOR_LOOKUP * needed, FILL_NAMES) if asked >= needed else 0

    def too_many(self, directory: int, names: int) -> None:
        """Note that a directory has more than so many names."""
        needed = self._needed.get(directory, LOOKUPS_BEFORE)
        self._needed[directory] = 8 * needed if names < FILL_NAMES else MOST_LOOKUPS_BEFORE


def key_of(directory: int, name: bytes) -> int:
    """Return by which number `Touched` knows a name of a directory."""
    return hash((directory, name))
