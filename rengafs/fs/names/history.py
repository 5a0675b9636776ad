"""What stands under ``.versions/``: names, saves, and the directory as it was.

    dir/.versions/report.csv/2026-11-23T051233.123Z.csv     one save
    dir/.versions/gone.csv/…                                a deleted file's
    dir/.versions/gone-dir/…                                a deleted directory's names
    dir/.versions/@2026-11-23/…                             dir as it was at a moment
    dir/.versions/@paper-v1/…                               the same, by a label
    bucket/.versions/README.txt                             explains it

Names and saves are asked for anew at each look: they are few, and history that is a second
behind would hide the very save that somebody is looking for. What was as of a change is
asked for once: it stays so.

Behind an ``@`` a moment is looked for first, then a label, then a real name (``@types``).
"""

import time

from rengafs.fs.names.inodes import Guide, HistoryOf, Past, Saved, SavesOf, View
from rengafs.fs.remote import Remote
from rengafs.protocol import moments, names
from rengafs.protocol.errors import BadRequest, NotFound
from rengafs.protocol.records import ROOT, Kind, Node, PastName, Version

GUIDE = b"README.txt"
GUIDE_ASIDE = b"@README.txt"
"""Its name where a real file of the other one has a history."""

Listing = list[tuple[bytes, View]]


def history_of(directory: Node) -> HistoryOf:
    """Return ``.versions/`` of a directory."""
    return HistoryOf(directory.id, of_bucket=directory.kind is Kind.BUCKET)


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
    """The directories of history: as listings, and name by name."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def list(self, view: HistoryOf | SavesOf) -> Listing:
        """Return what stands in a directory of history, sorted by name."""
        if isinstance(view, SavesOf):
            versions = await self._remote.history(view.directory, view.name)
            return [(shown, Saved(version)) for shown, version in name_saves(versions)]
        past = await self._remote.past_names(view.directory)
        listing = [(names.from_wire(name.name), _view_of(view.directory, name)) for name in past]
        if view.of_bucket:
            taken = {name for name, _ in listing}
            listing += [item for item in await self._extras(view, taken) if item[0] not in taken]
            listing.sort(key=lambda item: item[0])
        return listing

    async def find(self, view: View, name: bytes) -> View:
        """Return what stands at *name*. Raises `NotFound`."""
        match view:
            case HistoryOf():
                return await self._find_name(view, name)
            case SavesOf():
                return await self._find_save(view, name)
            case Past(change, number):
                entry = await self._remote.find(number, names.to_wire(name), at=change)
                if entry is not None:
                    return Past(change, entry.node.id, entry.node)
            case _:
                pass
        raise _nothing(name)

    async def _find_name(self, view: HistoryOf, name: bytes) -> View:
        if name.startswith(b"@"):
            past = await self._past_at(view.directory, names.to_wire(name[1:]))
            if past is not None:
                return past
        try:
            found = await self._remote.past_name(view.directory, names.to_wire(name))
        except NotFound:
            if view.of_bucket and name in (GUIDE, GUIDE_ASIDE):
                return Guide(view.directory)
            raise
        return _view_of(view.directory, found)

    async def _find_save(self, view: SavesOf, name: bytes) -> View:
        # Only those of one millisecond are asked for: a name may have 10,000 saves.
        stamp = name[: moments.STAMP_LENGTH].decode(errors="replace")
        try:
            at_ms = moments.parse(stamp)
        except BadRequest:
            raise _nothing(name) from None
        versions = await self._remote.saved_at(view.directory, view.name, at_ms)
        for shown, version in name_saves(versions):
            if shown == name:
                return Saved(version)
        raise _nothing(name)

    async def _past_at(self, directory: int, when: str) -> Past | None:
        """Return the directory as it was; None if *when* is no moment and no label.

        Raises `NotFound` for a moment to come, and where the directory was not there.
        """
        try:
            first_ms, last_ms = moments.parse_span(when, zone=None)
        except BadRequest:
            label = await self._remote.find_label(directory, when)
            if label is None:
                return None
            return await self._past(directory, label.change, when)
        # Today is fine, tomorrow is not. Our clock may be behind the service's.
        if first_ms > time.time() * 1000 and first_ms > await self._remote.now_ms():
            raise NotFound(f"{when} is still to come")
        return await self._past(directory, await self._remote.change_at(last_ms), when)

    async def _past(self, directory: int, change: int, when: str) -> Past:
        missing = NotFound(f"the directory {directory} was not there at {when}")
        if change == 0:
            raise missing
        try:
            node = await self._remote.node(directory, at=change)
        except NotFound:
            raise missing from None
        if not node.links and directory != ROOT:
            raise missing
        return Past(change, directory, node, top=True)

    async def _extras(self, view: HistoryOf, taken: set[bytes]) -> Listing:
        guide = GUIDE if GUIDE not in taken else GUIDE_ASIDE
        extras: Listing = [(guide, Guide(view.directory))]
        for label in await self._remote.labels(view.directory):
            past = await self._past(view.directory, label.change, label.name)
            extras.append((b"@" + names.from_wire(label.name), past))
        return extras


def _view_of(directory: int, past: PastName) -> View:
    if past.kind.is_directory and not past.live:
        return HistoryOf(past.node, of_bucket=past.kind is Kind.BUCKET)
    return SavesOf(directory, past.name)


def _nothing(name: bytes) -> NotFound:
    return NotFound(f"history has no {names.to_wire(name)!r}")
