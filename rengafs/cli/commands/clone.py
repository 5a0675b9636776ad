"""``rengafs clone``: a copy on the service, without moving a byte."""

from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.client import calls
from rengafs.protocol.errors import NotFound
from rengafs.protocol.operations import Clone
from rengafs.protocol.records import ROOT


class Cloned(msgspec.Struct, frozen=True, kw_only=True):
    """What was made."""

    path: str
    node: int
    change: int


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("source", metavar="SRC[@MOMENT]", shell_complete=complete_path)
@click.argument("target", metavar="DST", shell_complete=complete_path)
@service_options
@json_option
@debug_option
def command(
    source: str, target: str, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Copy SRC, a file, directory or bucket, to DST, as it is or as it was.

    The copy is made by the service and has a history of its own. If DST is a directory,
    the copy goes into it. A bucket is copied to a new bucket.

    \b
      rengafs clone ~/buckets/data/report.csv ~/buckets/data/draft.csv
      rengafs clone ~/buckets/data@paper-v1 ~/buckets/data-of-the-paper
    """
    with asking([source, target], endpoint, token_file) as (service, (one, other)):
        origin = service.target(one)
        found = service.find(origin.path, origin.at)
        if found is None or not origin.path:
            raise NotFound(f"there is no {origin.name} to clone")
        goal = other.path
        there = service.find(goal)
        if goal and there is not None and there.node.kind.is_directory:
            goal = f"{goal}/{origin.path.rpartition('/')[2]}"
        above, _, name = goal.rpartition("/")
        if not name:
            raise refuse(Exit.USAGE, "DST needs a name: of a bucket, or of what is in one")
        parent = service.run(calls.path(above)).node.id if above else ROOT
        operation = Clone(source=found.node.id, parent=parent, name=name, at=origin.at)
        outcome = service.run(calls.apply_one(operation, client=service.client))
    made = 0 if outcome.node is None else outcome.node.id
    if as_json:
        output.as_json(Cloned(path=goal, node=made, change=outcome.change))
    else:
        output.line(f"cloned {origin.name} to {goal}")
