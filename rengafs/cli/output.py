"""What commands print: tables for people, JSON for programs. Nothing else prints."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import StringIO
from itertools import islice
from typing import Any

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

WATCH_SECONDS = 1.0
PAGE_ROWS = 1000
"""Longer tables are printed piece by piece, each as it comes."""

_page: Console | None = None
"""Where `watch` collects what goes onto its page."""


def line(text: str) -> None:
    """Print *text* on standard output: what was asked for."""
    if _page is None:
        click.echo(text)
    else:
        _page.print(Text(text))


def aside(text: str) -> None:
    """Print *text* on standard error: what happens meanwhile, and what went wrong."""
    click.echo(f"rengafs: {text}", err=True)


def as_json(value: Any) -> None:
    """Print *value* as one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def as_json_line(value: Any) -> None:
    """Print *value* as a JSON document on one line, of which more follow."""
    click.echo(msgspec.json.encode(value))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print *rows* under *titles*, nothing cut off; of many, each thousand as it comes."""
    console = _page or Console(highlight=False)
    coming = ([_plain(cell) for cell in row] for row in rows)
    first = list(islice(coming, PAGE_ROWS))
    if console.is_terminal and len(first) < PAGE_ROWS:
        console.print(_table(titles, first))
        return
    # To lay out a table takes rich a time that grows faster than the table.
    widths = [cell_len(title) for title in titles]
    page = [list(titles), *first]
    while page:
        widths = [
            max(width, *map(cell_len, cells)) for width, *cells in zip(widths, *page, strict=True)
        ]
        click.echo("\n".join(_in_columns(row, widths) for row in page))
        page = list(islice(coming, PAGE_ROWS))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    shown = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for column in shown.columns:
        column.overflow = "fold"
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def _in_columns(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(row, widths, strict=True)
    )
    return "  ".join(cells).rstrip()


def _plain(cell: str) -> str:
    """Return *cell* on one line, and without what a terminal would obey: names may hold both."""
    if cell.isprintable():
        return cell
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cell
    )


def watch(show: Callable[[], None]) -> None:
    """Print what *show* prints, anew every second until Ctrl-C: one page on a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        while True:
            show()
            time.sleep(WATCH_SECONDS)
    with Live(console=console, auto_refresh=False, screen=True) as page:
        while True:
            with _onto_a_page(console) as collected:
                show()
                stamp = datetime.now().astimezone().strftime("%H:%M:%S")
                line(f"\n{stamp}; Ctrl-C ends it")
            page.update(Text.from_ansi(collected.getvalue()), refresh=True)
            time.sleep(WATCH_SECONDS)


@contextmanager
def _onto_a_page(console: Console) -> Iterator[StringIO]:
    """Collect what is printed while the block runs, as wide and as coloured as *console*."""
    global _page
    collected = StringIO()
    _page = Console(file=collected, force_terminal=True, width=console.width, highlight=False)
    try:
        yield collected
    finally:
        _page = None


def moment(at_ms: int) -> str:
    """Return a moment as people read it, in local time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, 6)
    # 1,048,575 bytes are 1 MiB, not 1024 KiB.
    if power < 6 and round(count / 1024**power, 1) >= 1024:
        power += 1
    return f"{count / 1024**power:.1f} {'KMGTPE'[power - 1]}iB"
