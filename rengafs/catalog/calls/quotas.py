"""What buckets hold and may hold, as an administrator sets it."""

from rengafs.catalog import original, tallying
from rengafs.catalog.calls.transactions import Transactions
from rengafs.catalog.nodes import get_node
from rengafs.catalog.values import ADMIN
from rengafs.protocol.records import Node


class Quotas(Transactions):
    """Bounds of buckets."""

    def set_quota(self, bucket: int, quota_bytes: int | None) -> None:
        """Bound what a bucket may hold; None: no longer. Raises `NotFound`."""
        with self._write(ADMIN) as w:
            original.get_bucket(w, bucket)
            tallying.set_quota(w.connection, bucket, quota_bytes)

    def bucket_of(self, number: int) -> Node:
        """Return the bucket where a node stands. Raises `NotFound`."""
        with self._database.read() as connection:
            return get_node(connection, tallying.bucket_of(connection, number))
