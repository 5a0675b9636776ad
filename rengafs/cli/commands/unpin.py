"""``rengafs unpin``: let go of what was pinned."""

import os
from pathlib import Path

import click

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import debug_option
from rengafs.cli.paths import find_paths
from rengafs.cli.pinning import Pinned, find_pins, pinned, poke_mounts, release
from rengafs.fs.pins.records import directory_of, remove_pin
from rengafs.fs.reads.blockfiles import BlockFiles


@click.command(epilog=epilog(Exit.NOT_MOUNTED))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@json_option
@debug_option
def command(paths: tuple[str, ...], as_json: bool) -> None:
    """Let go of what rengafs pin has kept: PATH as it was given, BUCKET/PATH, or an id.

    The blocks stay in the cache until others need the room. Exits with 1 if it is not
    pinned.

    \b
      rengafs unpin ~/buckets/data/2026
      rengafs unpin data/report.csv@paper-v1
    """
    places = find_paths()
    gone: list[Pinned] = []
    for text in paths:
        found = find_pins(places, text)
        if not found:
            raise refuse(Exit.FAILED, f"{text} is not pinned; see: rengafs pin")
        for pin in found:
            gone.append(pinned(places, pin))
            remove_pin(directory_of(places.state), pin.id)
            BlockFiles(Path(os.path.abspath(pin.cache)), pin.catalog).unpin(pin.id)
            poke_mounts(places)
            release(places, pin)
            if not as_json:
                output.line(f"{pin.name} is not pinned any more")
    if as_json:
        output.as_json(gone)
