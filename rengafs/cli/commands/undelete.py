"""``rengafs undelete``: bring back what was deleted, with its history."""

from pathlib import Path

import click

from rengafs.cli.asking import asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.cli.restoring import restore, show
from rengafs.client import calls


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("path", shell_complete=complete_path)
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@service_options
@json_option
@debug_option
def command(
    path: str, dry_run: bool, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Bring PATH back, a file, directory or bucket that was deleted.

    A directory comes back as it was before the deletion began that emptied it, be it an
    "rm -r" of thousands of files.

    \b
      rengafs undelete ~/buckets/data/old-results
    """
    with asking([path], endpoint, token_file) as (service, (where,)):
        target = service.target(where)
        at = service.run(calls.last(target.path)).change
        done = restore(service, target, at, dry_run=dry_run)
    show(done, as_json=as_json)
