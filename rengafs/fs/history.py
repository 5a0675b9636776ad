"""What stands under ``.versions/``: names, and one read-only file a save.

    dir/.versions/report.csv/2026-11-23T051233.123Z.csv     one save
    dir/.versions/gone.csv/…                                a deleted file's
    dir/.versions/gone-dir/…                                a deleted directory's names

Names and saves are asked for anew at each look: they are few, and history that is a second
behind would hide the very save that somebody is looking for.
"""

from rengafs.fs.inodes import HistoryOf, Saved, SavesOf, View
from rengafs.fs.remote import Remote
from rengafs.protocol import moments, names
from rengafs.protocol.errors import NotFound
from rengafs.protocol.records import PastName, Version

Listing = list[tuple[bytes, View]]


def save_name(version: Version, *, taken: bool) -> bytes:
    """Return the name of a save; *taken* if an elder save of the same millisecond has it."""
    raw = names.from_wire(version.name)
    suffix = b"~%d" % version.id if taken else b""
    return moments.stamp(version.created_ms).encode() + suffix + names.extension(raw)


def name_saves(versions: list[Version]) -> list[tuple[bytes, Version]]:
    """Return the saves with their names, in order, each name once."""
    named: list[tuple[bytes, Version]] = []
    seen: set[bytes] = set()
    for version in versions:
        name = save_name(version, taken=False)
        if name in seen:
            name = save_name(version, taken=True)
        seen.add(name)
        named.append((name, version))
    return named


class History:
    """The directories of history, as listings."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def list(self, view: View) -> Listing:
        """Return what stands in a directory of history, sorted by name."""
        match view:
            case HistoryOf(directory):
                past = await self._remote.past_names(directory)
                return [(names.from_wire(name.name), _view_of(directory, name)) for name in past]
            case SavesOf(directory, name):
                versions = await self._remote.history(directory, name)
                return [(shown, Saved(version)) for shown, version in name_saves(versions)]
            case Saved():
                return []

    async def find(self, view: View, name: bytes) -> View:
        """Return what stands at *name*. Raises `NotFound`."""
        for shown, found in await self.list(view):
            if shown == name:
                return found
        raise NotFound(f"history has no {names.to_wire(name)!r}")


def _view_of(directory: int, past: PastName) -> View:
    if past.kind.is_directory and not past.live:
        return HistoryOf(past.node)
    return SavesOf(directory, past.name)
