"""``rengafs check``: whether catalog and backends agree."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.cli.servicedata import data_options, serve_options
from rengafs.cli.transfers import counting, transfer

if TYPE_CHECKING:
    from rengafs.service.checking import Report


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

    with _progress(contents) as told:
        report = check_data(
            serve_options(data, catalog), contents=contents, repair=repair, told=told
        )
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


@contextmanager
def _progress(contents: bool) -> Iterator["Callable[[Report, int], None]"]:
    """Give what tells how far a check is: bytes where all are read, else blobs."""
    if contents:
        with transfer("checking") as tell:
            yield lambda so_far, total: tell(so_far.size, max(total, so_far.size))
    else:
        with counting("checking", "blobs") as count:
            yield lambda so_far, _: count(so_far.blobs + so_far.stored)
