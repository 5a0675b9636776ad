"""How much of the past a bucket keeps, as people write it.

    all for 30 days, daily for a year, monthly
    keep everything for a week, then daily for 3 months, then nothing
    all

A rule names moments. What was there at a moment that is kept, stays: so a view as of the
end of a day that is kept daily is whole. ``for`` counts back from now, not from the clause
before. Days, weeks (to Sunday), months and years end in UTC. What each rule does to a
version is `rengafs.catalog.pruning`'s.
"""

import datetime as dt
import re
from enum import StrEnum
from itertools import pairwise

import msgspec

from rengafs.protocol.errors import BadRequest

DAY_MS = 86_400_000
MAX_RULE = 500
"""Characters of a rule."""
EXAMPLE = "all for 30 days, daily for a year, monthly"


class Every(StrEnum):
    """Which moments are kept."""

    ALL = "all"
    DAY = "daily"
    WEEK = "weekly"
    MONTH = "monthly"
    YEAR = "yearly"


class Clause(msgspec.Struct, frozen=True):
    """Some moments of some past."""

    every: Every
    for_ms: int | None = None
    """How far back; None: for ever."""
    text: str = ""
    """How far back, as it is shown."""


class Rule(msgspec.Struct, frozen=True):
    """Clauses, each reaching further back than the one before; beyond the last, nothing."""

    clauses: tuple[Clause, ...]

    def __str__(self) -> str:
        """Return the rule as it is shown; reading that gives the same rule."""
        return ", ".join(
            f"{clause.every} for {clause.text}" if clause.text else str(clause.every)
            for clause in self.clauses
        )

    @property
    def keeps_everything(self) -> bool:
        """Whether nothing ever goes."""
        return self.clauses == (Clause(Every.ALL),)


EVERYTHING = Rule((Clause(Every.ALL),))
"""The rule of a bucket without one."""

_UNITS_MS = {"day": DAY_MS, "week": 7 * DAY_MS, "month": 30 * DAY_MS, "year": 365 * DAY_MS}
_NUMBERS = {"a": 1, "an": 1, "one": 1, "": 1}
_WORDS = {
    "all": Every.ALL,
    "everything": Every.ALL,
    "every save": Every.ALL,
    "daily": Every.DAY,
    "weekly": Every.WEEK,
    "monthly": Every.MONTH,
    "yearly": Every.YEAR,
}
_CLAUSE = re.compile(
    r"(?:then )?(?:keep )?(?P<every>all|everything|every save|daily|weekly|monthly|yearly)"
    r"(?: (?:for ?ever|for (?P<count>\d{1,6}|an?|one) (?P<unit>day|week|month|year)s?))?"
)


def parse_rule(text: str) -> Rule:
    """Return the rule that *text* is. Raises `BadRequest`."""
    if len(text) > MAX_RULE:
        raise BadRequest(f"a rule has at most {MAX_RULE} characters, like {EXAMPLE!r}")
    parts = [" ".join(part.lower().split()) for part in re.split(r"[,;]", text)]
    ends = parts[-1] in ("then nothing", "nothing")
    parts = parts[:-1] if ends else parts
    clauses = tuple(_clause(part, text) for part in parts)
    if not clauses:
        raise BadRequest(f"a rule says what is kept, like {EXAMPLE!r}")
    for before, after in pairwise(clauses):
        if before.for_ms is None:
            raise BadRequest(
                f"{str(before.every)!r} without a span keeps for ever, so that nothing can "
                f"follow it; say for how long, like {EXAMPLE!r}"
            )
        if after.for_ms is not None and after.for_ms <= before.for_ms:
            raise BadRequest(
                f"'for {after.text}' reaches no further back than 'for {before.text}'; "
                "each span counts from now"
            )
        if list(Every).index(after.every) <= list(Every).index(before.every):
            raise BadRequest(
                f"{str(after.every)!r} does not keep less than {str(before.every)!r}; what is "
                "older is kept more rarely"
            )
    if ends and clauses[-1].for_ms is None:
        raise BadRequest(f"{str(clauses[-1].every)!r} needs a span before 'nothing'")
    return Rule(clauses)


def end_of(every: Every, at_ms: int) -> int:
    """Return the last millisecond of the day, week, … (UTC) in which a moment lies."""
    match every:
        case Every.ALL:
            return at_ms
        case Every.DAY:
            return at_ms // DAY_MS * DAY_MS + DAY_MS - 1
        case Every.WEEK:
            # 1970-01-01 was a Thursday.
            return (at_ms // DAY_MS + 3) // 7 * 7 * DAY_MS + 4 * DAY_MS - 1
        case Every.MONTH | Every.YEAR:
            at = dt.datetime.fromtimestamp(at_ms // 1000, dt.UTC)
            last = every is Every.YEAR or at.month == 12
            year, month = (at.year + 1, 1) if last else (at.year, at.month + 1)
            return int(dt.datetime(year, month, 1, tzinfo=dt.UTC).timestamp()) * 1000 - 1


def _clause(part: str, text: str) -> Clause:
    match = _CLAUSE.fullmatch(part)
    if match is None:
        raise BadRequest(
            f"{part!r} in {text!r} is no part of a rule; write all, daily, weekly, monthly or "
            f"yearly, each with or without a span: {EXAMPLE!r}"
        )
    every = _WORDS[match["every"]]
    if not match["unit"]:
        return Clause(every)
    count = _NUMBERS.get(match["count"]) or int(match["count"])
    if not count:
        raise BadRequest(f"{part!r} in {text!r} keeps nothing; say at least a day")
    unit = match["unit"]
    return Clause(every, count * _UNITS_MS[unit], f"{count} {unit}{'s' if count > 1 else ''}")
