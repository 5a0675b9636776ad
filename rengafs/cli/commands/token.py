"""``rengafs token``: who may speak to a service. Works on the service's data directly."""

import time
from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.cli.servicedata import begun_options, data_options, serve_options

DAY_MS = 86_400_000
EPILOG = epilog(Exit.REFUSED)


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. *expires_ms*: in milliseconds since 1970; None: it does not end."""

    name: str
    token: str
    expires_ms: int | None


@click.group()
def command() -> None:
    """Make, list and revoke the tokens of a service."""


@command.command(epilog=EPILOG)
@click.argument("name")
@data_options
@click.option("--read-only", is_flag=True, help="It may read, and change nothing.")
@click.option("--everywhere", is_flag=True, help="NAME may do everything in every bucket.")
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="It expires after.")
@json_option
@debug_option
def create(
    name: str,
    data: Path | None,
    catalog: str,
    read_only: bool,
    everywhere: bool,
    days: float | None,
    as_json: bool,
) -> None:
    """Make a token for NAME, and print it: the only time that it is shown.

    \b
      rengafs token create ann --data /srv/buckets > ~/token
      rengafs token create reader --read-only --days 30 --data /srv/buckets
    """
    from rengafs.service.tokens import create_token

    expires = None if days is None else time.time_ns() // 1_000_000 + int(days * DAY_MS)
    options = begun_options(data, catalog)
    token = create_token(
        options, name, read_only=read_only, expires_ms=expires, everywhere=everywhere
    )
    if as_json:
        output.as_json(Created(name=name, token=token, expires_ms=expires))
    else:
        output.line(token)


@command.command("list", epilog=EPILOG)
@data_options
@json_option
@debug_option
def list_(data: Path | None, catalog: str, as_json: bool) -> None:
    """List who has tokens. The tokens themselves are not kept.

    \b
      rengafs token list --data /srv/buckets
    """
    from rengafs.service.tokens import list_tokens

    tokens = list_tokens(serve_options(data, catalog))
    if as_json:
        output.as_json(tokens)
        return
    output.table(
        ["name", "may", "made", "good until"],
        [
            [
                token.name,
                "read" if token.read_only else "read and write",
                output.moment(token.created_ms),
                "revoked" if token.revoked_ms else _until(token.expires_ms),
            ]
            for token in tokens
        ],
    )


def _until(expires_ms: int | None) -> str:
    return "no end" if expires_ms is None else output.moment(expires_ms)


@command.command(epilog=EPILOG)
@click.argument("name")
@data_options
@debug_option
def revoke(name: str, data: Path | None, catalog: str) -> None:
    """Make all tokens of NAME void.

    \b
      rengafs token revoke ann --data /srv/buckets
    """
    from rengafs.service.tokens import revoke_token

    revoke_token(serve_options(data, catalog), name)
