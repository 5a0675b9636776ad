"""``rengafs log``: what happened to a path, who did it, when and from where."""

from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.client import calls
from rengafs.protocol.records import LogEntry

PAGE = 1000


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("path", shell_complete=complete_path)
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=100, show_default=True, help="At the most."
)
@service_options
@json_option
@debug_option
def command(
    path: str, limit: int, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Show what happened to PATH, newest first; of a directory, to all in it.

    PATH is below a mount, or BUCKET/PATH of a service; it may be deleted. A save that was begun on
    an older version than it replaced is marked as a conflict: both are among the versions.

    \b
      rengafs log ~/buckets/data/report.csv
      rengafs log --limit 20 ~/buckets/data
      rengafs log --json --endpoint https://buckets.example.org data/report.csv
    """
    with asking([path], endpoint, token_file) as (service, (where,)):
        target = service.target(where)
        entries: list[LogEntry] = []
        before = 0 if target.at is None else target.at + 1
        while len(entries) < limit:
            log = service.run(calls.log(target.path, before=before, limit=min(limit, PAGE)))
            entries += log.entries
            before = log.next
            if not before:
                break
    if as_json:
        output.as_json(entries[:limit])
        return
    output.table(
        ["when", "what", "path", "bytes", "by", "from"],
        [
            [
                output.moment(entry.at_ms),
                entry.what,
                _described(entry),
                "" if entry.size is None else str(entry.size),
                entry.author,
                entry.host,
            ]
            for entry in entries[:limit]
        ],
    )


def _described(entry: LogEntry) -> str:
    if entry.what == "retention":
        return f"{entry.path}: {entry.label}"
    if entry.what == "pruned":
        return f"{entry.path}: {entry.pruned} versions"
    if entry.label:
        return f"{entry.path} @{entry.label}"
    path = f"{entry.source} -> {entry.path}" if entry.source else entry.path
    marks = [word for word in ("conflict", "pruned") if getattr(entry, word)]
    return f"{path} ({', '.join(marks)})" if marks else path
