"""`sweep`: removes blobs that the catalog does not know, and uploads that never ended.

A blob is stored first and known to the catalog a moment later, so what is young is left
alone: it may be an upload under way. What is known is never removed.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import anyio.to_thread

from rengafs.backends.base import HASHED_BYTES, Backend, Listed
from rengafs.catalog.catalog import Catalog

GRACE_SECONDS = 24 * 3600
"""An upload is part of history, or abandoned, long before: see `applying.HELD_SECONDS`."""
AT_ONCE = 500

Looked = Callable[[int], None]
"""Called with how many more blobs were looked at."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    blobs: int
    size: int
    """Bytes of them."""
    temporaries: int


async def sweep(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    *,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
    looked: Looked = lambda count: None,
) -> Swept:
    """Remove what nothing refers to and is older than *grace_seconds*.

    :param dry_run: only count; temporaries are then not counted.
    :param looked: called now and then, with how many more blobs were looked at.
    """
    before = time.time() - grace_seconds
    count = size = temporaries = 0
    for backend in backends.values():
        async for orphan in orphans(catalog, backend, looked):
            if orphan.at > before:
                continue
            if not dry_run:
                await backend.delete(orphan.key)
            count += 1
            size += orphan.size
        if not dry_run:
            needed = partial(_long_keys, catalog, backend.name)
            temporaries += await backend.sweep_temporaries(grace_seconds, needed)
    return Swept(count, size, temporaries)


async def _long_keys(catalog: Catalog, backend: str) -> Sequence[str]:
    return await anyio.to_thread.run_sync(catalog.long_keys, backend, HASHED_BYTES)


async def orphans(catalog: Catalog, backend: Backend, looked: Looked) -> AsyncIterator[Listed]:
    """Yield the blobs of a backend that the catalog does not know."""
    async for several in batches(backend.list()):
        keys = [blob.key for blob in several]
        known = await anyio.to_thread.run_sync(catalog.known_keys, backend.name, keys)
        for blob in several:
            if blob.key not in known:
                yield blob
        looked(len(several))


async def batches(blobs: AsyncIterator[Listed]) -> AsyncIterator[list[Listed]]:
    """Yield *blobs*, some hundreds at a time."""
    several: list[Listed] = []
    async for blob in blobs:
        several.append(blob)
        if len(several) >= AT_ONCE:
            yield several
            several = []
    if several:
        yield several
