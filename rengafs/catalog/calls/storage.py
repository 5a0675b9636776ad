"""Where a bucket's blobs lie: moves to other backends, and containers that are adopted."""

from collections.abc import Sequence

from rengafs.catalog import adopting, moving
from rengafs.catalog.adopting import Adoption, Object
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.stock import Known
from rengafs.catalog.values import ADMIN, Blob


class Storage(Transactions):
    """Blobs, as they change places."""

    def set_backend(self, bucket: int, backend: str) -> None:
        """Let all further saves go to a backend. Raises `NotFound`, `UnknownBackend`."""
        with self._write(ADMIN) as w:
            moving.set_backend(w, bucket, backend)
            w.complete("move")

    def blobs_elsewhere(self, bucket: int, backend: str, after: int, limit: int) -> list[Known]:
        """Return a page of the bucket's blobs that are not in *backend*."""
        with self._database.read() as connection:
            return moving.blobs_elsewhere(connection, bucket, backend, after, limit)

    def size_elsewhere(self, bucket: int, backend: str) -> int:
        """Return how many bytes all of them have."""
        with self._database.read() as connection:
            return moving.size_elsewhere(connection, bucket, backend)

    def relocate(self, bucket: int, old: int, stored: Blob) -> tuple[bool, bool]:
        """Use a copy from now on; whether it is in use, and whether nobody needs *old* now."""
        with self._write(ADMIN) as w:
            free = moving.relocate(w, bucket, old, stored)
            return (stored.backend, stored.key) in w.adopted, free

    def begin_adoption(self, name: str, backend: str, container: str) -> Adoption:
        """Make a bucket for a container. Raises `AlreadyExists`, `UnknownBackend`."""
        with self._write(ADMIN) as w:
            adoption = adopting.begin(w, name, backend, container)
            w.complete("adopt")
            return adoption

    def adoption(self, bucket: int) -> Adoption:
        """Return which container a bucket shows. Raises `NotFound`."""
        with self._database.read() as connection:
            return adopting.find(connection, bucket)

    def adopt(self, adoption: Adoption, objects: Sequence[Object]) -> tuple[int, int]:
        """Make, update or delete files; return (new versions, deleted files)."""
        with self._write(ADMIN) as w:
            return adopting.take(w, adoption, objects)

    def adopted(self, adoption: Adoption) -> list[tuple[int, str]]:
        """Return (id, key) of live files whose content another program stored."""
        with self._database.read() as connection:
            return adopting.shown(connection, adoption)

    def drop_adopted(self, files: Sequence[int]) -> int:
        """Delete files whose objects are gone."""
        with self._write(ADMIN) as w:
            return adopting.drop(w, files)
