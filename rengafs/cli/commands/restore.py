"""``rengafs restore``: make a file or a whole tree what it was, on the service."""

from pathlib import Path

import click

from rengafs.cli.asking import asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.cli.restoring import restore, show
from rengafs.client import calls


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("path", metavar="PATH[@MOMENT]", shell_complete=complete_path)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@service_options
@json_option
@debug_option
def command(
    path: str, dry_run: bool, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Make PATH what it was at MOMENT, with everything below it.

    It is one change, of all or nothing, and no bytes are moved. What has another content
    gets the old one as a new version; what is deleted comes back with its history; what
    came to be since stays. MOMENT is a day, a minute, … in local time unless it has a zone,
    or a label; a PATH that is deleted needs none.

    \b
      rengafs restore ~/buckets/data/report.csv@2026-11-23T05:00
      rengafs restore --dry-run ~/buckets/data@paper-v1
      rengafs restore ~/buckets/data/deleted-directory
    """
    with asking([path], endpoint, token_file) as (service, (where,)):
        target = service.target(where)
        if not target.path:
            raise refuse(Exit.USAGE, "name a bucket, or what is in one")
        at = target.at
        if at is None:
            at = service.run(calls.last(target.path)).change
        done = restore(service, target, at, dry_run=dry_run)
    show(done, as_json=as_json)
