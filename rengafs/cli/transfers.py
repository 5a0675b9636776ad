"""How far something long is: a bar with rate and time left on a terminal, else plain lines."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from rengafs.cli import output

LINE_SECONDS = 2.0
"""Between two lines where the output is no terminal."""
PACE_SECONDS = 10.0

Tell = Callable[[int, int | None], None]
"""Called with the bytes that are done, and with those that there are, if that is known."""


@contextmanager
def transfer(what: str) -> Iterator[Tell]:
    """Give what tells on standard error how far *what* is, while the block runs."""
    with on_a_terminal(what) as tell:
        yield tell or _in_lines(what)


@contextmanager
def counting(what: str, nouns: str) -> Iterator[Callable[[int], None]]:
    """Give what tells on standard error how many *nouns* there were, while the block runs."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status(what) as status:
            yield lambda count: status.update(f"{what}: {count} {nouns}")
        return
    tell = _in_lines(what, lambda count: f"{count} {nouns}")
    yield lambda count: tell(count, None)


@contextmanager
def on_a_terminal(what: str) -> Iterator[Tell | None]:
    """Give what draws a bar once it is told something; None where there is no terminal."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _in_lines(what: str, show: Callable[[int], str] = output.size) -> Tell:
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            of = "" if total is None else f" of {show(total)}"
            output.aside(f"{what}: {show(done)}{of}")

    return tell


class Pace:
    """How fast something grows less that others add to, over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def told(self, waiting: int) -> str:
        """Return the rate, and the time left, now that *waiting* bytes wait; empty if unknown."""
        now = time.monotonic()
        self._seen.append((now, waiting))
        while now - self._seen[0][0] > PACE_SECONDS:
            self._seen.popleft()
        steps = zip(self._seen, islice(self._seen, 1, None), strict=False)
        gone = sum(max(0, before - after) for (_, before), (_, after) in steps)
        if not waiting or not gone:
            return ""
        rate = gone / (now - self._seen[0][0])
        left = timedelta(seconds=round(waiting / rate))
        return f"{output.size(round(rate))}/s, {left} left"
