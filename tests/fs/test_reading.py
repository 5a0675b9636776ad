"""Reading versions through cache and streams, from a source whose every byte is counted.

The source serves a real file; it can be cut, stalled, short and refused at will.
"""

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.bulk import MOST_STORING, Bulk
from rengafs.fs.reads.cache import BLOCK_BYTES, BlockCache, CacheOptions
from rengafs.fs.reads.readahead import (
    HOP_BYTES,
    HOPS,
    MAX_WINDOW,
    MOST_STEPS,
    PIECE_BYTES,
    STEPS,
    Readahead,
)
from rengafs.fs.reads.readers import Readers
from rengafs.fs.reads.reading import LONG_BYTES, VersionReader
from rengafs.fs.reads.streams import IDLE_SECONDS
from rengafs.protocol.errors import Corrupt, NotFound, Unavailable, Unreachable
from rengafs.protocol.records import Kind, Node, ReadResult

KIB, MIB = 1 << 10, 1 << 20
ASK = 128 * KIB
VERSION = 300
CHUNK = 64 * KIB


@dataclass
class FileSource:
    """Serves every version from one file, in chunks."""

    path: Path
    streams: list[tuple[int, int]] = field(default_factory=list)
    sent: int = 0
    open_now: int = 0
    open_most: int = 0
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the next streams break, one each."""
    down: bool = False
    stall_at: int | None = None
    """The absolute offset at which a stream hangs for ever."""
    short_by: int = 0
    excess: bytes = b""
    error: Exception | None = None
    bytes_per_second: float = float("inf")
    """Of all streams together."""
    line: trio.Lock = field(default_factory=trio.Lock)

    @asynccontextmanager
    async def stream(self, version, start, stop):
        self.streams.append((start, stop))
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        if self.down:
            raise Unreachable("nobody listens", sent=False)
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            yield self._chunks(start, stop - self.short_by)
        finally:
            self.open_now -= 1

    async def _chunks(self, start, stop):
        left = self.breaks.pop(0) if self.breaks else None
        with self.path.open("rb") as file:
            file.seek(start)
            while start < stop:
                async with self.line:
                    await trio.sleep(CHUNK / self.bytes_per_second)
                if self.stall_at is not None and start >= self.stall_at:
                    await trio.sleep_forever()
                data = file.read(min(CHUNK, stop - start, CHUNK if left is None else left))
                if not data:
                    raise Unreachable("the connection broke", sent=True)
                left = None if left is None else left - len(data)
                start += len(data)
                self.sent += len(data)
                yield data
        if self.excess:
            yield self.excess


@dataclass
class Setup:
    content: bytes
    source: FileSource
    cache: BlockCache
    budget: Budget
    nursery: trio.Nursery
    readers: list[VersionReader] = field(default_factory=list)

    def reader(self, version=VERSION, **options) -> VersionReader:
        reader = VersionReader(
            version,
            len(self.content),
            source=self.source,
            cache=self.cache,
            budget=self.budget,
            nursery=self.nursery,
            **options,
        )
        self.readers.append(reader)
        return reader


@asynccontextmanager
async def setup_of(
    directory, size, *, cached_bytes=64 * MIB, limit_bytes=64 * MIB, disk_bytes=1 << 30
):
    content = random.Random(size).randbytes(size)
    path = directory / "content"
    path.write_bytes(content)
    options = CacheOptions(
        directory / "cache", limit_bytes=disk_bytes, keep_free_bytes=0, memory_bytes=cached_bytes
    )
    budget = Budget(limit_bytes)
    async with trio.open_nursery() as nursery:
        setup = Setup(content, FileSource(path), BlockCache(options, "c"), budget, nursery)
        try:
            yield setup
        finally:
            for reader in setup.readers:
                await reader.aclose()
        # Whatever was read, nothing runs on and nothing is held.
        assert not nursery.child_tasks
        assert budget.used_bytes == 0
        assert budget.connected == 0
        assert setup.source.open_now == 0


async def read_all(reader, pattern, size, ask=ASK) -> bytes:
    return b"".join([await reader.read(offset, ask, pattern) for offset in range(0, size, ask)])


async def test_a_sequential_read_of_64_mib_is_one_stream_and_bounded_memory(tmp_path):
    size = 64 * MIB
    async with setup_of(tmp_path, size, cached_bytes=2 * MIB) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        most = 0

        for offset in range(0, size, ASK):
            data = await reader.read(offset, ASK, pattern)
            assert data == setup.content[offset : offset + ASK]
            most = max(most, setup.budget.used_bytes)

        assert setup.source.streams == [(0, size)]
        assert setup.source.sent == size
        assert most <= MAX_WINDOW + 3 * MIB


async def test_what_was_read_once_is_not_fetched_again(tmp_path):
    size = 5 * MIB + 17
    async with setup_of(tmp_path, size) as setup:
        reader = setup.reader()
        assert await read_all(reader, Readahead(size), size) == setup.content
        await reader.aclose()

        again = setup.reader()
        assert await read_all(again, Readahead(size), size) == setup.content

        assert setup.source.sent == size


async def test_reads_are_short_only_where_the_version_ends(tmp_path):
    async with setup_of(tmp_path, MIB + 10) as setup:
        reader = setup.reader()

        assert await reader.read(MIB, 100) == setup.content[MIB:]
        assert await reader.read(MIB + 10, 100) == b""
        assert await reader.read(5 * MIB, 1) == b""
        assert await reader.read(0, 0) == b""
        assert await reader.read(3, 2 * MIB) == setup.content[3:]


async def test_an_empty_version_is_read_without_asking(tmp_path):
    async with setup_of(tmp_path, 0) as setup:
        assert await setup.reader().read(0, 100) == b""
        assert setup.source.streams == []


async def test_a_small_version_is_fetched_whole_by_one_request(tmp_path):
    async with setup_of(tmp_path, 300 * KIB) as setup:
        reader, pattern = setup.reader(), Readahead(300 * KIB)

        for offset in (200 * KIB, 0, 100 * KIB, 299 * KIB):
            assert await reader.read(offset, KIB, pattern) == setup.content[offset : offset + KIB]

        assert setup.source.streams == [(0, 300 * KIB)]


async def test_a_random_read_fetches_a_piece_and_not_a_block(tmp_path):
    size = 32 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)

        for offset in (20 * MIB + 3, 9 * MIB, 20 * MIB + 7000, 30 * MIB + 100):
            assert await reader.read(offset, 4096, pattern) == setup.content[offset : offset + 4096]

        assert setup.source.sent == 3 * PIECE_BYTES
        assert await setup.cache.get(VERSION, 20) is None


async def test_strides_are_fetched_before_they_are_read_and_nothing_else_is(tmp_path):
    size = 64 * MIB
    async with setup_of(tmp_path, size, disk_bytes=0) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        waited = []

        for offset in range(0, size - 15 * MIB, 3 * MIB):
            before = list(setup.source.streams)
            data = await reader.read(offset, PIECE_BYTES, pattern)
            assert data == setup.content[offset : offset + PIECE_BYTES]
            waited.append(not any(start <= offset < stop for start, stop in before[1:]))
            await trio.testing.wait_all_tasks_blocked()

        assert waited == [True] * (STEPS + 1) + [False] * (len(waited) - STEPS - 1)
        assert setup.source.sent <= 2 * PIECE_BYTES + (len(waited) + MOST_STEPS) * PIECE_BYTES
        assert len(set(setup.source.streams)) == len(setup.source.streams)


async def test_closing_waits_for_what_is_about_to_be_fetched_ahead(tmp_path, monkeypatch):
    size = 40 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        missing_run = setup.cache.missing_run

        async def a_slow_look(*arguments):
            await trio.sleep(0.05)
            return await missing_run(*arguments)

        for offset in range(0, 16 * MIB, 4 * MIB):
            await reader.read(offset, 4096, pattern)
            monkeypatch.setattr(setup.cache, "missing_run", a_slow_look)
        assert setup.nursery.child_tasks  # else closing has nothing to wait for


async def test_a_backward_read_takes_few_requests_and_each_byte_is_sent_once(tmp_path):
    size = 32 * MIB
    async with setup_of(tmp_path, size, disk_bytes=0) as setup:
        reader, pattern = setup.reader(), Readahead(size)

        for offset in range(size - ASK, -1, -ASK):
            data = await reader.read(offset, ASK, pattern)
            assert data == setup.content[offset : offset + ASK]
            await trio.testing.wait_all_tasks_blocked()

        assert len(setup.source.streams) <= size // MIB // 2
        print("SENT", [(a / MIB, b / MIB) for a, b in setup.source.streams])
        assert setup.source.sent <= size + 4 * ASK


async def test_who_closes_the_file_ends_what_was_foreseen(tmp_path):
    size = 64 * MIB
    async with setup_of(tmp_path, size, disk_bytes=0) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        setup.source.stall_at = 10 * MIB
        for offset in range(0, 10 * MIB, 3 * MIB):
            await reader.read(offset, PIECE_BYTES, pattern)
        await trio.testing.wait_all_tasks_blocked()
        assert setup.source.open_now

        reader.leave(pattern)
        await trio.testing.wait_all_tasks_blocked()

        assert not setup.source.open_now


async def test_who_hops_about_long_enough_gets_the_whole_file_in_the_background(tmp_path):
    size = 32 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)

        for block in random.Random(1).sample(range(32), HOPS):
            offset = block * MIB + 5000
            assert await reader.read(offset, 100, pattern) == setup.content[offset : offset + 100]
        assert setup.source.sent < size // 2
        with trio.fail_after(30):
            while await setup.cache.missing_blocks(VERSION, 32):
                await trio.sleep(0.01)

        sent = setup.source.sent
        assert await read_all(reader, pattern, size) == setup.content
        assert setup.source.sent == sent < 2 * size


async def test_who_closes_the_file_ends_what_was_fetched_for_hops(tmp_path):
    size = 200 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        hops = size // HOP_BYTES + 1

        for block in random.Random(1).sample(range(0, 200, 5), hops):
            await reader.read(block * MIB, 100, pattern)
        with trio.fail_after(30):
            while setup.source.sent < 4 * MIB:
                await trio.sleep(0)
        reader.leave(pattern)
        await trio.testing.wait_all_tasks_blocked()
        sent = setup.source.sent
        await trio.sleep(0.2)

        assert setup.source.sent == sent < size


async def test_a_stream_pauses_ahead_of_its_reader(tmp_path):
    size = 64 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)

        await reader.read(0, ASK, pattern)
        await trio.testing.wait_all_tasks_blocked()

        assert 2 * ASK <= setup.source.sent <= 2 * ASK + CHUNK


async def test_a_paused_stream_closes_when_idle_and_the_reader_goes_on_with_another(
    tmp_path, autojump_clock
):
    size = 64 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        await reader.read(0, ASK, pattern)

        await trio.sleep(IDLE_SECONDS + 1)
        assert setup.source.open_now == 0

        assert await reader.read(ASK, ASK, pattern) == setup.content[ASK : 2 * ASK]
        assert await reader.read(2 * ASK, ASK, pattern) == setup.content[2 * ASK : 3 * ASK]
        assert len(setup.source.streams) == 2

        await trio.sleep(2 * IDLE_SECONDS + 1)
        assert setup.budget.used_bytes == 0


async def test_a_reader_that_jumps_away_ends_its_stream(tmp_path):
    size = 64 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        await reader.read(0, ASK, pattern)

        await reader.read(40 * MIB, 4096, pattern)
        await trio.testing.wait_all_tasks_blocked()

        assert setup.source.open_now == 0


async def test_leaving_ends_the_stream_unless_another_handle_reads_on(tmp_path):
    size = 64 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader = setup.reader()
        one, other = Readahead(size), Readahead(size)
        await reader.read(0, ASK, one)
        await reader.read(0, ASK, other)

        reader.leave(one)
        await trio.testing.wait_all_tasks_blocked()
        assert setup.source.open_now == 1

        reader.leave(other)
        await trio.testing.wait_all_tasks_blocked()
        assert setup.source.open_now == 0


async def test_readers_of_the_same_bytes_share_one_fetch(tmp_path):
    size = 16 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader = setup.reader()

        async with trio.open_nursery() as nursery:
            for number in range(20):
                offset = 8 * MIB + number * 100
                nursery.start_soon(reader.read, offset, 100, Readahead(size))

        assert setup.source.streams == [(8 * MIB, 8 * MIB + PIECE_BYTES)]


async def test_parallel_requests_of_one_sequential_reader_share_one_stream(tmp_path):
    size = 8 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader, pattern = setup.reader(), Readahead(size)
        found = {}

        async def read(offset) -> None:
            found[offset] = await reader.read(offset, ASK, pattern)

        for start in range(0, size, 4 * ASK):
            async with trio.open_nursery() as nursery:
                for offset in range(start, start + 4 * ASK, ASK):
                    nursery.start_soon(read, offset)

        assert b"".join(found[offset] for offset in sorted(found)) == setup.content
        assert setup.source.streams == [(0, size)]


async def test_many_handles_of_one_version_each_get_their_bytes(tmp_path):
    size = 12 * MIB
    async with setup_of(tmp_path, size, cached_bytes=MIB, limit_bytes=4 * MIB) as setup:
        reader = setup.reader()

        async def read(seed) -> None:
            chance = random.Random(seed)
            pattern = Readahead(size)
            offset = chance.randrange(size)
            for _ in range(60):
                if chance.random() < 0.1:
                    offset = chance.randrange(size)
                length = chance.randrange(1, 300_000)
                data = await reader.read(offset, length, pattern)
                assert data == setup.content[offset : offset + length]
                offset = (offset + len(data)) % size
            reader.leave(pattern)

        async with trio.open_nursery() as nursery:
            for seed in range(25):
                nursery.start_soon(read, seed)

        assert setup.source.open_most <= setup.budget.connections


async def test_all_blocks_of_a_file_that_is_closed_at_once_are_on_disk(tmp_path):
    size = 6 * MIB + 1
    async with setup_of(tmp_path, size, cached_bytes=0) as setup:
        reader, pattern = setup.reader(), Readahead(size)

        await read_all(reader, pattern, size)
        reader.leave(pattern)
        await reader.aclose()

        assert await setup.cache.missing_run(VERSION, 0, 7) == 0
        for index in range(7):
            assert await setup.cache.get(VERSION, index)


async def test_a_stream_does_not_fetch_blocks_that_are_at_hand(tmp_path):
    size = 8 * MIB
    async with setup_of(tmp_path, size, cached_bytes=0) as setup:
        for index in (3, 4):
            block = setup.content[index * MIB : (index + 1) * MIB]
            await setup.cache.put(VERSION, index, block)

        assert await read_all(setup.reader(), Readahead(size), size) == setup.content

        assert setup.source.streams == [(0, 3 * MIB), (5 * MIB, 8 * MIB)]


async def test_a_damaged_block_is_fetched_again(tmp_path):
    size = 3 * MIB
    async with setup_of(tmp_path, size, cached_bytes=0) as setup:
        assert await read_all(setup.reader(), Readahead(size), size) == setup.content
        await setup.readers[0].aclose()
        for path in (tmp_path / "cache").rglob("00000001"):
            path.write_bytes(path.read_bytes()[:-1] + b"?")

        assert await read_all(setup.reader(), Readahead(size), size) == setup.content

        assert setup.source.streams[1:] == [(MIB, 2 * MIB)]


async def test_the_budget_bounds_all_streams_together(tmp_path):
    size = 20 * MIB
    limit = 8 * MIB
    async with setup_of(tmp_path, size, cached_bytes=0, limit_bytes=limit) as setup:
        most = 0

        async def read(reader) -> None:
            nonlocal most
            pattern = Readahead(size)
            for offset in range(0, size, ASK):
                data = await reader.read(offset, ASK, pattern)
                assert data == setup.content[offset : offset + ASK]
                most = max(most, setup.budget.used_bytes)

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(read, setup.reader())

        # What is waited for is never refused: a block or two for each of six readers.
        assert most <= limit + 6 * 2 * BLOCK_BYTES


async def test_paused_streams_give_their_connections_to_those_who_wait(tmp_path):
    size = 8 * MIB
    async with setup_of(tmp_path, size) as setup:
        readers = [setup.reader() for _ in range(3 * setup.budget.connections)]

        for reader in readers:
            await reader.read(0, ASK, Readahead(size))
        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(reader.read, 5 * MIB, 4096, Readahead(size))

        assert setup.source.open_most <= setup.budget.connections


async def finish_times(setup, count, size) -> list[float]:
    """Read so many versions side by side; return the seconds after which each was read."""
    times = []

    async def read(reader) -> None:
        pattern = Readahead(size)
        for offset in range(0, size, ASK):
            data = await reader.read(offset, ASK, pattern)
            assert data == setup.content[offset : offset + ASK]
        reader.leave(pattern)
        times.append(trio.current_time())

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for version in range(count):
            nursery.start_soon(read, setup.reader(version + 1))
    return [time - began for time in times]


@pytest.mark.parametrize(("count", "blocks"), [(13, 24), (64, 8)])
async def test_readers_by_the_dozen_share_a_slow_line_fairly(
    tmp_path, count, blocks, autojump_clock
):
    size = blocks * MIB
    # Without a disk: a virtual clock does not wait for threads.
    async with setup_of(tmp_path, size, cached_bytes=MIB, disk_bytes=0) as setup:
        setup.source.bytes_per_second = 4 * MIB

        times = await finish_times(setup, count, size)

        assert max(times) <= 2 * min(times)
        assert setup.source.open_most <= setup.budget.connections
        assert setup.source.sent <= 1.1 * count * size


async def test_who_waits_for_a_connection_is_told_when_nothing_comes_for_anybody(
    tmp_path, autojump_clock
):
    size = 4 * MIB
    async with setup_of(tmp_path, size, disk_bytes=0) as setup:
        setup.source.stall_at = 0
        began = trio.current_time()

        async def read(version) -> None:
            with pytest.raises(Unreachable):
                await setup.reader(version, patience_seconds=30).read(0, ASK)

        async with trio.open_nursery() as nursery:
            for version in range(3 * setup.budget.connections):
                nursery.start_soon(read, version + 1)

        assert trio.current_time() - began <= 61


async def test_a_broken_stream_resumes_at_the_byte_where_it_broke(tmp_path, autojump_clock):
    size = 4 * MIB
    async with setup_of(tmp_path, size) as setup:
        setup.source.breaks = [100_001, 0, 0, 1, MIB]

        assert await read_all(setup.reader(), Readahead(size), size) == setup.content

        assert [start for start, _ in setup.source.streams] == [
            0,
            100_001,
            100_001,
            100_001,
            100_002,
            100_002 + MIB,
        ]
        assert setup.source.sent == size


async def test_a_service_that_comes_back_in_time_is_not_noticed(tmp_path, autojump_clock):
    async with setup_of(tmp_path, MIB) as setup:
        setup.source.down = True

        async def come_back() -> None:
            await trio.sleep(20)
            setup.source.down = False

        setup.nursery.start_soon(come_back)

        assert await setup.reader().read(0, MIB) == setup.content


async def test_patience_ends_and_the_reader_gets_the_error(tmp_path, autojump_clock):
    async with setup_of(tmp_path, MIB) as setup:
        setup.source.down = True
        reader = setup.reader(patience_seconds=30)
        began = trio.current_time()

        with pytest.raises(Unavailable):
            await reader.read(0, 10)

        assert 25 <= trio.current_time() - began <= 30
        setup.source.down = False
        assert await reader.read(0, 10) == setup.content[:10]


async def test_a_silent_service_is_given_up_after_another_try(tmp_path, autojump_clock):
    async with setup_of(tmp_path, 4 * MIB) as setup:
        setup.source.stall_at = 2 * CHUNK
        reader = setup.reader(patience_seconds=30)
        pattern = Readahead(4 * MIB)
        began = trio.current_time()

        assert await reader.read(0, CHUNK, pattern) == setup.content[:CHUNK]
        with pytest.raises(Unreachable):
            await reader.read(CHUNK, 2 * CHUNK, pattern)

        assert trio.current_time() - began <= 31
        assert len(setup.source.streams) >= 2


@pytest.mark.parametrize("error", [NotFound("gone"), Corrupt("bad hash")])
async def test_other_errors_reach_the_reader_at_once(tmp_path, error, autojump_clock):
    async with setup_of(tmp_path, MIB) as setup:
        setup.source.error = error
        began = trio.current_time()

        async def read() -> None:
            with pytest.raises(type(error), match=str(error)):
                await setup.reader().read(0, 10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)

        assert trio.current_time() == began


@pytest.mark.parametrize("size", [1000, 3 * MIB])
@pytest.mark.parametrize("fault", ["short", "long"])
async def test_a_wrong_length_is_corrupt_never_wrong_bytes(tmp_path, size, fault, caplog):
    async with setup_of(tmp_path, size) as setup:
        setup.source.short_by = 5 if fault == "short" else 0
        setup.source.excess = b"more" if fault == "long" else b""
        reader, pattern = setup.reader(), Readahead(size)

        if fault == "short":
            with pytest.raises(Corrupt):
                await read_all(reader, pattern, size)
        else:
            assert await read_all(reader, pattern, size) == setup.content
            while setup.source.open_now:
                await trio.sleep(0.001)

        assert str(VERSION) in caplog.text


async def test_a_cancelled_read_leaves_the_others_alone(tmp_path):
    size = 8 * MIB
    async with setup_of(tmp_path, size) as setup:
        reader = setup.reader()
        results = []

        async def read() -> None:
            results.append(await reader.read(0, MIB, Readahead(size)))

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(read)
            with scope:
                scope.cancel()
                await reader.read(0, MIB)

        assert results == [setup.content[:MIB]]


async def test_closing_ends_reads_that_wait(tmp_path):
    async with setup_of(tmp_path, 4 * MIB) as setup:
        setup.source.stall_at = 0
        reader = setup.reader()

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await reader.read(0, 10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await reader.aclose()

        with pytest.raises(trio.ClosedResourceError):
            await reader.read(0, 10)


class SilentMany:
    """Never answers to many reads at once."""

    async def read_many(self, reads):
        await trio.sleep_forever()


async def test_a_file_whose_batch_does_not_come_is_asked_for_alone(tmp_path, autojump_clock):
    async with setup_of(tmp_path, 5000, disk_bytes=0) as setup, trio.open_nursery() as nursery:
        bulk = Bulk(SilentMany(), setup.cache, nursery)
        bulk.fetch([Node(id=1, kind=Kind.FILE, mode=0, size=5000, version=VERSION)])
        began = trio.current_time()

        reader = setup.reader(bulk=bulk, patience_seconds=30)

        assert await reader.read(0, 5000) == setup.content
        assert trio.current_time() - began <= 30
        nursery.cancel_scope.cancel()


class Many:
    """Answers many reads at once, all alike."""

    async def read_many(self, reads):
        return [
            (ReadResult(version=read.version, offset=0, payload=4096, size=4096), b"x" * 4096)
            for read in reads
        ]


class SlowCache(BlockCache):
    """On a disk that stores nothing until it is told to."""

    async def missing(self, versions):
        return list(versions)

    async def put_whole(self, versions):
        await self.may_store.wait()


async def test_answers_that_wait_for_a_slow_disk_are_bounded(tmp_path):
    cache = SlowCache(CacheOptions(tmp_path), "c")
    cache.may_store = trio.Event()
    async with trio.open_nursery() as nursery:
        bulk = Bulk(Many(), cache, nursery)
        for version in range(1, 4 * MOST_STORING):
            bulk.fetch([Node(id=version, kind=Kind.FILE, mode=0, size=4096, version=version)])
        await trio.testing.wait_all_tasks_blocked()

        assert len(nursery.child_tasks) == MOST_STORING
        assert cache.recall((4 * MOST_STORING - 1, 0)) == b"x" * 4096
        cache.may_store.set()


@pytest.mark.parametrize(
    ("size", "is_thorough", "kept"),
    [
        (LONG_BYTES, False, 1),
        (LONG_BYTES, True, LONG_BYTES // MIB),
        (LONG_BYTES - MIB, False, LONG_BYTES // MIB - 1),
    ],
    ids=["long", "thorough", "short"],
)
async def test_a_slow_disk_holds_up_only_who_wants_all_kept(
    tmp_path, monkeypatch, size, is_thorough, kept
):
    async with setup_of(tmp_path, size, cached_bytes=2 * MIB) as setup:
        may_store, put = trio.Event(), setup.cache.put

        async def put_later(*arguments, **options):
            await may_store.wait()
            await put(*arguments, **options)

        monkeypatch.setattr(setup.cache, "put", put_later)
        reader, pattern = setup.reader(), Readahead(size, is_thorough=is_thorough)
        read = trio.Event()

        async def read_through() -> None:
            assert await read_all(reader, pattern, size) == setup.content
            read.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_through)
            if kept == 1:
                with trio.fail_after(60):
                    await read.wait()
            else:
                await trio.testing.wait_all_tasks_blocked(0.2)
                assert not read.is_set()
            may_store.set()
        reader.leave(pattern)
        await reader.end_streams()

        blocks = size // MIB
        assert blocks - len(await setup.cache.missing_blocks(VERSION, blocks)) == kept


async def test_numbers_that_mean_other_versions_now_are_read_anew(tmp_path):
    async with setup_of(tmp_path, MIB) as setup:
        readers = Readers(setup.source, setup.cache, setup.budget, setup.nursery)
        old = setup.content[5:15]
        held, lost = readers.open(1, MIB), readers.open(2, MIB)
        for version in (1, 2, 3):
            assert await readers.read(version, MIB, 5, 10) == old
        new = bytes(byte ^ 1 for byte in setup.content)
        setup.source.path.write_bytes(new)

        assert sorted(readers.held) == [1, 2]
        readers.lose(2)
        readers.lose(4)  # nobody has it open
        await readers.begin_anew()

        assert await readers.read(3, MIB, 5, 10) == new[5:15]
        assert await readers.read(2, MIB, 5, 10) == new[5:15]
        with pytest.raises(Corrupt, match="is lost"):
            await lost.read(5, 10)
        assert await held.read(5, 10) == new[5:15]  # of the source: it is there still
        for reader in (held, lost):
            await readers.close(reader)
        await readers.aclose()


async def test_readers_shares_one_reader_a_version_and_forgets_the_idle(tmp_path):
    async with setup_of(tmp_path, MIB) as setup:
        readers = Readers(setup.source, setup.cache, setup.budget, setup.nursery, idle=2)
        first = readers.open(1, MIB)
        assert readers.open(1, MIB) is first
        await readers.close(first)
        await readers.close(first)
        assert readers.open(1, MIB) is first
        await readers.close(first)

        for version in (2, 3):
            assert await readers.read(version, MIB, 5, 10) == setup.content[5:15]

        assert readers.open(1, MIB) is not first
        await readers.aclose()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(), size=st.sampled_from([1, 70_000, MIB, MIB + 1, 3 * MIB + 12345]))
def test_any_pattern_of_reads_gives_the_bytes_of_the_version(tmp_path_factory, seed, size):
    async def run() -> None:
        directory = tmp_path_factory.mktemp("reads")
        async with setup_of(directory, size, cached_bytes=MIB, limit_bytes=2 * MIB) as setup:
            chance = random.Random(seed)
            reader, pattern = setup.reader(), Readahead(size)
            for _ in range(40):
                offset, length = chance.randrange(size + 10), chance.randrange(MIB)
                if chance.random() < 0.2:
                    setup.source.breaks.append(chance.randrange(1, 200_000))
                data = await reader.read(offset, length, pattern)
                assert data == setup.content[offset : offset + length]

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0.01))
