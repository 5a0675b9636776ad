"""The stock of blobs, as sweep and check ask for it."""

from collections.abc import Mapping, Sequence

from rengafs.catalog import saving, stock
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.values import ADMIN, Content


class Blobs(Transactions):
    """What the catalog knows of backends' blobs."""

    def known_keys(self, backend: str, keys: Sequence[str]) -> frozenset[str]:
        """Return which of *keys* (some hundreds) are a blob's."""
        with self._database.read() as connection:
            return stock.known_keys(connection, backend, keys)

    def bytes_of_blobs(self) -> int:
        """Return how many bytes all blobs have."""
        with self._database.read() as connection:
            return stock.bytes_of_blobs(connection)

    def long_keys(self, backend: str, longer_than: int) -> list[str]:
        """Return the keys of a backend's own blobs of more bytes than that."""
        with self._database.read() as connection:
            return stock.long_keys(connection, backend, longer_than)

    def shown_keys(self, backend: str, keys: Sequence[str]) -> frozenset[str]:
        """Return which of *keys* (some hundreds) hold a version that history shows."""
        with self._database.read() as connection:
            return stock.shown_keys(connection, backend, keys)

    def blobs(self, after: int, limit: int) -> list[stock.Known]:
        """Return a page of all blobs, by id."""
        with self._database.read() as connection:
            return stock.list_blobs(connection, after, limit)

    def versions_of(self, blob: int) -> list[int]:
        """Return versions whose bytes a blob holds."""
        with self._database.read() as connection:
            return stock.versions_of(connection, blob)

    def with_pieces(self, content: Content) -> Content:
        """Return *content* with the hashes of its blob's pieces."""
        with self._database.read() as connection:
            return saving.with_pieces(connection, content)

    def sums_agree(self) -> bool:
        """Whether the running sums are what is counted."""
        with self._database.read() as connection:
            kept, counted = stock.sums(connection)
        return kept == counted

    def repair(self, keys: Mapping[int, str]) -> None:
        """Set keys of blobs (by id), and correct the running sums."""
        with self._write(ADMIN) as w:
            stock.set_keys(w, keys)
            stock.correct_sums(w)
