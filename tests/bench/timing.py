"""Pairs of measurements, taken in turns so that a noisy machine is noisy for both."""

import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field


@dataclass
class Row:
    """One comparison: what we did, beside what bounds it or what a peer did."""

    work: str
    unit: str
    """``s`` and other costs are better when lower, ``…/s`` when higher."""
    limit: str
    """What we are compared with, in a few words."""
    reach: float
    """The ratio, ours to the limit's, that was promised."""
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def higher_is_better(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return statistics.median(mine / other for mine, other in pairs)

    @property
    def spread(self) -> tuple[float, float]:
        pairs = [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]
        return min(pairs), max(pairs)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.reach if self.higher_is_better else self.ratio <= self.reach

    def as_json(self) -> dict:
        return {**asdict(self), "ratio": self.ratio, "reached": self.reached}


def compare(
    work: str,
    unit: str,
    limit: str,
    reach: float,
    ours: Callable[[], float],
    theirs: Callable[[], float],
    *,
    rounds: int = 5,
    note: str = "",
) -> Row:
    """Measure both in turns, *rounds* times; each callable returns a figure in *unit*."""
    row = Row(work, unit, limit, reach, note=note)
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        figures = {first: first(), second: second()}
        row.ours.append(figures[ours])
        row.theirs.append(figures[theirs])
    return row


class Stopwatch:
    """Seconds of a ``with`` block."""

    seconds = 0.0


@contextmanager
def timed():
    watch = Stopwatch()
    begun = time.perf_counter()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - begun
