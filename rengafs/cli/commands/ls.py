"""``rengafs ls``: what a directory holds, or held, without a mount."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import Service, Target, asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.client import calls
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import ROOT, Entry, Version

PAGE = 1000
MARKS = {"bucket": "/", "directory": "/", "symlink": "@", "fifo": "|", "socket": "="}


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("path", metavar="[PATH[@MOMENT]]", default="", shell_complete=complete_path)
@click.option("--versions", is_flag=True, help="List the saves of the file PATH, oldest first.")
@service_options
@json_option
@debug_option
def command(
    path: str, versions: bool, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """List PATH, as it is or was at MOMENT; without one, the buckets.

    PATH is below a mount, or BUCKET/PATH of a service, which needs no mount then.

    \b
      rengafs ls
      rengafs ls --endpoint institute data/raw
      rengafs ls data/raw@2026-11-22
      rengafs ls --versions data/report.csv
    """
    with asking([path], endpoint, token_file) as (service, (where,)):
        target = service.target(where)
        if versions:
            _show_versions(_versions(service, target), as_json=as_json)
        else:
            _show(_entries(service, target), as_json=as_json)


def _entries(service: Service, target: Target) -> Iterator[Entry]:
    """Yield what a directory holds, as of one change, page by page as it comes."""
    number = ROOT
    if target.path:
        entry = service.run(calls.path(target.path, at=target.at))
        if not entry.node.kind.is_directory:
            yield entry
            return
        number = entry.node.id
    at, after = target.at, ""
    while True:
        page = service.run(calls.entries(number, after=after, limit=PAGE, at=at))
        yield from page.entries
        if not page.next:
            return
        at, after = page.change, page.next


def _show(entries: Iterator[Entry], *, as_json: bool) -> None:
    if as_json:
        output.as_json(list(entries))
        return
    output.table(
        ["bytes", "changed", "name"],
        (
            [
                "" if entry.node.kind.is_directory else str(entry.node.size),
                output.moment(entry.node.mtime_ns // 1_000_000),
                _named(entry),
            ]
            for entry in entries
        ),
    )


def _named(entry: Entry) -> str:
    target = f" -> {entry.node.target}" if entry.node.target else ""
    return f"{entry.name}{MARKS.get(str(entry.node.kind), '')}{target}"


def _versions(service: Service, target: Target) -> list[Version]:
    above, _, name = target.path.rpartition("/")
    if not above:
        raise refuse(Exit.USAGE, "name a file; buckets and directories have no saves")
    directory = service.run(calls.path(above, at=target.at)).node
    found: list[Version] = []
    after = ""
    while True:
        piece = service.run(calls.history(directory.id, name, after=after, limit=PAGE))
        found += piece.versions
        after = piece.next
        if not after:
            break
    if not found:
        raise NotFound(f"nothing was ever saved as {os.fspath(target.path)}")
    return found


def _show_versions(versions: list[Version], *, as_json: bool) -> None:
    if as_json:
        output.as_json(versions)
        return
    output.table(
        ["saved", "bytes", "by", "sha256", ""],
        [
            [
                output.moment(one.created_ms),
                str(one.size),
                one.author,
                one.sha256[:12],
                "conflict" if one.conflict else "",
            ]
            for one in versions
        ],
    )
