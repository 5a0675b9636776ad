"""`BlockCache`: blocks of immutable versions, in memory and on local disk.

A block never goes stale, so nothing here ever asks the service; what is not here is a
miss, and so is what turns out to be damaged. The cache outlives the mount. It is not
where unsent bytes live (`drafts`): all of it may be lost at any moment without harm.
"""

import logging
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
from cachetools import LRUCache

from rengafs.fs.reads.blockfiles import ZEROS, BlockFiles, Survey, needed
from rengafs.protocol.errors import Corrupt

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
PINNED_SHARE = 0.9
"""Of the limit on disk that pins may take; what is read meanwhile needs some, too."""
ENTRY_BYTES = 600
"""What an entry in memory takes beside its bytes: of small ones, more than these."""
DISK_THREADS = 4
"""Enough to keep a disk busy; more would only queue up in the kernel."""


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Where blocks are kept, and how many. Bytes."""

    directory: Path
    limit_bytes: int = 10 << 30
    """On disk. May be passed by a sixteenth for each process that shares the directory.
    0: memory only, and the directory is not looked at."""
    keep_free_bytes: int = 1 << 30
    """Left to others on that disk, whatever the limit says."""
    memory_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What the cache has done since it was made, and what it holds."""

    hits: int
    misses: int
    bytes: int
    """On disk, by the last survey and what was stored since."""
    blocks: int
    damaged: int
    evicted: int


@dataclass(slots=True, eq=False)
class _Reading:
    """A block on its way from disk, for all who want it."""

    over: trio.Event = field(default_factory=trio.Event)
    known: bool = False
    data: bytes | None = None


class BlockCache:
    """The blocks of one catalog. To be used from one trio thread.

    No method raises for what the disk does: the worst is a miss.
    """

    def __init__(
        self, options: CacheOptions, catalog: str, limiter: trio.CapacityLimiter | None = None
    ) -> None:
        self.options = options
        self._files = BlockFiles(options.directory, catalog)
        self._limiter = limiter or trio.CapacityLimiter(DISK_THREADS)
        self._memory: LRUCache[Hashable, bytes] = LRUCache(options.memory_bytes, getsizeof=_held)
        self._reading: dict[tuple[int, int], _Reading] = {}
        self._evicting = trio.Lock()
        self._survey: Survey | None = None
        self._since_survey = 0
        self._full = False
        self._age = 0
        """How often all was forgotten."""
        self._complained = False
        self._hits = self._misses = self._damaged = self._evicted = 0

    # --- blocks -----------------------------------------------------------------------

    async def get(self, version: int, index: int) -> bytes | None:
        """Return a block, or None."""
        key = (version, index)
        while True:
            data = self.recall(key)
            if data is None and key in self._reading:
                # The kernel asks for a block's eight parts side by side: one read for all.
                reading = self._reading[key]
                await reading.over.wait()
                if not reading.known:
                    continue  # its reader was cancelled
                data = reading.data
            elif data is None and self.options.limit_bytes:
                data = await self._read(key)
            if data is None:
                self._misses += 1
            else:
                self._hits += 1
            return data

    async def put(self, version: int, index: int, data: bytes, *, direct: bool = False) -> None:
        """Keep a block: in memory at once, on disk when this returns, if there is room.

        :param direct: past the kernel's page cache.
        """
        self.remember((version, index), data)
        if needed(data) > self.options.limit_bytes:
            return
        try:
            await self._store(version, index, data, direct=direct)
        except OSError as error:
            self._complain(f"blocks are not cached in {self.options.directory}: {error}")

    async def put_whole(self, versions: Sequence[tuple[int, bytes]]) -> None:
        """Keep versions of one block each like `put`, in one turn of a thread for all."""
        size = sum(needed(data) for _, data in versions)
        stored = 0
        if size <= self.options.limit_bytes:
            try:
                if self._is_eviction_due(size):
                    await self._evict(size)
                stored = await trio.to_thread.run_sync(
                    self._files.write_whole,
                    versions,
                    self.options.keep_free_bytes,
                    limiter=self._limiter,
                )
            except OSError:
                pass  # the same will be met below, and told
        for version, data in versions[:stored]:
            self.remember((version, 0), data)
            self._count(needed(data))
        for version, data in versions[stored:]:
            await self.put(version, 0, data)

    async def keep(self, version: int, index: int, data: bytes) -> bool:
        """Store a block of a pinned version; return False where there is no room for it.

        It is not put into memory: nobody is reading it. Raises OSError where the disk refuses.
        """
        await self._store(version, index, data)
        return not self._full

    async def missing_blocks(self, version: int, blocks: int) -> list[int]:
        """Return the indexes below *blocks* that are not on disk."""
        return await trio.to_thread.run_sync(
            self._files.missing_blocks, version, blocks, limiter=self._limiter
        )

    async def pin(self, pin: str, versions: Sequence[int]) -> None:
        """Spare all blocks of these versions from eviction. Raises OSError."""
        await trio.to_thread.run_sync(self._files.pin, pin, versions, limiter=self._limiter)

    async def unpin(self, pin: str) -> None:
        """Let the blocks of a pin be evicted like all others. Raises OSError."""
        await trio.to_thread.run_sync(self._files.unpin, pin, limiter=self._limiter)

    async def room_for(self, pin: str) -> int:
        """Return how many bytes the blocks of a pin may take, beside those of other pins."""
        taken = await trio.to_thread.run_sync(
            partial(self._files.pinned_bytes, but=pin), limiter=self._limiter
        )
        return max(0, int(self.options.limit_bytes * PINNED_SHARE) - taken)

    async def missing_run(self, version: int, first: int, stop: int) -> int:
        """Return the first index from *first* on that need not be fetched, or *stop*."""
        stop = next((i for i in range(first, stop) if (version, i) in self._memory), stop)
        if not self.options.limit_bytes:
            return stop
        return await trio.to_thread.run_sync(
            self._files.missing_run, version, first, stop, limiter=self._limiter
        )

    async def missing(self, versions: Sequence[int]) -> list[int]:
        """Return those of *versions* whose first block is not stored on disk."""
        if not self.options.limit_bytes:
            return list(versions)
        return await trio.to_thread.run_sync(self._files.missing, versions, limiter=self._limiter)

    def remember(self, key: Hashable, data: bytes) -> None:
        """Keep bytes of a version in memory only: a block, or a piece smaller than that."""
        data = ZEROS if data == ZEROS else data
        if _held(data) <= self._memory.maxsize:
            self._memory[key] = data

    def recall(self, key: Hashable) -> bytes | None:
        """Return what is kept in memory under *key*."""
        return self._memory.get(key)

    # --- the whole --------------------------------------------------------------------

    async def begin_anew(self) -> None:
        """Forget all blocks, those of pins too: the numbers of their versions mean others now."""
        self._age += 1
        self._memory.clear()
        if self.options.limit_bytes:
            await trio.to_thread.run_sync(self._files.discard_all, limiter=self._limiter)
            self._survey = None

    async def discard(self, version: int) -> None:
        """Forget all blocks of a version."""
        for key in [key for key in self._memory if isinstance(key, tuple) and key[0] == version]:
            del self._memory[key]
        await trio.to_thread.run_sync(self._files.discard, version, limiter=self._limiter)

    def statistics(self) -> CacheStatistics:
        """Return what was done and what is held."""
        held = self._survey or Survey(0, 0)
        return CacheStatistics(
            hits=self._hits,
            misses=self._misses,
            bytes=held.bytes,
            blocks=held.blocks,
            damaged=self._damaged,
            evicted=self._evicted,
        )

    # --- disk -------------------------------------------------------------------------

    async def _read(self, key: tuple[int, int]) -> bytes | None:
        reading = self._reading[key] = _Reading()
        age = self._age
        try:
            reading.data = await trio.to_thread.run_sync(
                self._files.read, *key, limiter=self._limiter
            )
            reading.known = True
        except Corrupt as error:
            self._damaged += 1
            log.warning("cache: %s", error.message)
            reading.known = True
        except OSError as error:
            self._complain(f"cached blocks can't be read: {error}")
            reading.known = True
        finally:
            del self._reading[key]
            reading.over.set()
        if reading.data is not None and age == self._age:
            self.remember(key, reading.data)
        return reading.data

    async def _store(self, version: int, index: int, data: bytes, *, direct: bool = False) -> None:
        size = needed(data)
        if self._is_eviction_due(size):
            await self._evict(size)
        stored = await self._write(version, index, data, direct=direct)
        if not stored and not self._full:
            await self._evict(size, always=True)
            stored = await self._write(version, index, data, direct=direct)
        if stored:
            self._count(size)
        else:
            self._complain(
                f"blocks are not cached: less than {self.options.keep_free_bytes} bytes are free "
                f"in {self.options.directory}"
            )
        # Others fill this disk: until there is room again, no walk would make any.
        self._full = not stored

    async def _write(self, version: int, index: int, data: bytes, *, direct: bool = False) -> bool:
        keep_free = self.options.keep_free_bytes
        write = partial(self._files.write, version, index, data, keep_free, direct=direct)
        return await trio.to_thread.run_sync(write, limiter=self._limiter)

    def _count(self, size: int) -> None:
        self._since_survey += size
        if self._survey is not None:
            self._survey = Survey(
                self._survey.blocks + 1, self._survey.bytes + size, self._survey.evicted
            )

    def _is_eviction_due(self, size: int) -> bool:
        limit = self.options.limit_bytes
        if self._survey is None:
            # Not with the first block: a walk may take a second, and be for nothing.
            return self._since_survey + size > limit // 64
        # Other processes fill the directory too, hence a new survey now and then.
        return self._survey.bytes + size > limit or self._since_survey > limit // 16

    async def _evict(self, size: int, *, always: bool = False) -> None:
        """Make room for *size* bytes, unless somebody else just has."""
        async with self._evicting:
            if not always and not self._is_eviction_due(size):
                return
            in_memory = {key for key in self._memory if isinstance(key, tuple) and len(key) == 2}
            self._survey = await trio.to_thread.run_sync(
                self._files.evict,
                self.options.limit_bytes - size,
                self.options.keep_free_bytes + size,
                in_memory,
                limiter=self._limiter,
            )
            self._since_survey = 0
            self._evicted += self._survey.evicted

    def _complain(self, text: str) -> None:
        if not self._complained:
            # Once: a full disk would otherwise fill the log's disk as well.
            self._complained = True
            log.warning("cache: %s", text)


def _held(data: bytes) -> int:
    return ENTRY_BYTES + (0 if data is ZEROS else len(data))
