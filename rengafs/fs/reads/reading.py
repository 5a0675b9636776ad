"""`VersionReader`: the bytes of one version, whoever asks, from wherever they are.

Memory, disk, a stream that is bringing them already, or else a new stream: in this order.
What to fetch besides the bytes asked for is `readahead`'s business, fetching is a
`Stream`'s, keeping is the cache's; what is here decides between them. `readers` holds those
of a mount, so that all handles of a version share one.
"""

from collections.abc import Sequence

import trio

from rengafs.fs.reads.background import Task, attempt
from rengafs.fs.reads.blobfiles import NOWHERE, BlobFile, BlobFiles
from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.bulk import Bulk
from rengafs.fs.reads.cache import BLOCK_BYTES, BlockCache
from rengafs.fs.reads.neighbours import SMALL_BYTES
from rengafs.fs.reads.readahead import PIECE_BYTES, Access, Plan, Readahead
from rengafs.fs.reads.streams import Source, Stream
from rengafs.protocol.errors import Corrupt

PATIENCE_SECONDS = 30.0

STORING = 2
"""Blocks on their way to disk, of one reader, before its streams wait for them."""

LONG_BYTES = 64 << 20
"""Of longer versions, the kernel's page cache needs no second copy beside the reader's; and
where keeping a block takes longer than the next one needs to come, that is left out rather
than waited for: it would be had from the disk no faster than from the service."""

WHOLE_SHARE = 4
"""Of the cache's limit: a longer file is not fetched whole for who hops about in it."""


class VersionReader:
    """The bytes of one version of *size* bytes. Any number of handles share it.

    :param nursery: where its streams run; it must outlive the reader.
    :param patience_seconds: how long a read waits for a service that sends nothing.
    """

    def __init__(
        self,
        version: int,
        size: int,
        *,
        source: Source,
        cache: BlockCache,
        budget: Budget,
        nursery: trio.Nursery,
        blobs: BlobFiles = NOWHERE,
        bulk: Bulk | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.version = version
        self.size = size
        self._source, self._cache, self._budget = source, cache, budget
        self._nursery = nursery
        self._patience = patience_seconds
        self._streams: list[Stream] = []
        self._storing = trio.Semaphore(STORING)
        self._thorough: set[Readahead] = set()
        """The handles that want all blocks kept, long as it takes."""
        self._nobody = Readahead(size)
        self._closed = False
        self.is_lost = False
        """Whether the service does not have the version any more, and its number is another's."""
        self._whole: _Whole | None = None
        self._bringing: set[Task] = set()
        self._bulk = bulk
        self._blobs = blobs
        self._blob: BlobFile | None = None
        self._looking = trio.Lock()
        self._looked = size <= SMALL_BYTES
        """Whether it is known if the blob is on this machine; of a small one, not worth asking."""

    async def read(self, offset: int, size: int, pattern: Readahead | None = None) -> bytes:
        """Return *size* bytes from *offset* on; fewer only where the version ends.

        :param pattern: the reads of the handle that asks; `leave` when it is closed.

        Raises what the source raises: `Unavailable` once patience is over, `Corrupt`,
        `NotFound`. Never returns other bytes than the version's.
        """
        self._check_not_lost()
        if self._closed:
            raise trio.ClosedResourceError("this reader is closed")
        stop = min(offset + size, self.size)
        if offset >= stop:
            return b""
        if not self._looked:
            await self._look()
        if self._blob is not None:
            return await self._blob.read(offset, stop)
        pattern = pattern or self._nobody
        if pattern.is_thorough:
            self._thorough.add(pattern)
        plan = pattern.plan(offset, stop - offset)
        if plan.access is not Access.SEQUENTIAL:
            self._leave_run(pattern)
        for ahead in plan.ahead:
            what = f"version {self.version} is fetched ahead"
            task = Task()
            self._bringing.add(task)
            self._nursery.start_soon(attempt, what, self._bring, task, *ahead, pattern)
        parts = []
        while offset < stop:
            end = min(stop, (offset // BLOCK_BYTES + 1) * BLOCK_BYTES)
            part = await self._part(offset, end, plan, pattern)
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def leave(self, pattern: Readahead) -> None:
        """End what is fetched only for the handle of *pattern*: it is closed."""
        self._leave(pattern, self._streams)
        self._thorough.discard(pattern)
        if self._whole is not None and self._whole.pattern is pattern:
            self._whole.scope.cancel()

    def _leave_run(self, pattern: Readahead) -> None:
        # What was foreseen is short, and soon over.
        self._leave(pattern, [stream for stream in self._streams if not stream.whole])

    def _leave(self, pattern: Readahead, streams: Sequence[Stream]) -> None:
        for stream in streams:
            if pattern in stream.users:
                stream.users.discard(pattern)
                if not stream.users:
                    stream.cancel()

    async def aclose(self) -> None:
        """End all streams, and wait for them. Reads that wait fail with `ClosedResourceError`."""
        self._closed = True
        if self._blob is not None:
            self._blob.close()
        await self.end_streams()

    async def end_streams(self) -> None:
        """End all streams, and wait for them: then nothing that they brought is stored any more.

        Reads that wait begin others, where they may.
        """
        # These first: they may be about to begin a stream.
        if self._whole is not None:
            await self._whole.end()
        for task in list(self._bringing):
            await task.end()
        for stream in self._streams:
            stream.cancel()
        for stream in list(self._streams):
            await stream.done.wait()
        # Blocks being stored hold the semaphore: this waits for the last of them.
        for _ in range(STORING):
            await self._storing.acquire()
        for _ in range(STORING):
            self._storing.release()

    async def _look(self) -> None:
        """Find out whether the blob can be read where it lies."""
        async with self._looking:
            if self._looked:
                return
            self._blob = await self._blobs.open(self.version, self.size)
            self._looked = True
            if self._closed and self._blob is not None:
                self._blob.close()

    # --- one part of a read -----------------------------------------------------------

    async def _part(self, start: int, stop: int, plan: Plan, pattern: Readahead) -> bytes:
        """Return bytes from *start* on, at least one, at most to *stop*; all of one block."""
        while True:
            stream = self._stream_at(start)
            if stream is None:
                if self._bulk is not None:
                    # It may stand behind others that nobody answers: then it is asked for alone.
                    with trio.move_on_after(self._patience / 2):
                        await self._bulk.arrival(self.version)
                held = await self._held(start, stop)
                if held is not None:
                    return held
                stream = await self._begin(start, plan)
                if plan.access is Access.RANDOM and pattern.hopped():
                    self._fetch_whole(pattern)
            ahead_to = 0
            if plan.access is Access.SEQUENTIAL and not stream.whole:
                stream.users.add(pattern)
                ahead_to = plan.stream_to
            data = await stream.read(start, min(stop, stream.stop), ahead_to)
            if data is not None:
                return data
            self._check_not_lost()
            if self._closed:
                raise trio.ClosedResourceError("this reader was closed")

    def _check_not_lost(self) -> None:
        if self.is_lost:
            raise Corrupt(
                f"version {self.version} is lost: the service is an older copy of itself",
                version=self.version,
            )

    def _stream_at(self, offset: int) -> Stream | None:
        return next((stream for stream in self._streams if stream.serves(offset)), None)

    async def _held(self, start: int, stop: int) -> bytes | None:
        """Return the bytes if they are in memory or on disk."""
        piece = self._cache.recall((self.version, "piece", start // PIECE_BYTES))
        if piece is not None:
            first = start - start % PIECE_BYTES
            return piece[start - first : stop - first]
        index = start // BLOCK_BYTES
        block = await self._cache.get(self.version, index)
        if block is None:
            return None
        first = index * BLOCK_BYTES
        if len(block) != min(BLOCK_BYTES, self.size - first):
            await self._cache.discard(self.version)  # of a version of another size: not ours
            return None
        return block[start - first : stop - first]

    async def _begin(self, offset: int, plan: Plan) -> Stream:
        """Begin a stream for the missing byte at *offset*, unless somebody just has."""
        start, stop = await self._range(offset, plan)
        existing = self._stream_at(offset)
        if existing is not None:
            return existing
        if self._closed:
            raise trio.ClosedResourceError("this reader was closed")
        whole = stop - start <= BLOCK_BYTES or plan.access is not Access.SEQUENTIAL
        return self._started(start, stop, whole=whole)

    def _started(self, start: int, stop: int, *, whole: bool) -> Stream:
        stream = Stream(
            self._source,
            self._budget,
            self.version,
            start,
            stop,
            size=self.size,
            whole=whole,
            patience_seconds=self._patience,
            deliver=self._deliver,
        )
        self._streams.append(stream)
        self._nursery.start_soon(self._run, stream)
        return stream

    async def _range(self, offset: int, plan: Plan) -> tuple[int, int]:
        """Return what to fetch: from about *offset* to where the plan or what is missing ends."""
        if self.size <= BLOCK_BYTES:
            return 0, self.size
        index = offset // BLOCK_BYTES
        last = self.size if plan.access is Access.SEQUENTIAL else plan.stream_to
        start = max(plan.stream_from, index * BLOCK_BYTES)
        blocks = -(-last // BLOCK_BYTES)
        if blocks > index + 1:
            # One long stream, but not over blocks that are at hand.
            run = await self._cache.missing_run(self.version, index + 1, blocks)
            last = min(last, run * BLOCK_BYTES)
        return start, last

    def _fetch_whole(self, pattern: Readahead) -> None:
        """Have the rest too, in the background, until the handle of *pattern* is closed."""
        fits = self.size <= self._cache.options.limit_bytes // WHOLE_SHARE
        wanted = self._whole is None and not self._blobs.here and pattern is not self._nobody
        if fits and wanted:
            self._whole = _Whole(pattern)
            what = f"version {self.version} is fetched whole"
            self._nursery.start_soon(attempt, what, self._run_whole, self._whole)

    # --- tasks ------------------------------------------------------------------------

    async def _run(self, stream: Stream) -> None:
        try:
            await stream.run()
        finally:
            self._streams.remove(stream)
        if stream.whole and stream.stop - stream.start < BLOCK_BYTES < self.size:
            for number, piece in stream.pieces(PIECE_BYTES):
                self._cache.remember((self.version, "piece", number), piece)

    async def _bring(self, task: "Task", start: int, stop: int, pattern: Readahead) -> None:
        """Have bytes that nobody waits for yet, if they are missing and there is room."""
        try:
            with task.scope:
                start, stop = await self._still_missing(start, stop)
                if start < stop and self._stream_at(start) is None and not self._closed:
                    self._started(start, stop, whole=True).users.add(pattern)
        finally:
            self._bringing.discard(task)
            task.done.set()

    async def _still_missing(self, start: int, stop: int) -> tuple[int, int]:
        """Return what of a range to fetch before it is asked for: (start, start) for nothing."""
        if self.size <= BLOCK_BYTES or not self._budget.has_room(stop - start):
            return start, start  # a small file comes whole, with its first byte
        pieces = range(start // PIECE_BYTES, -(-stop // PIECE_BYTES))
        if all(self._cache.recall((self.version, "piece", number)) for number in pieces):
            return start, start
        blocks = start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)
        stop = min(stop, await self._cache.missing_run(self.version, *blocks) * BLOCK_BYTES)
        under_way = self._stream_at(stop - 1)
        return start, stop if under_way is None else under_way.start

    async def _run_whole(self, whole: "_Whole") -> None:
        run = Readahead(self.size, is_thorough=True)
        blocks = -(-self.size // BLOCK_BYTES)
        try:
            with whole.scope:
                for index in await self._cache.missing_blocks(self.version, blocks):
                    await self.read(index * BLOCK_BYTES, BLOCK_BYTES, run)
        finally:
            self._leave_run(run)
            self._thorough.discard(run)
            self._whole = None
            whole.done.set()

    async def _deliver(self, index: int, block: bytes) -> None:
        if self._leaves_out():
            return  # not even in memory: who wants it kept later must not find it there
        # In memory at once, for whoever comes next; on disk beside the stream. Also if the
        # stream is being cancelled: a tool closes a file as soon as it has the last byte.
        self._cache.remember((self.version, index), block)
        with trio.CancelScope(shield=True):
            await self._storing.acquire()
        self._nursery.start_soon(self._store, index, block)

    def _leaves_out(self) -> bool:
        is_storing = self._storing.value < STORING
        return is_storing and self.size >= LONG_BYTES and not self._thorough

    async def _store(self, index: int, block: bytes) -> None:
        try:
            if not await self._blobs.are_here(self.version, self.size):
                direct = self.size >= LONG_BYTES
                await self._cache.put(self.version, index, block, direct=direct)
        finally:
            self._storing.release()


class _Whole(Task):
    """Fetches a version whole for a handle which hops about in it."""

    def __init__(self, pattern: Readahead) -> None:
        super().__init__()
        self.pattern = pattern
