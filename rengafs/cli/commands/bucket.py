"""``rengafs bucket``: who may do what in a bucket. Works on the service's data directly."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from rengafs.cli import output
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.cli.servicedata import data_options, serve_options

if TYPE_CHECKING:
    from rengafs.catalog.values import Role

EPILOG = epilog(Exit.REFUSED)


@click.group()
def command() -> None:
    """Share buckets among the users of a service."""


@command.command("list", epilog=EPILOG)
@data_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@debug_option
def list_(data: Path | None, catalog: str, as_json: bool) -> None:
    """List the buckets and their members.

    \b
      rengafs bucket list --data /srv/buckets
    """
    from rengafs.service.sharing import list_sharing

    buckets = list_sharing(serve_options(data, catalog))
    if as_json:
        output.as_json(buckets)
        return
    output.table(
        ["id", "bucket", "members"],
        [
            [
                str(bucket.bucket),
                bucket.name,
                ", ".join(f"{name} ({role})" for name, role in bucket.members.items()),
            ]
            for bucket in buckets
        ],
    )


@command.command(epilog=EPILOG)
@click.argument("bucket")
@click.argument("user")
@click.argument("role", type=click.Choice(["reader", "writer", "owner"]))
@data_options
@debug_option
def grant(bucket: str, user: str, role: str, data: Path | None, catalog: str) -> None:
    """Let USER read BUCKET, write to it too, or own it. BUCKET is a name or an id.

    A reader sees it; a writer changes what is in it; an owner renames and removes it, too.

    \b
      rengafs bucket grant experiments ann writer --data /srv/buckets
    """
    from rengafs.service.sharing import set_role

    set_role(serve_options(data, catalog), bucket, user, cast("Role", role))


@command.command(epilog=EPILOG)
@click.argument("bucket")
@click.argument("user")
@data_options
@debug_option
def revoke(bucket: str, user: str, data: Path | None, catalog: str) -> None:
    """Hide BUCKET from USER.

    \b
      rengafs bucket revoke experiments ann --data /srv/buckets
    """
    from rengafs.service.sharing import set_role

    set_role(serve_options(data, catalog), bucket, user, None)
