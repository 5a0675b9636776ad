"""Who did what and what came of it: samples and failures, each with a bound in time."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from subprocess import SubprocessError

import httpx

from bench.peers.contenders import Failed, Session

FAILURES = (OSError, SubprocessError, AssertionError, httpx.HTTPError, Failed, TimeoutError)


@dataclass
class Cell:
    """What a contender showed in one row."""

    samples: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    bounds: list[float] = field(default_factory=list)
    """Moments at which it was given up, where that is itself a figure."""


class Results:
    """Cells, by (row, contender, where)."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str, str], Cell] = {}

    def cell(self, row: str, who: str, where: str) -> Cell:
        return self.cells.setdefault((row, who, where), Cell())

    def add(self, other: "Results", *, instead: bool = False) -> None:
        """Take the samples of another run in; *instead* of those of the same rows."""
        for key, cell in other.cells.items():
            kept = self.cells.get(key)
            if kept is None or instead:
                self.cells[key] = cell
                continue
            kept.samples += cell.samples
            kept.failures += cell.failures
            kept.bounds += cell.bounds

    @classmethod
    def from_json(cls, rows: list[dict]) -> "Results":
        """Return what `as_json` told."""
        found = cls()
        for row in rows:
            cell = found.cell(row["row"], row["contender"], row["where"])
            cell.samples = row["samples"]
            cell.failures = row["failures"]
            cell.bounds = row["given_up_after"]
        return found

    def as_json(self) -> list[dict]:
        return [
            {
                "row": row,
                "contender": who,
                "where": where,
                "samples": cell.samples,
                "failures": cell.failures,
                "given_up_after": cell.bounds,
            }
            for (row, who, where), cell in self.cells.items()
        ]


class Trial:
    """One contender's turn: records what it does."""

    def __init__(self, results: Results, who: str, where: str, session: Session) -> None:
        self._results = results
        self._who = who
        self._where = where
        self.session = session
        self.broken = ""

    def record(self, row: str, figure: float) -> None:
        self._results.cell(row, self._who, self._where).samples.append(figure)
        print(f"    {self._where} {self._who}: {row} {figure:.4g}", flush=True)

    def gave_up(self, row: str, seconds: float) -> None:
        """It had not come to pass after so long."""
        self._results.cell(row, self._who, self._where).bounds.append(seconds)
        print(f"    {self._where} {self._who}: {row} not within {seconds:g} s", flush=True)

    def fail(self, rows: tuple[str, ...], why: str) -> None:
        for row in rows:
            self._results.cell(row, self._who, self._where).failures.append(why)
        print(f"    {self._where} {self._who}: {', '.join(rows)} FAILED: {why}", flush=True)

    def attempt(self, step: Callable[[], None], *rows: str, seconds: float = 300) -> None:
        """Carry out a step that records *rows*; a failure is their figure. Bounded in time.

        File calls that never return are ended by ending the mount.
        """
        if self.broken:
            self.fail(rows, self.broken)
            return
        over = threading.Event()

        def stop() -> None:
            over.set()
            self.session.kill()

        clock = threading.Timer(seconds, stop)
        clock.daemon = True
        clock.start()
        try:
            step()
        except FAILURES as error:
            why = f"not done after {seconds:g} s" if over.is_set() else _told(error)
            self.fail(rows, why)
            if over.is_set():
                self.broken = f"was ended: {why}"
        finally:
            clock.cancel()
            clock.join()


def _told(error: BaseException) -> str:
    told = getattr(error, "stderr", None) or str(error) or type(error).__name__
    if isinstance(told, bytes):
        told = told.decode(errors="replace")
    return " ".join(str(told).split())[-300:]
