"""How far something long is: a bar with rate and time left on a terminal, else plain lines."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

Tell = Callable[[int, int | None], None]
"""Called with the bytes that are done, and with those that there are, if that is known."""


@contextmanager
def transfer(what: str) -> Iterator[Tell]:
    """Give what tells on standard error how far *what* is, while the block runs."""
    with on_a_terminal(what) as tell:
        yield tell or _in_lines(what)


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


def _in_lines(what: str) -> Tell:
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            of = "" if total is None else f" of {output.size(total)}"
            output.aside(f"{what}: {output.size(done)}{of}")

    return tell
