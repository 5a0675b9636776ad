"""How blobs are cut into parts: any length fits into those that a store takes, and into memory."""

from itertools import accumulate

import anyio
import pytest

from rengafs.backends.base import HASHED_BYTES
from rengafs.backends.parts import LARGE_BYTES, Room, copied_part, fitting, growing_part
from rengafs.backends.s3.backend import S3Store
from rengafs.backends.store import Store
from rengafs.backends.swift.backend import SwiftStore

TIB = 1 << 40
STORES = [S3Store, SwiftStore]


def sizes(store: type[Store]) -> list[int]:
    return [
        growing_part(store.part_bytes, store.max_parts, number) for number in range(store.max_parts)
    ]


@pytest.mark.parametrize("store", STORES)
def test_a_stream_of_any_length_fits(store: type[Store]) -> None:
    parts = sizes(store)
    assert sum(parts) >= 5 * TIB
    assert max(parts) <= 5 << 30
    assert all(part % HASHED_BYTES == 0 for part in parts)


@pytest.mark.parametrize("store", STORES)
def test_what_is_not_huge_goes_by_small_parts(store: type[Store]) -> None:
    lengths = zip(accumulate(sizes(store)), sizes(store), strict=True)
    assert max(part for end, part in lengths if end <= 7 << 30) == store.part_bytes


@pytest.mark.parametrize("base_size", [1, 6 << 30, TIB, 5 * TIB])
def test_a_base_of_any_length_is_copied_in_a_quarter_of_the_parts(base_size: int) -> None:
    step = copied_part(S3Store, base_size)  # type: ignore[arg-type]
    assert step % HASHED_BYTES == 0
    assert step <= 5 << 30
    assert -(-base_size // step) <= S3Store.max_parts // 4


@pytest.mark.parametrize("length", [0, 1, 6 << 30, 78 << 30, 79 << 30, 300 << 30, TIB, 5 * TIB])
def test_parts_of_a_known_length_are_as_short_as_they_may_be(length: int) -> None:
    size = fitting(S3Store.part_bytes, S3Store.max_parts, length)
    assert size % HASHED_BYTES == 0
    assert size * S3Store.max_parts >= length
    assert size == S3Store.part_bytes or (size - HASHED_BYTES) * S3Store.max_parts < length
    assert length > 300 << 30 or size <= LARGE_BYTES


def test_only_so_many_bytes_are_sent_at_a_time_and_what_is_longer_goes_alone() -> None:
    room, now, most, done = Room(100), 0, 0, []

    async def send(count: int) -> None:
        nonlocal now, most
        async with room.taken(count):
            now += count
            most = max(most, now)
            assert now <= 100 or now == count
            await anyio.sleep(0.001)
            now -= count
        done.append(count)

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for count in (40, 60, 1, 500, 100, 30, 30, 30, 30) * 3:
                group.start_soon(send, count)
        with anyio.move_on_after(0.01):
            async with room.taken(100), room.taken(1):
                raise AssertionError("there was room for both")
        await send(100)

    anyio.run(run)
    assert len(done) == 28
    assert most == 500
