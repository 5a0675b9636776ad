"""``rengafs prune``: take from history what the buckets' retention does not keep."""

from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import Service, asking_of_bucket, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog
from rengafs.cli.options import debug_option
from rengafs.cli.transfers import counting
from rengafs.client import calls
from rengafs.protocol.errors import Forbidden
from rengafs.protocol.keeping import Pruned
from rengafs.protocol.retention import EVERYTHING

PIECE_SECONDS = 2.0
"""Of one request."""
MOST_LISTED = 1000
"""Versions that a dry run shows of a bucket."""


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("bucket", required=False, shell_complete=complete_path)
@click.option("--dry-run", is_flag=True, help="Show what would go, and take nothing.")
@service_options
@json_option
@debug_option
def command(
    bucket: str | None,
    dry_run: bool,
    endpoint: str | None,
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Take from the history of BUCKET, or of all your buckets, what its rule does not keep.

    The rule is set by rengafs bucket retention; without one, everything stays. What is
    current, labelled, open in a mount or pinned stays in any case, and so does what was
    current a day ago. What went can't be brought back; the log still tells of it.

    \b
      rengafs prune --dry-run ~/buckets/data
      rengafs prune ~/buckets/data
      rengafs prune
    """
    done: dict[str, Pruned] = {}
    with asking_of_bucket(bucket, endpoint, token_file) as (service, entry):
        chosen = {entry.name: entry.node.id} if entry else _with_a_rule(service)
        for name, number in chosen.items():
            try:
                if dry_run:
                    flow = calls.prune(number, dry_run=True, listed=MOST_LISTED)
                    done[name] = service.run(flow)
                else:
                    done[name] = _prune(service, name, number)
            except Forbidden as error:
                if bucket is not None:
                    raise
                output.aside(f"{name}: {error.message}")
    if as_json:
        output.as_json([{"name": name, **msgspec.to_builtins(one)} for name, one in done.items()])
        return
    if not done and not chosen:
        output.line(
            "no bucket of yours has a rule: everything is kept; see rengafs bucket retention"
        )
    for name, one in done.items():
        _show(name, one)


def _prune(service: Service, name: str, bucket: int) -> Pruned:
    """Prune a bucket by requests that each take a moment only: none is given up as unanswered."""
    done = after = None
    with counting(f"pruning {name}", "versions") as tell:
        while done is None or after is not None:
            more = service.run(calls.prune(bucket, after=after or 0, seconds=PIECE_SECONDS))
            after = more.after
            done = more if done is None else _sum(done, more)
            tell(done.versions)
    return done


def _sum(one: Pruned, other: Pruned) -> Pruned:
    sums = {
        field: getattr(one, field) + getattr(other, field)
        for field in ("versions", "size", "freed_bytes", "held")
    }
    return msgspec.structs.replace(one, after=None, **sums)


def _with_a_rule(service: Service) -> dict[str, int]:
    usages = service.run(calls.usages()).buckets
    return {one.name: one.bucket for one in usages if one.rule != str(EVERYTHING)}


def _show(name: str, one: Pruned) -> None:
    for version in one.listed:
        output.line(
            f"would take {version.path} of {output.moment(version.created_ms)} "
            f"({version.size} bytes)"
        )
    if more := one.dry_run and one.versions - len(one.listed):
        output.line(f"would take {more} more")
    for kept in one.spared:
        output.line(
            f"would keep {kept.path} of {output.moment(kept.created_ms)} "
            f"({kept.size} bytes): {kept.why}"
        )
    if one.rule == str(EVERYTHING):
        output.line(f"{name} keeps everything; see rengafs bucket retention")
        return
    verb = "would take" if one.dry_run else "took"
    held = f"; {one.held} that are in use stay" if one.held else ""
    output.line(
        f"{name} ({one.rule}): {verb} {one.versions} versions of {one.size} bytes, "
        f"{one.freed_bytes} bytes are freed{held}"
    )
