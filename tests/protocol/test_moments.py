import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rengafs.protocol import moments
from rengafs.protocol.errors import BadRequest

milliseconds = st.integers(0, 4_000_000_000_000)


def at(*fields: int, milli: int = 0) -> int:
    moment = dt.datetime(*fields, tzinfo=dt.UTC)
    return int(moment.timestamp()) * 1000 + milli


@given(milliseconds)
def test_a_stamp_is_read_back(moment_ms):
    assert moments.parse(moments.stamp(moment_ms)) == moment_ms


@given(milliseconds, milliseconds)
def test_stamps_sort_as_time_does(one, other):
    assert (one < other) == (moments.stamp(one) < moments.stamp(other))


def test_a_stamp_looks_as_the_design_says():
    assert moments.stamp(at(2026, 11, 23, 5, 12, 33, milli=123)) == "2026-11-23T051233.123Z"


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-11-23", at(2026, 11, 24)),
        ("2026-11-23T05", at(2026, 11, 23, 6)),
        ("2026-11-23T05:00", at(2026, 11, 23, 5, 1)),
        ("2026-11-23 05:00:07", at(2026, 11, 23, 5, 0, 8)),
        ("2026-11-23T05:00:07.123", at(2026, 11, 23, 5, 0, 7, milli=124)),
        ("2026-11-23T05:00+01:00", at(2026, 11, 23, 4, 1)),
        ("2026-11-23T05:00Z", at(2026, 11, 23, 5, 1)),
    ],
)
def test_a_moment_means_the_end_of_what_it_names(text, end):
    assert moments.parse(text) == end - 1


def test_without_an_offset_the_given_zone_is_meant():
    zone = dt.timezone(dt.timedelta(hours=2))

    assert moments.parse("2026-11-23", zone=zone) == at(2026, 11, 23, 22) - 1


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-11-23T256199.000Z", "@"])
def test_anything_else_is_refused(text):
    with pytest.raises(BadRequest, match="moment"):
        moments.parse(text)


def test_a_span_is_from_its_first_millisecond_to_its_last():
    day = at(2026, 11, 23)

    assert moments.parse_span("2026-11-23") == (day, at(2026, 11, 24) - 1)
    assert moments.parse_span(moments.stamp(day)) == (day, day)


@pytest.mark.parametrize("zone", ["Europe/Zurich", "America/St_Johns"])
def test_the_local_zone_counts_the_days_on_which_the_clock_is_changed(zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        first, last = moments.parse_span("2026-10-25", zone=None)
        before, _ = moments.parse_span("2026-10-26", zone=None)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert last + 1 == before
    assert (last + 1 - first) % 3_600_000 == 0
