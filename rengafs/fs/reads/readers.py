"""`Readers`: the readers of a mount, one for each version, so that all its handles share it."""

from collections import OrderedDict
from collections.abc import Sequence

import trio

from rengafs.fs.reads.background import Task
from rengafs.fs.reads.blobfiles import NOWHERE, BlobFiles
from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.bulk import Bulk
from rengafs.fs.reads.cache import BLOCK_BYTES, BlockCache
from rengafs.fs.reads.readahead import Readahead
from rengafs.fs.reads.reading import PATIENCE_SECONDS, VersionReader
from rengafs.fs.reads.streams import Source
from rengafs.protocol.records import Node

IDLE_READERS = 256
IDLE_SECONDS = 30.0
"""Readers are kept for so long after they were used: a file is opened again, or a draft reads
another piece of it. Not for ever: an open blob that is swept takes up its disk until it is closed.
"""

KEEPING = 16
"""New versions on their way to disk; more than that are kept in memory only."""


class Readers:
    """The readers of a mount: one for each version, for as long as anybody wants it."""

    def __init__(
        self,
        source: Source,
        cache: BlockCache,
        budget: Budget,
        nursery: trio.Nursery,
        *,
        blobs: BlobFiles = NOWHERE,
        bulk: Bulk | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        idle: int = IDLE_READERS,
    ) -> None:
        self._bulk = bulk
        self._blobs = blobs
        self._source, self._cache, self._budget = source, cache, budget
        self._nursery = nursery
        self._patience = patience_seconds
        self._idle_limit = idle
        self._keeping = 0
        self._readers: dict[int, VersionReader] = {}
        self._holders: dict[int, int] = {}
        self._idle: OrderedDict[int, float] = OrderedDict()
        """Since when, oldest first."""
        self._expiry: Task | None = None

    def open(self, version: int, size: int) -> VersionReader:
        """Return the reader of a version; `close` it as often."""
        reader = self._readers.get(version)
        if reader is None or reader.is_lost:
            reader = self._readers[version] = VersionReader(
                version,
                size,
                source=self._source,
                cache=self._cache,
                budget=self._budget,
                nursery=self._nursery,
                blobs=self._blobs,
                bulk=self._bulk,
                patience_seconds=self._patience,
            )
        self._idle.pop(version, None)
        self._holders[version] = self._holders.get(version, 0) + 1
        return reader

    async def close(self, reader: VersionReader, pattern: Readahead | None = None) -> None:
        """Give a reader back; *pattern* is that of the handle that had it."""
        if pattern is not None:
            reader.leave(pattern)
        if reader.is_lost:
            await reader.aclose()  # whoever opens its number has another
        version = reader.version
        self._holders[version] -= 1
        if self._holders[version]:
            return
        del self._holders[version]
        if self._readers.get(version) is not reader:
            return  # all were closed meanwhile
        self._idle[version] = trio.current_time()
        if self._expiry is None:
            self._expiry = Task()
            self._nursery.start_soon(self._expire, self._expiry)
        while len(self._idle) > self._idle_limit:
            await self._drop_oldest()

    async def _expire(self, expiry: Task) -> None:
        try:
            with expiry.scope:
                while self._idle:
                    due = next(iter(self._idle.values())) + IDLE_SECONDS
                    if trio.current_time() < due:
                        await trio.sleep_until(due)
                    else:
                        await self._drop_oldest()
        finally:
            self._expiry = None
            expiry.done.set()

    async def _drop_oldest(self) -> None:
        oldest, _ = self._idle.popitem(last=False)
        await self._readers.pop(oldest).aclose()

    def expect(self, nodes: Sequence[Node]) -> None:
        """Fetch the current versions of small files that will probably be opened soon."""
        if self._bulk is not None:
            self._bulk.fetch(nodes)

    def keep(self, version: int, data: bytes) -> None:
        """Cache the whole of a version that has one block at most."""
        if data and len(data) <= BLOCK_BYTES:
            self._cache.remember((version, 0), data)
            if self._keeping < KEEPING:
                self._keeping += 1
                self._nursery.start_soon(self._keep, version, data)

    async def _keep(self, version: int, data: bytes) -> None:
        try:
            if not await self._blobs.are_here(version, len(data)):
                await self._cache.put(version, 0, data)
        finally:
            self._keeping -= 1

    async def read(self, version: int, version_size: int, offset: int, size: int) -> bytes:
        """Return bytes of a version, without a handle."""
        reader = self.open(version, version_size)
        try:
            return await reader.read(offset, size)
        finally:
            await self.close(reader)

    @property
    def held(self) -> list[int]:
        """The versions that somebody is reading."""
        return [version for version in self._readers if version in self._holders]

    async def begin_anew(self) -> None:
        """Keep nothing by its version's number: from now on that may mean another."""
        while self._idle:
            await self._drop_oldest()
        for reader in list(self._readers.values()):
            await reader.end_streams()
        await self._cache.begin_anew()

    def lose(self, version: int) -> None:
        """Have reads of a version fail; who opens that number next has another reader."""
        reader = self._readers.get(version)
        if reader is not None:
            reader.is_lost = True

    async def aclose(self) -> None:
        """Close all readers."""
        self._idle.clear()
        if self._expiry is not None:
            await self._expiry.end()
        while self._readers:
            _, reader = self._readers.popitem()
            await reader.aclose()
