"""The bytes of one draft that are here: the latest in memory, the others on disk.

`drafts` knows what they mean and holds the lock under which every coroutine here runs;
only `buffer` may be added to without it. Raises `NoSpace` and the like, see `draftfiles`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import trio

from rengafs.fs.writes.draftfiles import About, DraftFiles, Piece, Range
from rengafs.fs.writes.draftlimits import DraftLimits
from rengafs.fs.writes.extents import Extents
from rengafs.fs.writes.flights import Flight
from rengafs.fs.writes.writebuffer import WriteBuffer
from rengafs.protocol.operations import FileHere

T = TypeVar("T")


class Place(Protocol):
    """Where drafts are kept, and what they share. A `DraftStore`."""

    directory: Path
    limiter: trio.CapacityLimiter
    limits: DraftLimits
    buffered_bytes: int


class LocalBytes:
    """Memory and files of one draft.

    :param about: describes the draft, as it is on disk at that moment.
    """

    def __init__(self, place: Place, length: int, about: Callable[[], About]) -> None:
        self.stored = Extents()
        """On disk; what is in the buffer may be newer."""
        self.stored_length = length
        """Of the content, without what is in the buffer."""
        self.files: DraftFiles | None = None
        self._place = place
        self._about = about
        self._buffer = WriteBuffer(place.limits)
        self._undescribed = 0
        self._lying: FileHere | None = None
        self._given = False

    # --- memory -----------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more fit into the buffer."""
        return self._buffer.has_room(size)

    def add(self, offset: int, data: bytes) -> None:
        """Take *data* into the buffer."""
        self._place.buffered_bytes += len(data)
        self._buffer.add(offset, data)

    def newest(self, start: int, stop: int) -> list[Piece]:
        """Return copies of what the buffer has between *start* and *stop*."""
        return self._buffer.within(start, stop)

    def cut(self, length: int) -> None:
        """Forget the bytes at *length* and beyond; `tidy` gives back their room on disk."""
        held = self._buffer.size
        self._buffer.cut(length)
        self._place.buffered_bytes += self._buffer.size - held
        self.stored.cut(length)
        self.stored_length = min(self.stored_length, length)

    def saved(self, length: int) -> None:
        """Take in that the service has *length* bytes: a description must not say less."""
        self.stored_length = max(self.stored_length, length)

    def take(self) -> deque[Piece]:
        """Empty the buffer and return what was in it."""
        self._place.buffered_bytes -= self._buffer.size
        return self._buffer.take()

    def _put_back(self, pieces: deque[Piece]) -> None:
        held = self._buffer.size
        self._buffer.put_back(pieces)
        self._place.buffered_bytes += self._buffer.size - held

    # --- disk -------------------------------------------------------------------------

    async def layers(self, ranges: Iterable[Range], newest: list[Piece]) -> list[Piece]:
        """Return what is on disk within *ranges*, then *newest*."""
        stored = [pair for wanted in ranges for pair in self.stored.within(*wanted)]
        if self.files is None or not stored:
            return newest
        parts = await self._in_thread(self.files.read, stored)
        return [(start, part) for (start, _), part in zip(stored, parts, strict=True)] + newest

    async def flush(self, length: int, flight: Flight | None) -> None:
        """Write the buffer to disk; what is refused stays in it.

        :param length: of the content.
        :param flight: a commit under way, older than the buffer, that needs the old bytes.
        """
        pieces = self.take()
        try:
            await self._write(pieces, flight)
        finally:
            self._put_back(pieces)
        self.stored_length = length

    async def write_through(
        self, offset: int, data: bytes, length: int, flight: Flight | None
    ) -> None:
        """Write the buffer and *data* to disk; the latter is not kept if it is refused."""
        pieces = self.take()
        pieces.append((offset, data))
        try:
            await self._write(pieces, flight)
        finally:
            if pieces:
                pieces.pop()
            self._put_back(pieces)
        self.stored_length = max(length, offset + len(data))

    async def _write(self, pieces: deque[Piece], flight: Flight | None) -> None:
        """Write *pieces*; those left in it were not written."""
        if not pieces:
            return
        files = await self._on_disk()
        ranges = [(offset, offset + len(data)) for offset, data in pieces]
        if flight is not None:
            await self._save_before(files, flight, ranges)
        await self._keep_apart(files)
        try:
            await self._in_thread(files.write, pieces)
        finally:
            for start, stop in ranges[: len(ranges) - len(pieces)]:
                self.stored.add(start, stop)
                self._undescribed += stop - start

    async def lying(self) -> FileHere:
        """Return the file that has what is on disk."""
        files = await self._on_disk()
        if self._lying is None:
            self._lying = await self._in_thread(files.lying)
        return self._lying

    def give(self) -> None:
        """Write no more to the file that `lying` told of."""
        self._given = True

    async def _keep_apart(self, files: DraftFiles) -> None:
        """Have a file of our own, before it is written to."""
        if self._given:
            await self._in_thread(files.detach)
            self._given, self._lying = False, None

    async def _save_before(self, files: DraftFiles, flight: Flight, ranges: list[Range]) -> None:
        hit = Extents(pair for wanted in ranges for pair in flight.local.within(*wanted))
        unsaved = [gap for pair in hit for gap in flight.saved.gaps(*pair)]
        if unsaved:
            await self._in_thread(files.save_before, unsaved)
            for pair in unsaved:
                flight.saved.add(*pair)

    async def as_they_were(self, flight: Flight, start: int, stop: int) -> list[Piece]:
        """Return the local bytes between *start* and *stop* as of the flight's snapshot."""
        local = flight.local.within(start, stop)
        if self.files is None or not local:
            return []
        saved = [pair for part in local for pair in flight.saved.within(*part)]
        kept = [pair for part in local for pair in flight.saved.gaps(*part)]
        parts = await self._in_thread(self.files.read_mixed, kept, saved)
        return [(at, part) for (at, _), part in zip(kept + saved, parts, strict=True)]

    async def tidy(self) -> None:
        """Give back room on disk that nothing needs any more."""
        if self.files is not None:
            await self._keep_apart(self.files)
            end = max((stop for _, stop in self.stored), default=0)
            await self._in_thread(self.files.tidy, end)

    @property
    def is_description_due(self) -> bool:
        """Whether ``about.json`` should be brought up to date unasked."""
        return self._undescribed >= self._place.limits.checkpoint

    async def describe(self, *, durable: bool) -> None:
        """Bring ``about.json`` up to date; the files are made if there are none."""
        files = await self._on_disk()
        await self._in_thread(partial(files.write_about, self._about(), durable=durable))
        self._undescribed = 0

    async def end(self, end: Callable[[DraftFiles], None]) -> None:
        """Let go of the memory, and of the files in the way of *end*."""
        self.take()
        if self.files is not None:
            await self._in_thread(end, self.files)
            self.files = None

    async def _on_disk(self) -> DraftFiles:
        if self.files is None:
            create = partial(DraftFiles.create, self._place.directory, self._about())
            self.files = await self._in_thread(create)
        return self.files

    async def _in_thread(self, do: Callable[..., T], *args: Any) -> T:
        return await trio.to_thread.run_sync(do, *args, limiter=self._place.limiter)
