"""Pairs of measurements, taken in turns so that a noisy machine is noisy for both."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields

MADV_POPULATE_WRITE = 23
"""Of madvise(2), since Linux 5.14."""


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
    peer: str = ""
    """Who else did the same in each round, for information: what it is called."""
    peers: list[float] = field(default_factory=list)

    @property
    def higher_is_better(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return _ratio(self.ours, self.theirs)

    @property
    def told(self) -> str:
        """The note, and how the peer compares with the limit."""
        peer = f"{self.peer}: {_ratio(self.peers, self.theirs):.3g}" if self.peers else ""
        return "; ".join(part for part in (self.note, peer) if part)

    @property
    def spread(self) -> tuple[float, float]:
        pairs = [mine / other for mine, other in zip(self.ours, self.theirs, strict=True)]
        return min(pairs), max(pairs)

    @property
    def reached(self) -> bool:
        return self.ratio >= self.reach if self.higher_is_better else self.ratio <= self.reach

    def as_json(self) -> dict:
        return {**asdict(self), "ratio": self.ratio, "reached": self.reached}


def row_of(told: dict) -> Row:
    """Return the row that `Row.as_json` told of; what else is in *told* is passed over."""
    return Row(**{name.name: told[name.name] for name in fields(Row)})


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


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
    peer: tuple[str, Callable[[], float]] | None = None,
    memory: int = 0,
) -> Row:
    """Measure both in turns, *rounds* times; each callable returns a figure in *unit*.

    :param peer: a name, and who does the same after both; the ratio is not about it.
    :param memory: bytes of new memory that one measurement takes: see `have_memory`.
    """
    row = Row(work, unit, limit, reach, note=note, peer=peer[0] if peer else "")
    for number in range(rounds):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        figures = {}
        for measure in (first, second):
            have_memory(memory)
            figures[measure] = measure()
        row.ours.append(figures[ours])
        row.theirs.append(figures[theirs])
        if peer:
            have_memory(memory)
            row.peers.append(peer[1]())
    return row


def have_memory(count: int) -> None:
    """Have so many bytes of memory touched, and given back.

    The host of a virtual machine may lend it memory by the page, when it is first touched, and
    take back what lies idle. Then whoever needs new pages (a page cache, say) pays some
    microseconds for each, which a machine of one's own does not ask for: here, nobody pays.
    """
    if count:
        program = f"import mmap; mmap.mmap(-1, {count}).madvise({MADV_POPULATE_WRITE})"
        subprocess.run([sys.executable, "-c", program], check=True)


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
