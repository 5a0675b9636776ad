"""Options, and kinds of values, that several commands take."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rengafs.cli import logs
from rengafs.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])

_SIZE = re.compile(r"(\d+)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def size(text: str) -> int:
    """Return a number of bytes: ``4096``, ``512M``, ``10G``; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is not a size; write it as 512M or 10G")
    return int(match[1]) << _UNITS[match[2].upper()]


def octal(text: str) -> int:
    """Return permission bits that are written in octal: ``022``."""
    if re.fullmatch(r"[0-7]{1,4}", text) is None:
        raise click.BadParameter(f"{text!r} is not an octal number; write it as 022")
    return int(text, 8)


def host_and_port(text: str) -> tuple[str, int]:
    """Return what ``HOST:PORT`` names."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{text!r} is not an address to listen on; write 127.0.0.1:9464")
    return host.strip("[]"), int(port)


PATH = click.Path(path_type=Path, readable=False)
"""Any path: whether it is any good is found out, and better explained, when it is used."""


def debug_option(command: F) -> F:
    """Give *command* ``--debug``, which ``rengafs`` has too."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_debug,
        help="Show all log lines, and the trace of an error.",
    )(command)


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    session = ctx.find_object(Session)
    if value and session is not None:
        session.debug = True
        logs.be_verbose()
