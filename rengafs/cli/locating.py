"""What a command's PATH means: a path of a mount, or ``bucket/path`` of a service.

    ~/buckets/data/report.csv           below a mount, wherever one stands
    data/report.csv                     elsewhere: of the service
    report.csv@2026-11-23T05:00         with a moment, or a label, behind the last @
    .versions/@2026-11-23/report.csv    the same, spelled as the mount spells it
    .versions/report.csv/2026-…Z.csv    a save

Nothing is asked here: a mount is found in the kernel's list, and a path may be long gone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rengafs.cli.exits import Exit, refuse
from rengafs.cli.mounttable import mounts
from rengafs.protocol.errors import BadRequest
from rengafs.protocol.moments import STAMP_LENGTH, parse
from rengafs.protocol.names import VERSIONS, to_wire


@dataclass(frozen=True, slots=True)
class Where:
    """A path of a service, as it was written."""

    path: str
    """``bucket/dir/file``, shown names; may have a moment behind an ``@`` still."""
    when: str = ""
    """What the path itself says of the moment: from ``.versions``."""
    mountpoint: Path | None = None
    """The mount that it is below; None for one of a service."""


def locate(text: str, *, of_service: bool) -> Where:
    """Return what *text* names. Raises `SetupError`, `BadRequest`.

    :param of_service: a service was given, so that no mount is meant.
    """
    if not of_service:
        found = _below_a_mount(text)
        if found is not None:
            return found
        if os.path.isabs(text) or text.startswith(("./", "../")) or text in (".", ".."):
            raise refuse(
                Exit.NOT_MOUNTED,
                f"{text} is in no mount of rengafs; name a path below one, or BUCKET/PATH of "
                "a service",
            )
    path = _normal(to_wire(os.fsencode(text)))
    return _out_of_versions(Where(path))


def in_a_mount() -> bool:
    """Whether the working directory is below a mount of ours."""
    return _below_a_mount(".") is not None


def split_moment(where: Where) -> list[Where]:
    """Return what the path may mean, most likely first: an ``@`` can be a part of a name.

    What stands behind the last ``@`` is a moment if it reads as one. Else the path is one
    with an ``@`` in it, if there is such; else what follows is a label.
    """
    stem, at, behind = where.path.rpartition("@")
    if where.when or not at or not stem or stem.endswith("/") or not behind or "/" in behind:
        return [where]
    dated = replace(where, path=stem, when=behind)
    try:
        parse(behind)
    except BadRequest:
        return [where, dated]
    return [dated]


def _below_a_mount(text: str) -> Where | None:
    path = os.path.abspath(text)
    # Not the last part: what it names may be a link, or gone. Through no dead mount either.
    directory, name = os.path.split(path)
    ours = sorted((m.path for m in mounts() if m.ours), key=lambda p: len(p.parts), reverse=True)
    for spelled in (path, None):
        if spelled is None:
            spelled = os.path.join(os.path.realpath(directory), name)
        for mountpoint in ours:
            if spelled == str(mountpoint) or spelled.startswith(f"{mountpoint}/"):
                inside = os.fsencode(spelled)[len(os.fsencode(mountpoint)) :]
                return _out_of_versions(Where(_normal(to_wire(inside)), mountpoint=mountpoint))
    return None


def _normal(path: str) -> str:
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _out_of_versions(where: Where) -> Where:
    """Return the path that a path in ``.versions`` tells of."""
    parts = where.path.split("/")
    if VERSIONS not in parts:
        return where
    index = parts.index(VERSIONS)
    above, below = parts[:index], parts[index + 1 :]
    if below and below[0].startswith("@"):
        return replace(where, path="/".join(above + below[1:]), when=below[0][1:])
    if len(below) > 1 and (stamp := _stamp(below)):
        return replace(where, path="/".join(above + below[:-1]), when=stamp)
    return replace(where, path="/".join(above + below))


def _stamp(parts: Sequence[str]) -> str:
    text = parts[-1][:STAMP_LENGTH]
    try:
        parse(text)
    except BadRequest:
        return ""
    return text if len(text) == STAMP_LENGTH else ""
