"""Many small versions in one round trip, before anybody has asked for them.

What comes is put into the cache, where the readers find it; who asks for a version that is
on its way waits for it. What does not come, for whatever reason, is asked for by its reader.
"""

from collections.abc import Sequence
from typing import Protocol

import trio

from rengafs.fs.reads.background import attempt
from rengafs.fs.reads.blobfiles import NOWHERE, BlobFiles
from rengafs.fs.reads.cache import BlockCache
from rengafs.protocol.records import Node, Read, ReadResult

AT_A_TIME = 2
"""Requests under way: one is answered while the other is on the line."""
STORED_AT_A_TIME = 2
MOST_STORING = 4
"""Answers that are stored or wait for that. With a disk slower than the line, more than that
are kept in memory only."""


class ManySource(Protocol):
    """Where many versions come from at once. A `Remote`."""

    async def read_many(self, reads: Sequence[Read]) -> list[tuple[ReadResult, bytes]]:
        """Return many small reads, in order."""


class Bulk:
    """Fetches small versions together.

    :param nursery: where requests run; it must outlive whoever waits for them.
    :param blobs: of what lies here, no copy is kept on disk.
    """

    def __init__(
        self,
        source: ManySource,
        cache: BlockCache,
        nursery: trio.Nursery,
        blobs: BlobFiles = NOWHERE,
    ) -> None:
        self._source, self._cache, self._nursery = source, cache, nursery
        self._blobs = blobs
        self._coming: dict[int, trio.Event] = {}
        self._slots = trio.CapacityLimiter(AT_A_TIME)
        self._disk = trio.CapacityLimiter(STORED_AT_A_TIME)
        self._storing = 0

    def fetch(self, nodes: Sequence[Node]) -> None:
        """Begin to fetch the current versions of small files."""
        wanted = {
            node.version: node.size
            for node in nodes
            if node.version is not None
            and node.version not in self._coming
            and self._cache.recall((node.version, 0)) is None
        }
        if not wanted:
            return
        arrival = trio.Event()
        for version in wanted:
            self._coming[version] = arrival
        self._nursery.start_soon(
            attempt, "small files are fetched ahead", self._fetch, wanted, arrival
        )

    async def arrival(self, version: int) -> None:
        """Wait until a version is here, if it is on its way."""
        coming = self._coming.get(version)
        if coming is not None:
            await coming.wait()

    async def _fetch(self, wanted: dict[int, int], arrival: trio.Event) -> None:
        came: dict[int, bytes] = {}
        try:
            async with self._slots:
                missing = await self._cache.missing(list(wanted))
                if missing:
                    came = await self._ask(missing, wanted)
        finally:
            for version in wanted:
                del self._coming[version]
            arrival.set()
        if came and self._storing < MOST_STORING:
            self._storing += 1
            try:
                await self._store(came)
            finally:
                self._storing -= 1

    async def _store(self, came: dict[int, bytes]) -> None:
        version, data = next(iter(came.items()))
        if not await self._blobs.are_here(version, len(data)):
            async with self._disk:
                await self._cache.put_whole(list(came.items()))

    async def _ask(self, missing: list[int], wanted: dict[int, int]) -> dict[int, bytes]:
        results = await self._source.read_many([Read(version=version) for version in missing])
        came = {}
        for version, (result, data) in zip(missing, results, strict=True):
            if result.problem is None and len(data) == result.size == wanted[version]:
                self._cache.remember((version, 0), data)
                came[version] = data
        return came
