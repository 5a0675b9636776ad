"""What commands print: tables for people, JSON for programs. Nothing else prints."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

WATCH_SECONDS = 1.0


def line(text: str) -> None:
    """Print *text* on standard output: what was asked for."""
    click.echo(text)


def aside(text: str) -> None:
    """Print *text* on standard error: what happens meanwhile, and what went wrong."""
    click.echo(f"rengafs: {text}", err=True)


def as_json(value: Any) -> None:
    """Print *value* as one JSON document."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print *rows* under *titles*, nothing cut off, also where the output is no terminal."""
    shown = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for column in shown.columns:
        column.overflow = "fold"
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(shown)


def watch(show: Callable[[], None]) -> None:
    """Print what *show* prints, anew every second until Ctrl-C: one page on a terminal."""
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as page:
        while True:
            with redirect_stdout(StringIO()) as printed:
                show()
            stamp = datetime.now().astimezone().strftime("%H:%M:%S")
            page.update(Text(f"{printed.getvalue()}\n{stamp}; Ctrl-C ends it"), refresh=True)
            time.sleep(WATCH_SECONDS)


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
