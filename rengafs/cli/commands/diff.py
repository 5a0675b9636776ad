"""``rengafs diff``: in what a file or a tree differs between two moments."""

import difflib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import Service, Target, asking, json_option, service_options
from rengafs.cli.completing import complete_path
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.client import calls
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import Difference, Kind, Node

MAX_TEXT = 16 << 20
"""Bytes of a file whose lines are compared: a diff in memory takes many times as much."""


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_MOUNTED))
@click.argument("path", metavar="PATH[@A]", shell_complete=complete_path)
@click.argument("until", metavar="[@B]", required=False)
@service_options
@json_option
@debug_option
def command(
    path: str, until: str | None, endpoint: str | None, token_file: Path | None, as_json: bool
) -> None:
    """Show in what PATH as of B (now, unless given) differs from PATH as of A.

    Of a file, the lines, as diff -u shows them; of a directory, what came, went and
    changed. For a file, A may be left out: then its last save is compared with the one
    before. A and B are moments or labels.

    \b
      rengafs diff ~/buckets/data/report.csv
      rengafs diff ~/buckets/data@2026-11-22 @2026-11-23
      rengafs diff --json ~/buckets/data@paper-v1
    """
    with asking([path], endpoint, token_file) as (service, (where,)):
        one = service.target(where)
        if one.at is None:
            one = _before_last(service, one)
        other = _later(service, one, until)
        found = service.run(calls.differences(one.path, one.at, other.at))
        if as_json:
            output.as_json(found)
            return
        for line in _lines(service, one, other, found):
            output.line(line)


def _before_last(service: Service, target: Target) -> Target:
    """Return the file as it was before its last save."""
    entry = service.find(target.path)
    if entry is None:
        raise NotFound(f"there is no {target.path}; of what is deleted, say a moment: PATH@A")
    if entry.node.kind is not Kind.FILE or entry.node.version is None:
        raise refuse(Exit.USAGE, f"say since when: {target.path}@MOMENT")
    version = service.run(calls.version(entry.node.version))
    return replace(target, when="before the last save", at=version.change - 1)


def _later(service: Service, one: Target, until: str | None) -> Target:
    if until is None:
        return Target(one.path)
    if not until.startswith("@") or len(until) == 1:
        raise refuse(Exit.USAGE, f"{until!r} is no moment; write it as @2026-11-23 or @LABEL")
    return Target(one.path, until[1:], service.change_of(until[1:], one.path))


def _lines(service: Service, one: Target, other: Target, found: list[Difference]) -> Iterator[str]:
    """Yield what people read."""
    if [item.path for item in found] == [""] and found[0].kind is Kind.FILE:
        nodes = [service.find(target.path, target.at) for target in (one, other)]
        before, after = (None if entry is None else entry.node for entry in nodes)
        yield from _text(service, (one, before), (other, after))
        return
    for item in found:
        path = f"{one.path}/{item.path}" if item.path else one.path
        sizes = {
            "added": f" ({item.size_after} bytes)",
            "removed": f" ({item.size_before} bytes)",
            "changed": f" ({item.size_before} -> {item.size_after} bytes)",
        }
        shown = sizes.get(item.how, "") if item.kind is Kind.FILE else f" ({item.kind})"
        yield f"{item.how:<10} {path}{shown}"


def _text(
    service: Service, one: tuple[Target, Node | None], other: tuple[Target, Node | None]
) -> Iterator[str]:
    texts = []
    for target, node in (one, other):
        data = b""
        if node is not None and node.version is not None:
            data = service.read(calls.content(node.version), MAX_TEXT)
        if b"\0" in data[:8192] or len(data) > MAX_TEXT:
            yield f"{target.path} is not a text, or too long to compare by lines; it has changed"
            return
        texts.append(data.decode(errors="replace").splitlines())
    yield from difflib.unified_diff(
        texts[0], texts[1], f"{one[0].name}", f"{other[0].name}", lineterm=""
    )
