"""What commands print: tables for people, JSON for programs. Nothing else prints."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text


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


def moment(at_ms: int) -> str:
    """Return a moment as people read it, in local time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
