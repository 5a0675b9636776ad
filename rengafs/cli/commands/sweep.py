"""``rengafs sweep``: frees what uploads that came to nothing left in the backends."""

from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.cli.servicedata import data_options, serve_options
from rengafs.cli.transfers import counting

LEAST_HOURS = 2
"""Twice what an upload may take to become history."""


@click.command(epilog=epilog(Exit.REFUSED))
@data_options
@click.option(
    "--grace",
    type=click.FloatRange(min=LEAST_HOURS),
    metavar="HOURS",
    default=24.0,
    show_default=True,
    help="Leave what is younger: it may be an upload under way.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
@debug_option
def command(data: Path | None, catalog: str, grace: float, dry_run: bool, as_json: bool) -> None:
    """Remove blobs that no version needs. Safe while the service runs.

    \b
      rengafs sweep --data /srv/buckets --dry-run
      rengafs sweep --data /srv/buckets
    """
    from rengafs.service.upkeep import sweep_data

    options = serve_options(data, catalog)
    total = 0
    with counting("sweeping", "blobs") as tell:

        def looked(count: int) -> None:
            nonlocal total
            total += count
            tell(total)

        swept = sweep_data(options, grace_seconds=grace * 3600, dry_run=dry_run, looked=looked)
    if as_json:
        output.as_json(swept)
        return
    verb = "would remove" if dry_run else "removed"
    also = "" if dry_run else f"; {swept.temporaries} unfinished uploads"
    output.line(f"{verb} {swept.blobs} blobs of {swept.size} bytes{also}")
