"""``rengafs record``: run a command, and lock the versions of all files that it read."""

import ctypes
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import asking, json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.lockfiles import write_lock
from rengafs.cli.mountasking import set_attribute
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.records import live_records
from rengafs.client import calls
from rengafs.protocol.locks import Locked, LockFile

ATTRIBUTE = "user.renga.record"
"""Set on the mount's root: the mount notes what our descendants open."""
PR_SET_CHILD_SUBREAPER = 36
NOT_FOUND = 127
"""What a shell ends with for a command that there is not."""


@click.command(
    epilog=epilog(Exit.NOT_MOUNTED, Exit.UNREACHABLE)
    + " Where the command ran, its own exit code.",
    context_settings={"ignore_unknown_options": True},
)
@click.option(
    "-o",
    "--output",
    "lock",
    type=PATH,
    metavar="FILE",
    default="rengafs.lock",
    show_default=True,
    help="Where to write the lock file.",
)
@click.option(
    "--mount",
    "mountpoint",
    type=PATH,
    metavar="DIR",
    help="The mount whose files count. [default: the one you are in, or the only one]",
)
@click.argument("words", metavar="-- COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@json_option
@debug_option
def command(lock: Path, mountpoint: Path | None, words: tuple[str, ...], as_json: bool) -> None:
    """Run COMMAND, and write a lock file with the version of every file of the mount it read.

    rengafs mount --lock FILE DIR then shows exactly those versions, whatever has become of
    the files since. What the command wrote itself is not in it, nor what it read below
    .versions.

    \b
      rengafs record -- python analysis.py
      rengafs record --output paper.lock -- make figures
      rengafs mount --lock paper.lock ~/inputs
    """
    if words[0].startswith("-"):
        raise click.NoSuchOption(words[0])
    paths = find_paths()
    place = _mount(paths, mountpoint)
    with asking([str(place)], None, None) as (service, _):
        catalog = service.run(calls.service()).catalog
    set_attribute(place, ATTRIBUTE, str(os.getpid()).encode())
    # What the command leaves running stays below us, and so is known as its own.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        code = subprocess.run(words, check=False).returncode
    except FileNotFoundError:
        output.aside(f"there is no command {words[0]}")
        code = NOT_FOUND
    recording = paths.recordings(place) / f"{os.getpid()}.jsonl"
    files = [msgspec.json.decode(line, type=Locked) for line in recording.read_bytes().splitlines()]
    recording.unlink()
    made = LockFile(
        catalog=catalog,
        command=list(words),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=sorted(files, key=lambda file: file.path),
    )
    write_lock(lock.absolute(), made)
    if as_json:
        output.as_json(made)
    else:
        output.aside(f"{lock}: {len(files)} files were read")
    sys.exit(code if code >= 0 else 128 - code)


def _mount(paths: Paths, given: Path | None) -> Path:
    """Return the mount point that is meant. Raises `SetupError`."""
    known = [Path(record.mountpoint) for record in live_records(paths)]
    if given is not None:
        wanted = Path(os.path.realpath(given))
        if wanted not in known:
            raise refuse(Exit.NOT_MOUNTED, f"{given} is no mount of yours; see rengafs status")
        return wanted
    here = Path(os.path.realpath("."))
    around = [place for place in known if here.is_relative_to(place)]
    if around:
        return around[0]
    if len(known) != 1:
        raise refuse(
            Exit.NOT_MOUNTED,
            "say which mount is meant, with --mount DIR; rengafs status lists them"
            if known
            else "nothing is mounted: rengafs mount DIR",
        )
    return known[0]
