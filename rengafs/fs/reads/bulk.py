"""Many small versions in one round trip, before anybody has asked for them.

What comes is put into the cache, where the readers find it; who asks for a version that is
on its way waits for it. What does not come, for whatever reason, is asked for by its reader.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

import trio

from rengafs.fs.reads.cache import BlockCache
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.records import Node, Read, ReadResult

log = logging.getLogger(__name__)

AT_A_TIME = 2
"""Requests under way: one is answered while the other is on the line."""
STORED_AT_A_TIME = 2


class ManySource(Protocol):
    """Where many versions come from at once. A `Remote`."""

    async def read_many(self, reads: Sequence[Read]) -> list[tuple[ReadResult, bytes]]:
        """Return many small reads, in order."""


class Bulk:
    """Fetches small versions together.

    :param nursery: where requests run; it must outlive whoever waits for them.
    """

    def __init__(self, source: ManySource, cache: BlockCache, nursery: trio.Nursery) -> None:
        self._source, self._cache, self._nursery = source, cache, nursery
        self._coming: dict[int, trio.Event] = {}
        self._slots = trio.CapacityLimiter(AT_A_TIME)
        self._storing = trio.CapacityLimiter(STORED_AT_A_TIME)
        self.is_kept = True
        """Whether what comes is kept on disk too."""

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
        self._nursery.start_soon(self._fetch, wanted, arrival)

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
        except RengafsError as error:
            log.info("small files are not fetched ahead: %s", error)
        finally:
            for version in wanted:
                del self._coming[version]
            arrival.set()
        if self.is_kept and came:
            async with self._storing:
                await self._cache.put_whole(list(came.items()))

    async def _ask(self, missing: list[int], wanted: dict[int, int]) -> dict[int, bytes]:
        results = await self._source.read_many([Read(version=version) for version in missing])
        came = {}
        for version, (result, data) in zip(missing, results, strict=True):
            if result.problem is None and len(data) == result.size == wanted[version]:
                self._cache.remember((version, 0), data)
                came[version] = data
        return came
