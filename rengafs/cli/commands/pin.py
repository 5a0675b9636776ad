"""``rengafs pin``: keep files whole on this machine, current, and safe from prune."""

import time
from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.pinning import Pinned, pin_of, pinned, poke_mounts, release, same
from rengafs.cli.transfers import transfer
from rengafs.fs.pins import records

LOOK_SECONDS = 0.1
START_SECONDS = 30.0
"""For a mount to begin with a pin."""
UNFINISHED = (records.WAITING, records.FETCHING)


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.NOT_MOUNTED, Exit.NO_SPACE))
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH]...")
@json_option
@debug_option
def command(paths: tuple[Path, ...], as_json: bool) -> None:
    """Keep PATH, a file, directory or bucket in a mount, on this machine; without PATH, list pins.

    What is pinned is read without the service, is not evicted from the cache, and is kept
    current by any mount of that service; rengafs prune spares it. Behind an @, or below
    .versions, PATH may be a moment, a label or one save: that is kept as it was. A pin
    lasts until rengafs unpin. Blobs that are on this machine anyway are not copied.

    \b
      rengafs pin ~/buckets/data/2026
      rengafs pin ~/buckets/data/report.csv@paper-v1
      rengafs pin
    """
    places = find_paths()
    pins = records.directory_of(places.state)
    if not paths:
        _show([pinned(places, pin) for pin in records.read_pins(pins)], as_json=as_json)
        return
    asked = [_write(places, path) for path in paths]
    poke_mounts(places)
    _wait(places, asked)
    done = [pinned(places, pin) for pin in asked]
    for pin, one in zip(asked, done, strict=True):
        if one.state == records.REFUSED:
            records.remove_pin(pins, pin.id)
            poke_mounts(places)
            release(places, pin)
    if as_json:
        output.as_json(done)
    _tell(done, quiet=as_json)


def _write(places: Paths, path: Path) -> records.Pin:
    """Write down what is asked for, unless it is there; return it."""
    pins = records.directory_of(places.state)
    pin, served = pin_of(places, path)
    for other in records.read_pins(pins):
        if same(pin, other):
            return other
    records.write_pin(pins, pin)
    if served.away_ms:
        output.aside(f"the service is away; {pin.name} is fetched when it is back")
    return pin


def _wait(places: Paths, asked: list[records.Pin]) -> None:
    """Wait until mounts are done with what was asked for, or can't go on."""
    until = time.monotonic() + START_SECONDS
    with transfer("fetching") as tell:
        while True:
            states = [pinned(places, pin) for pin in asked]
            total = sum(one.bytes for one in states)
            if total:
                tell(sum(one.fetched for one in states), total)
            begun = any(one.state == records.FETCHING for one in states)
            if not any(one.state in UNFINISHED for one in states):
                return
            if not begun and time.monotonic() > until:
                return
            time.sleep(LOOK_SECONDS)


def _tell(done: list[Pinned], *, quiet: bool) -> None:
    for one in done:
        if one.state == records.REFUSED:
            raise refuse(Exit.NO_SPACE, f"{one.name} is not pinned: {one.problem}")
        if one.problem:
            raise refuse(
                Exit.FAILED,
                f"{one.name} is pinned, but not whole yet: {one.problem}; it is tried again",
            )
        if not quiet:
            output.line(_described(one))


def _described(one: Pinned) -> str:
    size = output.size(one.bytes)
    match one.state:
        case records.KEPT if one.in_place:
            return f"{one.name}: {one.files} files, {size}, kept where they lie on this machine"
        case records.KEPT:
            return f"{one.name}: {one.files} files, {size}, kept"
        case _:
            return f"{one.name}: {one.state}"


def _show(found: list[Pinned], *, as_json: bool) -> None:
    if as_json:
        output.as_json(found)
    elif not found:
        output.line("nothing is pinned")
    else:
        output.table(
            ["pinned", "state", "files", "size", "service", "id"],
            [
                [
                    one.name,
                    f"{one.state}: {one.problem}" if one.problem else one.state,
                    str(one.files),
                    output.size(one.bytes),
                    one.endpoint,
                    one.id[:8],
                ]
                for one in found
            ],
        )
