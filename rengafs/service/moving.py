"""``rengafs bucket move``: a bucket's blobs to another backend, beside the service.

The bucket's further saves go there first of all. Then blob by blob is copied, compared with
its hash, and taken into use in one transaction, so that a move may end at any point: another
one goes on from there. What nobody needs any more is deleted at the end.
"""

import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from rengafs.backends.base import Backend, Stored
from rengafs.backends.flights import Flights
from rengafs.backends.pieces import is_mark
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.stock import Known
from rengafs.catalog.values import Blob, Content
from rengafs.protocol.errors import Corrupt, UnknownBackend
from rengafs.service.fetching import fetch

PAGE = 40
AT_ONCE = 4
"""Blobs that are copied at a time."""
SETTLE_SECONDS = 5.0
"""Somebody may be reading a blob that was just moved: it stays for so long."""
MANY = 10_000
"""Blobs that wait for that, at the most."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Moved:
    """How far a move is."""

    blobs: int = 0
    size: int = 0
    """Bytes of them."""
    failed: int = 0
    """Blobs that are missing or damaged; they stay where they are."""
    passed: int = 0
    """Bytes that were read, also of blobs that are not moved yet."""
    total: int = 0
    """Bytes that were elsewhere at the beginning; what is saved meanwhile may add some."""


async def move(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    bucket: int,
    name: str,
    told: Callable[[Moved], None],
) -> Moved:
    """Move a bucket's blobs to the backend *name*. Raises `NotFound`, `UnknownBackend`.

    :param told: is called for every piece of some hundred KiB, and for every blob.
    """
    if name not in backends:
        raise UnknownBackend(f"there is no backend {name!r}; choose of: {', '.join(backends)}")
    await backends[name].space()  # before anything changes: does it work?
    await anyio.to_thread.run_sync(catalog.set_backend, bucket, name)
    total = await anyio.to_thread.run_sync(catalog.size_elsewhere, bucket, name)
    moving = _Moving(catalog, backends, bucket, name, told, Moved(total=total))
    while await moving.round():
        pass  # saves that were under way at the beginning are there by now, too
    await moving.clear(0)
    return moving.moved


@dataclass(slots=True)
class _Moving:
    """A move under way."""

    catalog: Catalog
    backends: Mapping[str, Backend]
    bucket: int
    name: str
    told: Callable[[Moved], None]
    moved: Moved
    unneeded: deque[tuple[float, Blob]] = field(default_factory=deque)
    """What is to be deleted, and when at the earliest."""

    async def round(self) -> bool:
        """Move what is elsewhere; whether there was anything that could be moved."""
        before, after = self.moved.blobs, 0
        self.moved.failed = 0
        while page := await anyio.to_thread.run_sync(
            self.catalog.blobs_elsewhere, self.bucket, self.name, after, PAGE
        ):
            flights = Flights(AT_ONCE)
            try:
                for known in page:
                    await flights.add(self._one(known))
                await flights.land()
            finally:
                with anyio.CancelScope(shield=True):
                    await flights.cancel()
            await self.clear(MANY)
            after = page[-1].id
        return self.moved.blobs > before

    async def clear(self, most: int) -> None:
        """Delete what has lain unneeded for long enough; wait until *most* are left."""
        while self.unneeded:
            wait = self.unneeded[0][0] - anyio.current_time()
            if wait > 0 and len(self.unneeded) <= most:
                return
            await anyio.sleep(max(wait, 0))
            _, blob = self.unneeded.popleft()
            await self.backends[blob.backend].delete(blob.key)

    async def _one(self, known: Known) -> None:
        blob, target = known.blob, self.backends[self.name]
        if blob.backend not in self.backends:
            self.moved.failed += 1
            return
        try:
            content = Content(0, 0, blob.size, blob.sha256, blob)
            pieces = fetch(self.backends[blob.backend], blob, content, 0, blob.size)
            stored = await target.put(self._counted(pieces), blob.size)
            if not _same(blob, stored):
                await target.delete(stored.key)
                raise Corrupt("other bytes arrived than were stored")
        except Corrupt as error:
            self.moved.failed += 1
            log.warning("%s of %s stays there: %s", blob.key, blob.backend, error.message)
            return
        copy = Blob(self.name, stored.key, stored.size, stored.sha256, stored.pieces)
        used, unneeded = await anyio.to_thread.run_sync(
            self.catalog.relocate, self.bucket, known.id, copy
        )
        if not used:
            await target.delete(stored.key)
        if unneeded:
            self.unneeded.append((anyio.current_time() + SETTLE_SECONDS, blob))
        self.moved.blobs += 1
        self.moved.size += blob.size
        self.told(self.moved)

    async def _counted(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece
                self.moved.passed += len(piece)
                self.told(self.moved)


def _same(blob: Blob, stored: Stored) -> bool:
    if stored.size != blob.size:
        return False
    if is_mark(blob.sha256):
        # What was read was compared by pieces, where they are known.
        return True
    return stored.sha256 == blob.sha256
