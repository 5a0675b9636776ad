"""Extents against the plainest model there is: a set of integers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rengafs.fs.writes.extents import Extents

END = 64
ends = st.integers(0, END)
ranges = st.tuples(ends, ends)
steps = st.lists(
    st.one_of(st.tuples(st.just("add"), ends, ends), st.tuples(st.just("cut"), ends, ends))
)


def built(given_steps) -> tuple[Extents, set[int]]:
    extents, model = Extents(), set()
    for what, start, stop in given_steps:
        if what == "add":
            extents.add(start, stop)
            model |= set(range(start, stop))
        else:
            extents.cut(start)
            model = {byte for byte in model if byte < start}
    return extents, model


def bytes_of(pairs) -> set[int]:
    return {byte for start, stop in pairs for byte in range(start, stop)}


@given(steps)
def test_it_holds_the_bytes_that_were_added_and_not_cut(given_steps):
    extents, model = built(given_steps)

    assert bytes_of(extents) == model
    assert extents.total == len(model)


@given(steps)
def test_ranges_ascend_and_never_touch(given_steps):
    extents, _ = built(given_steps)

    pairs = list(extents)
    assert all(start < stop for start, stop in pairs)
    assert all(left[1] < right[0] for left, right in pairwise(pairs))
    assert len(extents) == len(pairs)


@given(steps, ranges)
def test_covers_gaps_and_within_agree_with_the_bytes(given_steps, asked):
    extents, model = built(given_steps)
    wanted = set(range(*asked))

    assert extents.covers(*asked) == (wanted <= model)
    assert bytes_of(extents.gaps(*asked)) == wanted - model
    assert bytes_of(extents.within(*asked)) == wanted & model


@given(steps, ranges)
def test_a_copy_does_not_follow_the_original(given_steps, more):
    extents, model = built(given_steps)

    copy = extents.copy()
    extents.add(*more)
    extents.cut(0)

    assert bytes_of(copy) == model
    assert copy.total == len(model)
    assert copy == Extents(copy)
