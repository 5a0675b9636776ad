"""Small blobs on their way through the catalog into a backend; see `rengafs.catalog.parking`."""

from collections.abc import Iterable, Sequence

from rengafs.catalog import parking
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.values import ADMIN


class ParkedBlobs(Transactions):
    """The blobs that are parked."""

    def parked_data(self, backend: str, key: str) -> bytes | None:
        """Return the bytes of a parked blob; None if it is not parked any more."""
        with self._database.read() as connection:
            return parking.data_of(connection, backend, key)

    def parked_waiting(self) -> tuple[int, int]:
        """Return how many blobs are parked, and their bytes."""
        with self._database.read() as connection:
            return parking.waiting(connection)

    def take_parked(self, backend: str, older_than_ms: int) -> list[parking.Parked]:
        """Take some blobs of a backend that have been parked for so long."""
        with self._write(ADMIN) as w:
            return parking.take(w, backend, w.now_ms - older_than_ms)

    def settle_parked(self, done: Sequence[parking.Parked]) -> list[str]:
        """Let blobs be in their backend; return the keys there that nothing needs."""
        with self._write(ADMIN) as w:
            return parking.settle(w, done)

    def release_parked(self, numbers: Iterable[int]) -> None:
        """Let others take blobs (by id) that could not be put."""
        with self._write(ADMIN) as w:
            parking.release(w, numbers)
