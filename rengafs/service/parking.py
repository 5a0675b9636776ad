"""`Parking`: a distant backend whose small blobs stay in the catalog for a while.

A request to a store takes longer than all else of a small save. So the bytes of a small blob are
given back to the caller, who has them written in the transaction that makes the version: as
durable as that. `settling` puts them into the store soon. Their key begins with ``=``; reading
finds them where they are.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from functools import partial
from uuid import uuid4

import anyio
import anyio.to_thread

from rengafs.backends.base import HASHED_BYTES, Backend, Composition, Stored
from rengafs.backends.merging import Payload, whole
from rengafs.backends.pieces import is_mark
from rengafs.backends.wrapping import Wrapper
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.parking import PARKED, is_parked, settled_key
from rengafs.protocol.errors import BodyMismatch, Corrupt

SMALL_BYTES = 64 << 10
"""The most that is parked. Of 64 KiB a database writes as fast as a store; most source files,
notes and pictures of a page are smaller."""
READERS = 4


class Parking(Wrapper):
    """See the module."""

    def __init__(self, backend: Backend, catalog: Catalog, seconds: float) -> None:
        """Park small blobs for so long; 0: park none, but read what is parked."""
        super().__init__(backend)
        self.seconds = seconds
        self.full = False
        """Whether so much is parked already that small blobs go straight to the store."""
        self._catalog = catalog
        self._readers = anyio.CapacityLimiter(READERS)

    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream; give its bytes back if they are to be parked."""
        if not self.seconds or self.full:
            return await super().put(stream, length)
        first, count = [], 0
        pieces = aiter(stream)
        async for piece in pieces:
            first.append(piece)
            count += len(piece)
            if count > SMALL_BYTES:
                return await super().put(_joined(first, pieces), length)
        data = b"".join(first)
        return Stored(PARKED + uuid4().hex, count, hashlib.sha256(data).hexdigest(), data=data)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        parked = plan.base is not None and is_parked(plan.base)
        small = self.seconds and plan.length <= SMALL_BYTES and plan.base_size <= HASHED_BYTES
        if not parked and not small:
            return await super().compose(plan, payload)
        return await self.put(whole(plan, Payload(plan, payload), partial(self._base, plan)))

    def compose_now(self, plan: Composition, payload: bytes) -> Stored | None:
        """Give the bytes of a small blob back at once, if the payload is all of it."""
        whole_of_it = plan.extents == ((0, plan.length),)
        if not self.seconds or self.full or not whole_of_it or plan.length > SMALL_BYTES:
            return None
        sha256 = hashlib.sha256(payload).hexdigest()
        if plan.payload_sha256 and plan.payload_sha256.lower() != sha256:
            raise BodyMismatch("the payload has another sha256 than was announced")
        return Stored(PARKED + uuid4().hex, len(payload), sha256, data=payload)

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob, wherever it is."""
        data = await self._parked(key) if is_parked(key) else None
        if data is None:
            there = settled_key(key)
            async with aclosing(super().read(there, start, stop, size=size)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        if len(data) != size:
            raise Corrupt(f"the parked blob {key} has {len(data)} bytes, not {size}")
        if start < stop:
            yield data[start:stop]

    async def delete(self, key: str) -> None:
        """Remove a blob from the store; the catalog has dropped it already."""
        await super().delete(settled_key(key))

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a URL for reading what is in the store."""
        return None if is_parked(key) else await super().presign(key, seconds)

    async def _parked(self, key: str) -> bytes | None:
        read = partial(self._catalog.parked_data, self.name, key)
        return await anyio.to_thread.run_sync(read, limiter=self._readers)

    async def _base(self, plan: Composition, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield bytes of a composition's small base, which is compared with its hash."""
        key, size = plan.base or "", plan.base_size
        pieces = [piece async for piece in self.read(key, 0, size, size=size)]
        data = b"".join(pieces)
        known = plan.base_sha256
        if known and not is_mark(known) and hashlib.sha256(data).hexdigest() != known:
            raise Corrupt(f"the blob {key} is damaged; restore it from a backup")
        yield data[start:stop]


async def _joined(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in first:
        yield piece
    async for piece in rest:
        yield piece
