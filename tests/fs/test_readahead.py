"""Plans from patterns of reads. Nothing is read here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rengafs.fs.reads.cache import BLOCK_BYTES
from rengafs.fs.reads.readahead import MAX_WINDOW, MIN_WINDOW, PIECE_BYTES, Access, Plan, Readahead

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
