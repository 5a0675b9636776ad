"""Rules of retention, as people write them."""

import datetime as dt

import pytest

from rengafs.protocol.errors import BadRequest
from rengafs.protocol.retention import EVERYTHING, Every, end_of, parse_rule


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "all for 30 days, daily for a year, monthly",
            "all for 30 days, daily for 1 year, monthly",
        ),
        (
            "Keep all for 30 days, then daily for a year, then monthly",
            "all for 30 days, daily for 1 year, monthly",
        ),
        (
            "everything for a week; weekly for 3 months, then nothing",
            "all for 1 week, weekly for 3 months",
        ),
        ("daily", "daily"),
        ("yearly for 10 years", "yearly for 10 years"),
        ("all", "all"),
        (" all  forever ", "all"),
    ],
)
def test_a_rule_is_shown_as_it_is_read(text, shown):
    rule = parse_rule(text)

    assert str(rule) == shown
    assert parse_rule(shown) == rule


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no part of a rule"),
        ("nothing", "says what is kept"),
        ("hourly", "'hourly' in 'hourly' is no part"),
        ("all for 3 hours", "no part of a rule"),
        ("all for 0 days", "at least a day"),
        ("all, daily", "nothing can follow it"),
        ("all for 3 days, weekly for 2 days", "reaches no further back"),
        ("monthly for a year, daily", "kept more rarely"),
        ("daily, then nothing", "needs a span"),
        ("all for 30 days, " * 40, "at most 500"),
    ],
)
def test_what_is_no_rule_is_told_why(text, complaint):
    with pytest.raises(BadRequest, match=complaint):
        parse_rule(text)


def test_only_the_rule_of_everything_keeps_everything():
    assert parse_rule("all") == EVERYTHING
    assert EVERYTHING.keeps_everything
    assert not parse_rule("all for 100 years").keeps_everything


def moment(text):
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


@pytest.mark.parametrize(
    ("every", "end"),
    [
        (Every.DAY, "2024-02-28T23:59:59.999"),
        (Every.WEEK, "2024-03-03T23:59:59.999"),  # a Sunday
        (Every.MONTH, "2024-02-29T23:59:59.999"),
        (Every.YEAR, "2024-12-31T23:59:59.999"),
    ],
)
def test_days_weeks_months_and_years_end_in_utc(every, end):
    for start in ("2024-02-28T00:00:00", "2024-02-28T12:34:56.789"):
        assert end_of(every, moment(start)) == moment(end)
    assert end_of(every, moment(end)) == moment(end)
