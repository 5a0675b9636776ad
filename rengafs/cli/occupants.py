"""Which processes keep a mount busy, as far as this user may see."""

import os
from collections.abc import Iterator
from pathlib import Path

MOST = 5
"""A message names so many."""


def occupants(mountpoint: Path) -> list[str]:
    """Return processes that stand in *mountpoint* or have a file of it open: ``vim (123)``.

    Looks at links in ``/proc`` only, never at the mount itself, which may not answer.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if any(_inside(target, mountpoint) for target in _uses(process)):
            found.append(f"{_name(process)} ({process.name})")
            if len(found) == MOST:
                break
    return found


def _uses(process: Path) -> Iterator[str]:
    for link in ("cwd", "root", "exe"):
        yield _target(process / link)
    try:
        descriptors = os.listdir(process / "fd")
    except OSError:
        return  # another user's, or it has ended
    for descriptor in descriptors:
        yield _target(process / "fd" / descriptor)


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _inside(target: str, mountpoint: Path) -> bool:
    return target == str(mountpoint) or target.startswith(f"{mountpoint}/")


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "a process"
