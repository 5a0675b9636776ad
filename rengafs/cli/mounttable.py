"""The kernel's list of mounts, read from ``/proc``: asking it never touches a mount."""

import re
from dataclasses import dataclass
from pathlib import Path

SUBTYPE = "rengafs"
"""What stands behind ``fuse.`` in the type of our mounts."""
OWN_SOURCE = "rengafs:embedded"
"""The source of a mount of the embedded service. Not just ``rengafs``, which mount(8) shows as a
path wherever there is a directory of that name."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of the list."""

    path: Path
    type: str
    source: str

    @property
    def ours(self) -> bool:
        """Whether a rengafs mount made it."""
        return self.type == f"fuse.{SUBTYPE}"


def mounts() -> list[Mounted]:
    """Return what is mounted, in the order in which it was."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return [_parse(line) for line in text.splitlines()]


def find_mount(path: Path) -> Mounted | None:
    """Return what is mounted at *path*, the topmost if several are, or None."""
    return next((mount for mount in reversed(mounts()) if mount.path == path), None)


def _parse(line: str) -> Mounted:
    # proc(5): six fields, any number of optional ones, "-", type, source, options.
    before, _, after = line.partition(" - ")
    kind, source, *_ = after.split(" ")
    return Mounted(Path(_unescape(before.split(" ")[4])), kind, _unescape(source))


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
