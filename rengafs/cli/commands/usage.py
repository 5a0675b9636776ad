"""``rengafs usage``: how much buckets hold, and how much of it is history."""

from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import asking_of_bucket, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.client import calls


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("bucket", required=False, shell_complete=complete_path)
@service_options
@json_option
@debug_option
def command(
    bucket: str | None, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Show how many bytes BUCKET, or each of your buckets, holds: live, and as history.

    "Stored" is what lies in backends for it, contents that are the same counted once;
    buckets may share some. A deleted bucket is shown as long as there is history of it.

    \b
      rengafs usage
      rengafs usage ~/buckets/data
      rengafs usage --json --endpoint https://buckets.example.org data
    """
    with asking_of_bucket(bucket, endpoint, token_file) as (service, entry):
        usages = service.run(calls.usages(None if entry is None else entry.node.id))
    if as_json:
        output.as_json(usages)
        return
    output.table(
        ["bucket", "files", "live", "history", "stored", "quota", "keeps"],
        [
            [
                f"{one.name} (deleted)" if one.deleted else one.name,
                str(one.files),
                output.size(one.live_bytes),
                output.size(one.history_bytes),
                output.size(one.stored_bytes),
                "" if one.quota_bytes is None else output.size(one.quota_bytes),
                one.rule,
            ]
            for one in usages.buckets
        ],
    )
    for backend, stored in sorted(usages.stored_bytes.items()):
        output.line(f"stored in {backend}, each content once: {output.size(stored)}")
