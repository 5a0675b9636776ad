"""Plans from patterns of reads. Nothing is read here."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rengafs.fs.reads.cache import BLOCK_BYTES
from rengafs.fs.reads.readahead import (
    MAX_STRIDED_BYTES,
    MAX_WINDOW,
    MAX_WINDOW_BELOW,
    MIN_WINDOW,
    MOST_STEPS,
    PIECE_BYTES,
    STEPS,
    Access,
    Plan,
    Readahead,
)

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
ASK = 128 * KIB
"""What the kernel asks at a time."""


def plans(pattern: Readahead, offsets, size=ASK) -> list[Plan]:
    return [pattern.plan(offset, size) for offset in offsets]


def accesses(found: list[Plan]) -> list[Access]:
    return [plan.access for plan in found]


def test_a_sequential_readers_window_grows_from_the_least_to_the_most():
    pattern = Readahead(GIB)

    found = plans(pattern, range(0, 64 * MIB, ASK))

    ahead = [plan.stream_to - (number + 1) * ASK for number, plan in enumerate(found)]
    assert ahead[0] == MIN_WINDOW
    assert ahead == sorted(ahead)
    assert ahead[-1] == MAX_WINDOW
    assert set(accesses(found)) == {Access.SEQUENTIAL}


def test_a_window_ends_with_the_version():
    pattern = Readahead(MIB + 5)

    found = plans(pattern, range(0, MIB, ASK))

    assert found[-1].stream_to == MIB + 5


def test_requests_of_one_run_may_come_out_of_order():
    pattern = Readahead(GIB)

    found = plans(pattern, [ASK, 0, 3 * ASK, 2 * ASK, 5 * ASK, 4 * ASK])

    assert set(accesses(found)) == {Access.SEQUENTIAL}


def test_a_jump_fetches_what_was_asked_and_a_run_may_begin_there():
    pattern = Readahead(GIB)
    plans(pattern, range(0, 4 * MIB, ASK))
    there = 500 * MIB + 4 * KIB

    jump = pattern.plan(there, 4 * KIB)
    following = pattern.plan(there + 4 * KIB, ASK)

    assert jump == Plan(Access.RANDOM, 500 * MIB, 500 * MIB + PIECE_BYTES)
    assert following.access is Access.SEQUENTIAL
    assert following.stream_to == there + 4 * KIB + ASK + ASK + 4 * KIB


def test_random_reads_fetch_the_pieces_they_need():
    pattern = Readahead(GIB)

    found = plans(pattern, [900 * MIB + 60 * KIB, 17 * MIB, 400 * MIB + 1], 8 * KIB)

    assert accesses(found) == [Access.RANDOM] * 3
    assert [plan.stream_to - plan.stream_from for plan in found] == [
        2 * PIECE_BYTES,
        PIECE_BYTES,
        PIECE_BYTES,
    ]


def test_a_block_that_is_asked_for_again_and_again_is_fetched_whole():
    pattern = Readahead(GIB)
    far = 700 * MIB

    found = []
    for piece in (1, 5, 9, 13):
        pattern.plan(0, 4 * KIB)
        found.append(pattern.plan(far + piece * PIECE_BYTES, 4 * KIB))

    assert found[0].stream_to - found[0].stream_from == PIECE_BYTES
    assert (found[3].stream_from, found[3].stream_to) == (far, far + BLOCK_BYTES)


def test_a_large_random_read_fetches_whole_blocks():
    pattern = Readahead(GIB)

    plan = pattern.plan(300 * MIB + 700 * KIB, 600 * KIB)

    assert (plan.stream_from, plan.stream_to) == (300 * MIB, 302 * MIB)


def test_a_backward_reader_is_given_whole_blocks():
    pattern = Readahead(GIB)

    found = plans(pattern, range(GIB - ASK, GIB - 3 * MIB, -ASK))

    assert accesses(found)[2:] == [Access.BACKWARD] * (len(found) - 2)
    assert all(plan.stream_from % BLOCK_BYTES == 0 for plan in found[2:])


def test_a_backward_readers_window_grows_to_the_most_and_leaves_nothing_out():
    pattern = Readahead(GIB)

    found = plans(pattern, range(GIB - ASK, GIB - 64 * MIB, -ASK))

    ranges = [part for plan in found for part in plan.ahead]
    sizes = [stop - start for start, stop in ranges]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (BLOCK_BYTES, MAX_WINDOW_BELOW)
    assert all(below[1] == above[0] for above, below in pairwise(ranges))
    low = found[0].stream_from
    for number, plan in enumerate(found[2:], 2):
        # What is read was there by the plans before, but for the first block.
        assert plan.stream_from >= GIB - BLOCK_BYTES or plan.stream_from >= low, number
        low = min([low, *(start for start, _ in plan.ahead)])


def test_a_backward_reader_that_hops_away_begins_with_the_least_window_again():
    pattern = Readahead(GIB)
    plans(pattern, range(GIB - ASK, GIB - 64 * MIB, -ASK))

    found = plans(pattern, [0, 512 * MIB, *range(512 * MIB - ASK, 510 * MIB, -ASK)])

    ranges = [part for plan in found for part in plan.ahead]
    assert ranges[0][1] - ranges[0][0] == BLOCK_BYTES


@pytest.mark.parametrize("step", [3 * MIB, 3 * MIB + 12_345, -5 * MIB, 1_500_000])
@pytest.mark.parametrize("length", [4 * KIB, ASK, 2 * ASK])
def test_a_stride_is_foreseen_after_two_equal_hops_and_further_each_time(step, length):
    pattern = Readahead(GIB)
    first = 900 * MIB if step < 0 else 2 * MIB if step == 3 * MIB else 5000
    places = [first + number * step for number in range(40)]
    provided: list[tuple[int, int]] = []
    foreseen = []

    for place in places:
        start = place - place % 4096
        stop = -(-(place + length) // 4096) * 4096
        foreseen.append(all(_covers(provided, at) for at in (start, stop - 1)))
        for offset in range(start, stop, ASK):
            plan = pattern.plan(offset, min(ASK, stop - offset))
            provided += plan.ahead

    assert not any(foreseen[: STEPS + 1])
    # Where it does not hop by whole pages, it takes some hops to know the length.
    assert foreseen[STEPS + 1 :].count(False) <= (0 if step % 4096 == 0 else 2)
    assert len(provided) <= 40 + MOST_STEPS
    assert len(set(provided)) == len(provided)
    if step % PIECE_BYTES == 0 == first % PIECE_BYTES:
        assert all(stop - start <= max(length, PIECE_BYTES) for start, stop in provided)


def _covers(ranges, offset: int) -> bool:
    return any(start <= offset < stop for start, stop in ranges)


def test_a_stride_that_ends_foresees_no_more():
    pattern = Readahead(GIB)
    plans(pattern, range(0, 60 * MIB, 3 * MIB))

    found = plans(pattern, [700 * MIB, 300 * MIB, 777 * MIB, 100 * MIB])

    assert accesses(found) == [Access.RANDOM] * 4
    assert not any(plan.ahead for plan in found)


def test_what_is_foreseen_of_long_records_is_bounded_in_bytes():
    pattern = Readahead(GIB)
    found = []
    for start in range(0, GIB, 40 * MIB):
        found += plans(pattern, range(start, start + 6 * MIB, ASK))

    for plan in found:
        assert sum(stop - start for start, stop in plan.ahead) <= MAX_STRIDED_BYTES


@pytest.mark.parametrize("size", [1, 4 * KIB, MIB, 40 * MIB])
@given(data=st.data())
def test_a_plan_has_what_was_asked_and_stays_within_the_version(size, data):
    pattern = Readahead(size)
    for _ in range(data.draw(st.integers(1, 20))):
        offset = data.draw(st.integers(0, size - 1))
        length = data.draw(st.integers(1, min(size - offset, 2 * MIB)))

        plan = pattern.plan(offset, length)

        assert 0 <= plan.stream_from <= offset
        assert offset + length <= plan.stream_to <= size
        assert all(0 <= start < stop <= size for start, stop in plan.ahead)
