"""``mount.rengafs`` and ``umount.fuse.rengafs``: what mount(8), fstab and systemd call.

They translate into ``rengafs mount`` and ``rengafs umount``, and know nothing else. An
option of ``rengafs mount`` is written without its dashes, ``token-file=/etc/rengafs/token``;
``_`` does for ``-``, as ``allow_other`` is known from other filesystems.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from rengafs.cli import output
from rengafs.cli.commands.mount import command as mount_command
from rengafs.cli.defaults import option_of
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.main import main
from rengafs.client.access.settings import EMBEDDED
from rengafs.protocol.errors import SetupError

FAILED, WRONG_USAGE = 32, 1
"""Exit codes of mount(8)."""
EMBEDDED_SPECS = ("rengafs", "none", EMBEDDED)
"""What stands in fstab where no service is meant."""
FOR_OTHERS = (
    "defaults rw auto noauto user nouser users owner group nofail _netdev suid nosuid dev nodev "
    "exec noexec atime noatime diratime nodiratime relatime norelatime strictatime lazytime "
    "nolazytime sync async dirsync silent loud"
)
"""Options for mount(8), systemd or the kernel, which need no word of ours."""


def mount() -> NoReturn:
    """Run ``mount.rengafs SPEC DIR [-sfnv] [-t TYPE] [-o OPTIONS]``, or its counterpart."""
    if os.path.basename(sys.argv[0]).startswith("umount"):
        _run(unmount_arguments, sys.argv[1:])
    _run(mount_arguments, sys.argv[1:])


def _run(translate: Callable[[Sequence[str]], list[str] | None], arguments: list[str]) -> NoReturn:
    try:
        translated = translate(arguments)
    except SetupError as error:
        output.aside(error.message)
        sys.exit(WRONG_USAGE)
    if translated is None:
        sys.exit(0)
    try:
        main(translated)
    except SystemExit as end:
        sys.exit({0: 0, Exit.USAGE: WRONG_USAGE}.get(int(end.code or 0), FAILED))
    raise AssertionError("main exits")


def mount_arguments(arguments: Sequence[str]) -> list[str] | None:
    """Return what to tell ``rengafs``; None if nothing is to be done. Raises `SetupError`."""
    places, options, flags = _parsed(arguments, "sfnvw", "Not")
    if len(places) != 2:
        raise refuse(Exit.USAGE, "say: mount.rengafs URL|NAME|rengafs DIR [-o OPTIONS]")
    if "f" in flags:
        return None
    spec, directory = places
    endpoint = EMBEDDED if spec in EMBEDDED_SPECS else spec
    told = ["mount", "--endpoint", endpoint, "--source", spec]
    for option in options:
        told += _option(option)
    return [*told, "--", directory]


def unmount_arguments(arguments: Sequence[str]) -> list[str]:
    """Return what to tell ``rengafs``. Raises `SetupError`."""
    places, _options, flags = _parsed(arguments, "fnvrl", "Not")
    if len(places) != 1:
        raise refuse(Exit.USAGE, "say: umount.fuse.rengafs DIR")
    return ["umount", *(["--lazy"] if flags & {"l", "f"} else []), "--", places[0]]


def _parsed(
    arguments: Sequence[str], plain: str, valued: str
) -> tuple[list[str], list[str], set[str]]:
    """Return what is no option, the parts of ``-o``, and the letters without a value."""
    places: list[str] = []
    options: list[str] = []
    flags: set[str] = set()
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-") or word == "-":
            places.append(word)
            continue
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in plain:
                flags.add(letter)
            elif letter in valued:
                value = letters or next(rest, "")
                letters = ""
                if letter == "o":
                    options += [part for part in value.split(",") if part]
            else:
                raise refuse(Exit.USAGE, f"there is no option -{letter}; see mount(8)")
    return places, options, flags


def _option(text: str) -> list[str]:
    """Return a part of ``-o`` as ``rengafs mount`` takes it; nothing if it is for others."""
    name, equals, value = text.partition("=")
    if name == "ro":
        return ["--read-only"]
    if name in FOR_OTHERS.split() or name.startswith(("x-", "comment")):
        return []
    key = name.replace("_", "-")
    if option_of(mount_command, key) is None or key in ("endpoint", "foreground", "help", "source"):
        raise refuse(Exit.USAGE, f"rengafs mount has no option {name!r}; see: rengafs mount --help")
    if _is_flag(key):
        if equals:
            raise refuse(Exit.USAGE, f"the option {name} takes no value")
        return [f"--{key}"]
    if not value:
        raise refuse(Exit.USAGE, f"the option {name} wants a value: {name}=…")
    return [f"--{key}", value]


def _is_flag(key: str) -> bool:
    options = (one for one in mount_command.params if isinstance(one, click.Option))
    return any(one.is_flag for one in options if f"--{key}" in one.opts)
