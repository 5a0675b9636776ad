"""The block cache on a real disk: damaged, shared, full, evicted, restarted."""

import os
import subprocess
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from support.disks import small_disk

from rengafs.fs.reads import blockfiles
from rengafs.fs.reads.blockfiles import HEADER, UNIT, BlockFiles
from rengafs.fs.reads.cache import BLOCK_BYTES, ENTRY_BYTES, BlockCache, CacheOptions

CATALOG = "a catalog/.. of any name"
PLENTY = 1 << 30


def cache_at(directory: Path, **options) -> BlockCache:
    given = {"limit_bytes": PLENTY, "keep_free_bytes": 0, "memory_bytes": 0} | options
    return BlockCache(CacheOptions(directory, **given), CATALOG)


def block_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def disk_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in block_files(directory))


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk() as path:
        yield path


async def test_a_block_comes_back_as_it_was_put(tmp_path):
    cache = cache_at(tmp_path)
    data = os.urandom(BLOCK_BYTES)

    await cache.put(300, 7, data)
    await cache.put(300, 8, b"short")
    await cache.put(301, 7, b"")

    assert await cache.get(300, 7) == data
    assert await cache.get(300, 8) == b"short"
    assert await cache.get(301, 7) == b""
    assert await cache.get(301, 8) is None
    assert await cache.get(2**64 - 1, 2**40) is None


@pytest.mark.parametrize("memory_bytes", [0, 1 << 20])
async def test_when_numbers_mean_other_versions_nothing_is_there(tmp_path, memory_bytes):
    cache = cache_at(tmp_path, memory_bytes=memory_bytes)
    another = BlockCache(cache.options, "another catalog")
    await another.put(300, 0, b"another's")
    await cache.pin("a" * 32, [300])
    await cache.put(300, 0, b"lost")
    await cache.put(301, 1, b"lost")

    await cache.begin_anew()

    assert await cache.get(300, 0) is None
    assert await cache.get(301, 1) is None
    assert await another.get(300, 0) == b"another's"
    await cache.put(300, 0, b"made")
    assert await cache.get(300, 0) == b"made"


async def test_many_versions_are_kept_in_one_turn(tmp_path):
    cache = cache_at(tmp_path)
    versions = [(number, os.urandom(number)) for number in range(300, 340)]

    await cache.put_whole(versions)

    assert all([await cache.get(number, 0) == data for number, data in versions])
    assert len(block_files(tmp_path)) == 40


async def test_of_many_versions_those_are_kept_for_which_there_is_room(disk):
    (disk / "cache").mkdir()
    cache = cache_at(disk / "cache", keep_free_bytes=1 << 20)

    await cache.put_whole([(number, os.urandom(BLOCK_BYTES // 2)) for number in range(12)])

    status = os.statvfs(disk)
    assert status.f_bavail * status.f_frsize >= 1 << 20
    assert len(block_files(disk / "cache")) > 0


async def test_a_new_cache_finds_the_blocks_of_the_last_one(tmp_path):
    await cache_at(tmp_path).put(300, 0, b"kept")

    again = cache_at(tmp_path)

    assert await again.get(300, 0) == b"kept"
    assert again.statistics().hits == 1
    assert BlockFiles(tmp_path, CATALOG).survey().blocks == 1


async def test_catalogs_do_not_see_each_others_blocks(tmp_path):
    options = CacheOptions(tmp_path, keep_free_bytes=0, memory_bytes=0)
    await BlockCache(options, "one").put(300, 0, b"of one")

    assert await BlockCache(options, "other").get(300, 0) is None


async def test_memory_serves_what_the_disk_has_lost(tmp_path):
    cache = cache_at(tmp_path, memory_bytes=BLOCK_BYTES)
    await cache.put(300, 0, b"hot")

    for path in block_files(tmp_path):
        path.unlink()

    assert await cache.get(300, 0) == b"hot"


async def test_memory_is_bounded(tmp_path):
    limit = 10 * (ENTRY_BYTES + 10)
    cache = cache_at(tmp_path, memory_bytes=limit, limit_bytes=0)

    for index in range(50):
        await cache.put(300, index, bytes(10))

    assert [index for index in range(50) if cache.recall((300, index)) is not None] == list(
        range(40, 50)
    )
    await cache.put(300, 99, bytes(limit))
    assert cache.recall((300, 99)) is None


async def test_small_blocks_in_memory_take_no_more_than_they_count(tmp_path):
    limit = 8 << 20
    cache = cache_at(tmp_path, memory_bytes=limit, limit_bytes=0)
    tracemalloc.start()
    try:
        for version in range(60_000):
            cache.remember((version, 0), version.to_bytes(20))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert limit // 2 < taken < limit * 5 // 4


async def test_blocks_of_zeros_cost_next_to_nothing(tmp_path):
    cache = cache_at(tmp_path, memory_bytes=BLOCK_BYTES, limit_bytes=100 * UNIT)

    for index in range(50):
        await cache.put(300, index, bytes(BLOCK_BYTES))
    await cache.put(300, 50, bytes(777))

    assert disk_bytes(tmp_path) == 51 * HEADER.size
    assert all(cache.recall((300, index)) == bytes(BLOCK_BYTES) for index in range(50))
    again = cache_at(tmp_path)
    assert all([await again.get(300, index) == bytes(BLOCK_BYTES) for index in range(50)])
    assert await again.get(300, 50) == bytes(777)
    assert await again.missing_blocks(300, 52) == [51]


async def test_a_block_that_lost_its_bytes_is_not_taken_for_zeros(tmp_path):
    cache = cache_at(tmp_path)
    await cache.put(300, 2, os.urandom(5000))
    (path,) = block_files(tmp_path)
    os.truncate(path, HEADER.size)

    assert await cache.get(300, 2) is None
    assert cache.statistics().damaged == 1


@pytest.mark.parametrize("place", ["header", "middle", "end", "cut", "grown", "empty"])
async def test_a_damaged_block_is_a_miss_told_once_and_dropped(tmp_path, caplog, place):
    cache = cache_at(tmp_path)
    await cache.put(300, 2, os.urandom(5000))
    (path,) = block_files(tmp_path)
    content = bytearray(path.read_bytes())
    match place:
        case "header":
            content[5] ^= 1
        case "middle":
            content[HEADER.size + 2500] ^= 0x10
        case "end":
            content[-1] ^= 0x80
        case "cut":
            del content[-1]
        case "grown":
            content += b"\0"
        case "empty":
            content.clear()
    path.write_bytes(content)

    assert await cache.get(300, 2) is None
    assert await cache.get(300, 2) is None

    assert not path.exists()
    assert cache.statistics().damaged == 1
    assert [record.message for record in caplog.records if "version 300" in record.message]


async def test_a_block_under_another_ones_name_is_damaged(tmp_path):
    cache = cache_at(tmp_path)
    await cache.put(300, 2, b"of 300")
    (path,) = block_files(tmp_path)
    path.rename(path.with_name(f"{3:08x}"))

    assert await cache.get(300, 3) is None
    assert cache.statistics().damaged == 1


async def test_verify_finds_and_drops_what_is_damaged(tmp_path):
    cache = cache_at(tmp_path)
    for index in range(5):
        await cache.put(300, index, os.urandom(100))
    path = block_files(tmp_path)[3]
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    found = sorted(BlockFiles(tmp_path, CATALOG).verify())

    assert found == [(300, index, index != 3) for index in range(5)]
    assert not path.exists()


async def test_the_least_recently_used_blocks_go_first(tmp_path):
    cache = cache_at(tmp_path, limit_bytes=40 * 8192)
    for index in range(30):
        await cache.put(300, index, os.urandom(8000))
    for index in range(10):
        assert await cache.get(300, index)

    for index in range(30, 50):
        await cache.put(300, index, os.urandom(8000))

    assert disk_bytes(tmp_path) <= 40 * 8192
    left = {index for index in range(50) if await cache.get(300, index)}
    assert set(range(30, 50)) <= left
    assert set(range(10)) <= left
    assert not set(range(10, 20)) & left
    statistics = cache.statistics()
    assert statistics.evicted == 50 - len(left)
    assert statistics.blocks == len(left)


async def test_the_first_block_of_a_small_cache_is_kept_in_a_place_that_is_not_there_yet(tmp_path):
    await cache_at(tmp_path / "new", limit_bytes=8192 * 9).put(300, 0, bytes([7]) * 8000)

    assert await cache_at(tmp_path / "new").get(300, 0) == bytes([7]) * 8000


async def test_recency_survives_a_restart(tmp_path):
    first = cache_at(tmp_path)
    for index in range(20):
        await first.put(300, index, os.urandom(8000))
    assert await first.get(300, 0)

    second = cache_at(tmp_path, limit_bytes=10 * 8192)
    await second.put(301, 0, os.urandom(8000))

    assert await second.get(300, 0)
    assert await second.get(300, 1) is None
    assert disk_bytes(tmp_path) <= 10 * 8192


async def test_a_block_read_from_memory_counts_as_used(tmp_path):
    cache = cache_at(tmp_path, limit_bytes=20 * 8192, memory_bytes=2 * 8000)
    await cache.put(300, 0, os.urandom(8000))

    for index in range(1, 40):
        assert await cache.get(300, 0)
        await cache.put(300, index, os.urandom(8000))

    restarted = cache_at(tmp_path)
    assert await restarted.get(300, 0)


async def test_two_caches_share_a_directory_and_its_limit(tmp_path):
    limit = 100 * 8192
    caches = [cache_at(tmp_path, limit_bytes=limit) for _ in range(2)]
    blocks = {index: os.urandom(8000) for index in range(400)}
    found = Counter()

    async def fill(mine: BlockCache, others: BlockCache, start: int) -> None:
        for index in range(start, 400, 2):
            await mine.put(300, index, blocks[index])
            for asked in (index, index - 7, index // 2):
                data = await others.get(300, asked)
                assert data is None or data == blocks[asked]
                found[data is not None] += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill, caches[0], caches[1], 0)
        nursery.start_soon(fill, caches[1], caches[0], 1)

    assert disk_bytes(tmp_path) <= limit * 9 // 8
    assert found[True]
    assert not [path for path in block_files(tmp_path) if path.name.startswith(".")]
    assert sum(cache.statistics().damaged for cache in caches) == 0


async def test_files_that_vanish_are_misses(tmp_path):
    cache = cache_at(tmp_path)
    await cache.put(300, 0, b"here")

    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)

    assert await cache.get(300, 0) is None
    await cache.put(300, 0, b"again")
    assert await cache.get(300, 0) == b"again"


async def test_a_full_disk_is_told_once_and_is_no_error(disk, caplog):
    (disk / "others").write_bytes(bytes(3 << 20))
    (disk / "more").write_bytes(bytes((1 << 20) - 8192))
    cache = cache_at(disk)

    for index in range(4):
        await cache.put(300, index, os.urandom(BLOCK_BYTES))

    assert await cache.get(300, 0) is None
    assert len([record for record in caplog.records if "not cached" in record.message]) == 1
    assert {path.name for path in block_files(disk)} == {"others", "more"}


async def test_blocks_make_room_on_a_disk_that_others_fill(disk):
    (disk / "cache").mkdir()
    cache = cache_at(disk / "cache", keep_free_bytes=1 << 20)

    for index in range(6):
        await cache.put(300, index, os.urandom(BLOCK_BYTES - HEADER.size))
        status = os.statvfs(disk)
        assert status.f_bavail * status.f_frsize >= 1 << 20

    assert await cache.get(300, 5)
    assert await cache.get(300, 0) is None
    assert cache.statistics().evicted > 0


async def test_a_cache_without_a_place_to_write_still_serves_memory(tmp_path, caplog):
    (tmp_path / "file").write_text("not a directory")
    cache = cache_at(tmp_path / "file", memory_bytes=BLOCK_BYTES)

    await cache.put(300, 0, b"x")

    assert await cache.get(300, 0) == b"x"
    assert await cache.get(300, 1) is None
    assert len(caplog.records) == 1


async def test_what_is_not_a_block_is_never_removed(tmp_path):
    mine = [tmp_path / "thesis.odt", tmp_path / "ab" / "cd" / "00000000"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100_000))
    cache = cache_at(tmp_path, limit_bytes=50_000)

    for index in range(20):
        await cache.put(300, index, os.urandom(8000))
    BlockFiles(tmp_path, CATALOG).clear()

    assert block_files(tmp_path) == sorted(mine)


async def test_discard_forgets_one_version_clear_all(tmp_path):
    cache = cache_at(tmp_path, memory_bytes=BLOCK_BYTES)
    for version in (300, 301):
        await cache.put(version, 0, b"x")
        cache.remember((version, 0, 1), b"piece")

    await cache.discard(300)
    assert await cache.get(300, 0) is None
    assert cache.recall((300, 0, 1)) is None
    assert await cache.get(301, 0) == b"x"

    BlockFiles(tmp_path, CATALOG).clear()
    assert await cache_at(tmp_path).get(301, 0) is None
    assert block_files(tmp_path) == []


async def test_a_walk_that_remembers_few_files_evicts_as_many_as_must_go(tmp_path, monkeypatch):
    monkeypatch.setattr(blockfiles, "EVICTED_AT_A_TIME", 7)
    cache = cache_at(tmp_path)
    for index in range(60):
        await cache.put(300, index, os.urandom(8000))

    found = BlockFiles(tmp_path, CATALOG).evict(20 * 8192, 0, set())

    left = [index for index in range(60) if await cache.get(300, index)]
    assert left == list(range(60 - found.blocks, 60))
    assert found.bytes == found.blocks * 8192 <= 20 * 8192
    assert found.evicted == 60 - found.blocks


async def test_a_place_that_can_not_be_looked_at_holds_nothing_and_is_no_error(tmp_path, caplog):
    cache = cache_at(tmp_path / ("long" * 100))  # ENAMETOOLONG, for root too

    assert await cache.missing_run(300, 2, 9) == 9
    assert await cache.missing_blocks(300, 3) == [0, 1, 2]
    assert await cache.missing([300, 301]) == [300, 301]
    assert await cache.get(300, 0) is None
    await cache.put(300, 0, b"x")
    await cache.discard(300)
    assert len(caplog.records) == 1


async def test_readers_of_one_block_share_one_read_even_if_the_first_is_cancelled(tmp_path):
    cache = cache_at(tmp_path)
    await cache.put(300, 0, os.urandom(BLOCK_BYTES))
    results = []

    async def read() -> None:
        results.append(await cache.get(300, 0))

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                first.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(read)
                nursery.start_soon(read)
                scope.cancel()

    assert [len(data) for data in results if data] >= [BLOCK_BYTES] * 2


async def test_missing_run_ends_at_the_first_block_that_is_stored(tmp_path):
    cache = cache_at(tmp_path)

    assert await cache.missing_run(300, 0, 10) == 10
    await cache.put(300, 4, b"x")
    assert await cache.missing_run(300, 0, 10) == 4
    assert await cache.missing_run(300, 4, 10) == 4
    assert await cache.missing_run(300, 5, 10) == 10


async def test_without_a_disk_the_memory_is_the_cache(tmp_path):
    cache = cache_at(tmp_path / "never", limit_bytes=0, memory_bytes=BLOCK_BYTES)
    await cache.put(300, 4, b"x")
    cache.remember((300, "piece", 2), b"y")

    assert await cache.get(300, 4) == b"x"
    assert await cache.get(300, 5) is None
    assert await cache.missing_run(300, 0, 10) == 4
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("place", ["disk", "memory"])
@pytest.mark.parametrize("size", [1, 4096 - 32, 4097, BLOCK_BYTES - 1, BLOCK_BYTES])
def test_blocks_past_the_page_cache_are_the_same_files(
    tmp_path: Path, place: str, size: int
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if place == "memory" else tmp_path) as where:
        files = BlockFiles(Path(where), "catalog")
        for block in (os.urandom(size), bytes(size)):
            assert files.write(7, 3, block, 0)
            usual = files._path(7, 3).read_bytes()
            assert files.write(7, 3, block, 0, direct=True)
            assert files._path(7, 3).read_bytes() == usual
            assert files.read(7, 3) == block


def test_a_disk_that_is_full_takes_no_block_past_the_page_cache(disk: Path) -> None:
    files = BlockFiles(disk, "catalog")
    blocks = [os.urandom(BLOCK_BYTES) for _ in range(6)]

    def fill() -> None:
        for index, block in enumerate(blocks):
            files.write(1, index, block, -PLENTY, direct=True)

    with pytest.raises(OSError, match="No space"):
        fill()
    kept = [files.read(1, index) for index in range(6)]
    assert kept[0] == blocks[0]
    assert kept[5] is None
    assert not list(disk.rglob(".*"))
