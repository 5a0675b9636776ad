"""``rengafs label``: names for moments of a bucket."""

from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.client import calls
from rengafs.protocol.operations import DropLabel, Operation, PutLabel
from rengafs.protocol.records import Label


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("bucket", shell_complete=complete_path)
@click.argument("name", required=False)
@click.argument("moment", required=False)
@click.option("--list", "listing", is_flag=True, help="List the bucket's labels.")
@click.option("--delete", is_flag=True, help="Take the label away; history stays.")
@service_options
@json_option
@debug_option
def command(
    bucket: str,
    name: str | None,
    moment: str | None,
    listing: bool,
    delete: bool,
    endpoint: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Call a MOMENT of BUCKET by a NAME, now unless given; a label of that name is moved.

    BUCKET/.versions/@NAME/ is then the bucket as it was; its directories have the same.

    \b
      rengafs label ~/buckets/data paper-v1
      rengafs label ~/buckets/data before-cleaning 2026-11-23T05:00
      rengafs label --list ~/buckets/data
      rengafs label --delete ~/buckets/data paper-v1
    """
    if listing == (name is not None) or (listing and delete) or (delete and moment):
        raise click.UsageError("say a NAME to put or to --delete, or --list")
    with asking([bucket], endpoint, token_file) as (service, (where,)):
        if not where.path or "/" in where.path:
            raise refuse(Exit.USAGE, f"{bucket} is not a bucket; a label is of a whole bucket")
        node = service.run(calls.path(where.path)).node
        if name is None:
            _show(service.run(calls.labels(node.id)), as_json=as_json)
            return
        operation: Operation = DropLabel(bucket=node.id, name=name)
        if not delete:
            at_ms = None if moment is None else service.moment(moment)
            operation = PutLabel(bucket=node.id, name=name, at_ms=at_ms)
        service.run(calls.apply_one(operation, client=service.client))
        labels = [] if delete else [service.run(calls.label(node.id, name))]
    if as_json:
        output.as_json(labels)
    elif not labels:
        output.line(f"the label {name} is no more")
    else:
        output.line(f"{name} is {where.path} at {output.moment(labels[0].at_ms)}")


def _show(labels: list[Label], *, as_json: bool) -> None:
    if as_json:
        output.as_json(labels)
        return
    output.table(
        ["label", "moment", "by", "put"],
        [
            [label.name, output.moment(label.at_ms), label.author, output.moment(label.created_ms)]
            for label in labels
        ],
    )
