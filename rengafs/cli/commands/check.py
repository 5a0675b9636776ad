"""``rengafs check``: whether catalog and backends agree."""

from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.cli.servicedata import data_options, serve_options


@click.command(epilog=epilog(Exit.REFUSED))
@data_options
@click.option("--contents", is_flag=True, help="Read every blob, and compare its hash.")
@click.option(
    "--repair",
    is_flag=True,
    help="Mark lost blobs, so that saving the same bytes again heals their versions.",
)
@json_option
@debug_option
def command(data: Path | None, catalog: str, contents: bool, repair: bool, as_json: bool) -> None:
    """Check that every version's bytes are there. Safe while the service runs.

    \b
      rengafs check --data /srv/buckets
      rengafs check --data /srv/buckets --contents --repair
    """
    from rengafs.service.upkeep import check_data

    report = check_data(serve_options(data, catalog), contents=contents, repair=repair)
    if as_json:
        output.as_json(report)
    else:
        for damage in report.damaged:
            versions = ", ".join(map(str, damage.versions)) or "none"
            output.line(f"{damage.backend}: {damage.what}; versions: {versions}")
        if not report.sums_agree:
            output.line("the sums of bytes and files are not what is counted")
        output.line(
            f"{report.blobs} blobs, {len(report.damaged)} damaged; "
            f"{report.orphans} that no version needs (see rengafs sweep)"
        )
    if not report.clean and not repair:
        raise refuse(
            Exit.FAILED, "catalog and backends do not agree; restore a backup, or say --repair"
        )
