"""``rengafs bucket move``: a bucket's blobs to another backend, beside the service.

The bucket's further saves go there first of all. Then blob by blob is copied, compared with
its hash, and taken into use in one transaction, so that a move may end at any point: another
one goes on from there. What nobody needs any more is deleted at the end.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

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
"""Commits under way may be composed from a blob that was just moved: it stays for so long."""


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
    moved, free = Moved(), list[Blob]()
    moved.total = await anyio.to_thread.run_sync(catalog.size_elsewhere, bucket, name)
    while True:
        before = moved.blobs
        after = 0
        while page := await anyio.to_thread.run_sync(
            catalog.blobs_elsewhere, bucket, name, after, PAGE
        ):
            await _several(
                _one(catalog, backends, bucket, name, known, moved, free, told) for known in page
            )
            after = page[-1].id
        if moved.blobs == before:
            break  # saves that were under way at the beginning are there by now, too
        moved.failed = 0
    if free:
        await anyio.sleep(SETTLE_SECONDS)
    for blob in free:
        await backends[blob.backend].delete(blob.key)
    return moved


async def _several(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    flights = Flights(AT_ONCE)
    try:
        for work in works:
            await flights.add(work)
        await flights.land()
    finally:
        await flights.cancel()


async def _one(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    bucket: int,
    name: str,
    known: Known,
    moved: Moved,
    free: list[Blob],
    told: Callable[[Moved], None],
) -> None:
    blob, target = known.blob, backends[name]
    content = Content(0, 0, blob.size, blob.sha256, blob)
    if blob.backend not in backends:
        moved.failed += 1
        return
    try:
        pieces = fetch(backends[blob.backend], blob, content, 0, blob.size)
        stored = await target.put(_counted(pieces, moved, told), blob.size)
        if not _same(blob, stored):
            await target.delete(stored.key)
            raise Corrupt("other bytes arrived than were stored")
    except Corrupt:
        moved.failed += 1
        return
    copy = Blob(name, stored.key, stored.size, stored.sha256, stored.pieces)
    used, unneeded = await anyio.to_thread.run_sync(catalog.relocate, bucket, known.id, copy)
    if not used:
        await target.delete(stored.key)
    if unneeded:
        free.append(blob)
    moved.blobs += 1
    moved.size += blob.size
    told(moved)


async def _counted(
    pieces: AsyncGenerator[bytes, None], moved: Moved, told: Callable[[Moved], None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            yield piece
            moved.passed += len(piece)
            told(moved)


def _same(blob: Blob, stored: Stored) -> bool:
    if stored.size != blob.size:
        return False
    if is_mark(blob.sha256):
        # What was read was compared by pieces, where they are known.
        return True
    return stored.sha256 == blob.sha256
