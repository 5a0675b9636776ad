"""`Draft`: bytes written over a version, not yet a version themselves.

What a draft reads as, from top to bottom: what was written lately (in memory), what was
written before (its file on disk), the version it was begun on as far as no truncate has
cut it, zeros. Small drafts never touch the disk.

What protects what: *state* (length, extents, generation) changes only between awaits, so it
is always whole. *Bytes on disk* are read and written under the draft's lock, so a read, a
flush and a commit's payload see them in one order. A write that fits the memory buffer
takes no lock and does not wait; its bytes are newer than any that a lock holder handles.
Nobody holds the lock while waiting for the service.

A commit under way is a `Flight`: it sends the bytes as they were at the snapshot. Whoever
writes over such bytes meanwhile first has the old ones copied aside.

Refused bytes: a write raises `NoSpace` itself, or has its bytes in memory; those that the
disk refuses later stay there, and each write, checkpoint and snapshot raises `NoSpace`
until it takes them.
"""

import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import trio

from rengafs.fs import draftfiles
from rengafs.fs.draftfiles import About, DraftFiles, Leftover, Piece, Range
from rengafs.fs.extents import Extents
from rengafs.protocol.errors import Corrupt, RengafsError

log = logging.getLogger(__name__)

T = TypeVar("T")

BUFFER_BYTES = 1 << 20
"""Of small writes, for each draft, before they go to disk."""

ALL_BUFFERS_BYTES = 64 << 20
"""Of all drafts of a mount."""

PIECES = 4096
"""Scattered writes in one buffer: each costs more than its bytes."""

THROUGH_BYTES = 512 << 10
"""Writes of this size gain nothing from the buffer."""

COPY_BYTES = 64 << 10
"""Smaller writes are joined to those before them; larger ones are kept as they came."""

FAR = 1 << 40
"""Beyond this a disk may refuse for the offset alone: its answer must reach this write."""

PAYLOAD_PIECE = 1 << 20
INLINE_BYTES = 1 << 20
"""Payloads up to this are taken into memory with the snapshot: no flight to protect."""

MAX_EXTENTS = 50_000
"""Of one commit: they are one line of JSON. With more, bytes between them are sent too."""

CHECKPOINT_BYTES = 16 << 20
"""Written to disk before ``about.json`` is brought up to date unasked."""


class BaseReader(Protocol):
    """What a draft was begun on. A `VersionReader`, say."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return exactly these bytes; fewer only at the end."""


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """What is to be sent, so that the service has what the draft was at the snapshot."""

    base: int | None
    """The version that shows through; None if no byte of it does."""
    length: int
    extents: list[tuple[int, int]]
    """(offset, length), as `Commit` has them. Neither here nor in the base: zero."""
    payload_bytes: int
    open_payload: Callable[[], AsyncIterator[bytes]]
    """Begins the payload anew each time; `trio.ClosedResourceError` once the plan is over."""
    begun_on: int | None
    """The version that the edit started from, shown or not."""
    mtime_ns: int


@dataclass(slots=True, eq=False)
class _Flight:
    """A commit under way."""

    sent: Extents
    local: Extents
    """Of what is sent, the part that is in the draft's file."""
    base_stop: int
    """Of what is sent, bytes below this and not local are the base's; the others are zero."""
    cut: int
    """The least length that the draft has had since."""
    generation: int
    since: Extents = field(default_factory=Extents)
    """Written after the snapshot."""
    saved: Extents = field(default_factory=Extents)
    """Copied aside, because written over."""
    inline: bytes | None = None
    plan: CommitPlan | None = None


class _Buffer:
    """Writes that are not on disk yet, in the order in which they came."""

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        self.size = 0

    def has_room(self, size: int) -> bool:
        return self.size + size <= BUFFER_BYTES and len(self.pieces) < PIECES

    def add(self, offset: int, data: bytes) -> None:
        self.size += len(data)
        if len(data) < COPY_BYTES:
            if self.pieces:
                start, last = self.pieces[-1]
                if start + len(last) == offset and isinstance(last, bytearray):
                    last += data
                    return
            self.pieces.append((offset, bytearray(data)))
        else:
            self.pieces.append((offset, data))

    def take(self) -> deque[Piece]:
        pieces, self.pieces, self.size = self.pieces, deque(), 0
        return pieces

    def put_back(self, pieces: deque[Piece]) -> None:
        self.pieces.extendleft(reversed(pieces))
        self.size = sum(len(data) for _, data in self.pieces)

    def cut(self, length: int) -> None:
        kept = [
            (offset, data[: length - offset]) for offset, data in self.take() if offset < length
        ]
        self.put_back(deque(kept))

    def within(self, start: int, stop: int) -> list[Piece]:
        """Return copies of what lies between *start* and *stop*."""
        return [
            (max(offset, start), bytes(data[max(start - offset, 0) : stop - offset]))
            for offset, data in self.pieces
            if offset < stop and start < offset + len(data)
        ]


class Draft:
    """The changed content of one file; all its handles share it. Made by `DraftStore`.

    Every method may raise `NoSpace`, and `InternalError` for a broken disk.
    """

    def __init__(
        self,
        store: "DraftStore",
        *,
        file: int,
        name: str,
        base: int | None,
        base_length: int,
        reader: BaseReader | None,
    ) -> None:
        self.file = file
        self.name = name
        self.base = base
        """The version that the next commit is based on."""
        self.base_length = base_length
        """So much of the base shows through; the least length since."""
        self.mtime_ns = store.clock()
        """Of the last write."""
        self._store = store
        self._length = self._base_size = base_length
        # The reader is of the version that the draft was begun on, and stays: what later
        # versions changed is in the draft's own file.
        self._reader = reader
        self._reader_stop = base_length if reader is not None else 0
        self._local = Extents()
        self._changed = Extents()
        self._buffer = _Buffer()
        self._files: DraftFiles | None = None
        self._lock = trio.Lock()
        self._flight: _Flight | None = None
        self._generation = self._committed = 0
        self._since_about = 0
        self._why = ""
        self._closed = False

    @property
    def length(self) -> int:
        """Bytes of the whole content."""
        return self._length

    @property
    def dirty(self) -> bool:
        """Whether anything has changed since the last commit's snapshot."""
        return self._generation != self._committed

    @property
    def extents(self) -> Extents:
        """What was written since the base. Not to be changed."""
        return self._changed

    # --- reading and writing ----------------------------------------------------------

    async def write(self, offset: int, data: bytes) -> None:
        """Write *data* at *offset*, all of it or none."""
        size = len(data)
        if not size:
            return
        self._check_open()
        if size >= THROUGH_BYTES or offset + size > FAR or not self._store.has_room(size):
            await self._write_through(offset, data)
            return
        while not self._buffer.has_room(size):
            await self._flush()
        self._store.buffered_bytes += size
        self._buffer.add(offset, data)
        self._note(offset, offset + size)

    async def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes, or fewer at the end. Raises what reading the base raises."""
        self._check_open()
        async with self._lock:
            stop = min(offset + size, self._length)
            if offset >= stop:
                return b""
            reader = self._reader
            missing = [
                (start, min(end, self._reader_stop))
                for start, end in self._local.gaps(offset, stop)
                if start < self._reader_stop
            ]
            content = await self._local_bytes(offset, stop)
        for start, end in missing:
            content = await _laid_over(content, offset, reader, start, end)
        return bytes(content)

    async def truncate(self, length: int) -> None:
        """Cut or grow; bytes that come into being are zero."""
        self._check_open()
        async with self._lock:
            before, self._length = self._length, length
            self.mtime_ns = self._store.clock()
            if length == before:
                return
            self._generation += 1
            if length > before:
                return
            self._cut(length)
            if self._flight is None and self._files is not None:
                # Only for the space: what is not local is never looked at. A flight still
                # needs it; then `committed` or the next truncate does this.
                await self._in_thread(self._files.tidy, length)

    def _cut(self, length: int) -> None:
        held = self._buffer.size
        self._buffer.cut(length)
        self._store.buffered_bytes += self._buffer.size - held
        for extents in (self._local, self._changed):
            extents.cut(length)
        self.base_length = min(self.base_length, length)
        self._reader_stop = min(self._reader_stop, length)
        if self._flight is not None:
            self._flight.since.cut(length)
            self._flight.cut = min(self._flight.cut, length)

    def _note(self, start: int, stop: int) -> None:
        self._local.add(start, stop)
        self._changed.add(start, stop)
        if self._flight is not None:
            self._flight.since.add(start, stop)
        self._length = max(self._length, stop)
        self._generation += 1
        self.mtime_ns = self._store.clock()

    async def _local_bytes(self, start: int, stop: int) -> bytes | bytearray:
        """Return what is local between *start* and *stop*, zeros elsewhere. Under the lock."""
        newest = self._buffer.within(start, stop)
        ranges = self._local.within(start, stop)
        parts: list[bytes] = []
        if self._files is not None and ranges:
            parts = await self._in_thread(self._files.read, ranges)
            if ranges == [(start, stop)] and not newest:
                return parts[0]
        elif len(newest) == 1 and len(newest[0][1]) == stop - start:
            return newest[0][1]
        content = bytearray(stop - start)
        for (at, end), part in zip(ranges, parts, strict=False):
            content[at - start : end - start] = part
        for at, part in newest:
            content[at - start : at - start + len(part)] = part
        return content

    # --- to disk ----------------------------------------------------------------------

    async def _write_through(self, offset: int, data: bytes) -> None:
        async with self._lock:
            pieces = self._taken()
            pieces.append((offset, data))
            try:
                await self._write_down(pieces)
            finally:
                if pieces:
                    pieces.pop()  # refused: the caller is told, so it is not kept
                self._put_back(pieces)
            self._note(offset, offset + len(data))

    async def _flush(self) -> None:
        async with self._lock:
            await self._flush_locked()

    async def _flush_locked(self, *, over_flight: bool = True) -> None:
        pieces = self._taken()
        try:
            await self._write_down(pieces, over_flight=over_flight)
        finally:
            self._put_back(pieces)

    def _taken(self) -> deque[Piece]:
        self._store.buffered_bytes -= self._buffer.size
        return self._buffer.take()

    def _put_back(self, pieces: deque[Piece]) -> None:
        if pieces:
            held = self._buffer.size
            self._buffer.put_back(pieces)
            self._store.buffered_bytes += self._buffer.size - held

    async def _write_down(self, pieces: deque[Piece], *, over_flight: bool = True) -> None:
        """Write *pieces* to disk; those left in it were not written. Under the lock.

        :param over_flight: whether they are newer than the flight's snapshot.
        """
        if not pieces:
            return
        files = await self._on_disk()
        if over_flight and self._flight is not None:
            await self._save_before(files, self._flight, pieces)
        size = sum(len(data) for _, data in pieces)
        await self._in_thread(files.write, pieces)
        self._since_about += size
        if self._since_about >= CHECKPOINT_BYTES:
            await self._describe(files, durable=False)

    async def _save_before(
        self, files: DraftFiles, flight: _Flight, pieces: Iterable[Piece]
    ) -> None:
        hit = Extents()
        for offset, data in pieces:
            for pair in flight.local.within(offset, offset + len(data)):
                hit.add(*pair)
        ranges = [gap for pair in hit for gap in flight.saved.gaps(*pair)]
        if ranges:
            await self._in_thread(files.save_before, ranges)
            for pair in ranges:
                flight.saved.add(*pair)

    async def _on_disk(self) -> DraftFiles:
        if self._files is None:
            self._files = await self._in_thread(
                DraftFiles.create, self._store.directory, self._about()
            )
        return self._files

    async def _describe(self, files: DraftFiles, *, durable: bool) -> None:
        def write() -> None:
            files.write_about(about, durable=durable)

        about = self._about()
        await self._in_thread(write)
        self._since_about = 0

    def _about(self) -> About:
        return About(
            file=self.file,
            name=self.name,
            base=self.base,
            base_size=self._base_size,
            base_length=self.base_length,
            length=self._length,
            extents=list(self._changed),
            mtime_ns=self.mtime_ns,
            mount=self._store.mount,
            why=self._why,
        )

    async def _in_thread(self, do: Callable[..., T], *args: Any) -> T:
        return await trio.to_thread.run_sync(do, *args, limiter=self._store.limiter)

    # --- commits ----------------------------------------------------------------------

    async def snapshot(self) -> CommitPlan:
        """Return what must be sent for the draft as it is now.

        One plan at a time: a new one ends the one before, which can then be neither sent
        nor `committed`. Writes may go on; they are not in the plan, and leave the draft dirty.
        """
        self._check_open()
        async with self._lock:
            self._flight = flight = self._depart()
            try:
                if flight.sent.total <= INLINE_BYTES and len(flight.sent) < MAX_EXTENTS:
                    parts = [bytes(await self._local_bytes(*pair)) for pair in flight.sent]
                    flight.inline = b"".join(parts)
                    flight.local = Extents()
                else:
                    # What is buffered now belongs to the snapshot; what comes while it is
                    # being written does not, and stays in the buffer.
                    await self._flush_locked(over_flight=False)
            except BaseException:
                self._flight = None
                raise
        assert flight.plan is not None, "made in _depart"
        return flight.plan

    async def committed(self, plan: CommitPlan, version: int, size: int) -> None:
        """Go on from *version*, of *size* bytes, which *plan* has become."""
        flight = self._flight
        assert flight is not None and flight.plan is plan, "another snapshot was taken"
        self._flight = None
        self._changed = flight.since
        self._committed = flight.generation
        self.base, self._base_size = version, size
        self.base_length = min(size, flight.cut)
        self._why = ""
        if self._files is not None and (flight.saved or flight.cut < plan.length):
            async with self._lock:
                end = max((stop for _, stop in self._local), default=0)
                await self._in_thread(self._files.tidy, end)

    def rebase(self, version: int) -> None:
        """Go on from *version*, which has the same bytes as the base: a file was renamed."""
        self.base = version

    def _depart(self) -> _Flight:
        """Return the flight of what the draft is now, with its plan."""
        shown = min(self.base_length, self._length)
        sent = self._changed.copy()
        base = None if sent.covers(0, shown) else self.base
        if base is not None:
            # The service cuts the base once, at the end: what was cut off before the draft
            # grew again must be sent as zeros.
            sent.add(self.base_length, min(self._base_size, self._length))
        sent = _coarsened(sent, MAX_EXTENTS)
        flight = _Flight(
            sent=sent,
            local=self._local.copy(),
            base_stop=self._reader_stop,
            cut=self._length,
            generation=self._generation,
        )
        flight.plan = CommitPlan(
            base=base,
            length=self._length,
            extents=[(start, stop - start) for start, stop in sent],
            payload_bytes=sent.total,
            open_payload=lambda: self._payload(flight),
            begun_on=self.base,
            mtime_ns=self.mtime_ns,
        )
        return flight

    async def _payload(self, flight: _Flight) -> AsyncIterator[bytes]:
        if flight.inline is not None:
            if flight.inline:
                yield flight.inline
            return
        for start, stop in flight.sent:
            for at in range(start, stop, PAYLOAD_PIECE):
                yield await self._as_it_was(flight, at, min(at + PAYLOAD_PIECE, stop))

    async def _as_it_was(self, flight: _Flight, start: int, stop: int) -> bytes:
        """Return bytes as they were at the snapshot."""
        async with self._lock:
            if self._flight is not flight or self._closed:
                raise trio.ClosedResourceError("this plan is over")
            local = flight.local.within(start, stop)
            saved = [pair for part in local for pair in flight.saved.within(*part)]
            kept = [pair for part in local for pair in flight.saved.gaps(*part)]
            parts: list[bytes] = []
            files = self._files
            if files is not None and local:
                parts = await self._in_thread(lambda: files.read(kept) + files.read_before(saved))
        if kept == [(start, stop)] and parts:
            return parts[0]
        content: bytes | bytearray = bytearray(stop - start)
        for (at, end), part in zip(kept + saved, parts, strict=True):
            content[at - start : end - start] = part  # type: ignore[index]  # a bytearray
        for at, end in flight.local.gaps(start, stop):
            if at < flight.base_stop:
                end = min(end, flight.base_stop)
                content = await _laid_over(content, start, self._reader, at, end)
        return bytes(content)

    # --- what remains -----------------------------------------------------------------

    async def checkpoint(self, *, durable: bool = False) -> None:
        """Have all bytes on disk, and a description by which they are found.

        :param durable: whether they are to outlive a crash of the machine, not only ours.
        """
        self._check_open()
        async with self._lock:
            await self._flush_locked()
            await self._describe(await self._on_disk(), durable=durable)

    async def keep(self, reason: str) -> Path | None:
        """Note that a commit was refused; return where the bytes are.

        The draft remains as it was, and may be committed again. None: the local disk has
        refused the bytes too; what it did not take is in memory, and was logged.
        """
        self._flight = None
        self._why = reason
        try:
            await self.checkpoint(durable=True)
        except RengafsError as error:
            log.error("unsent bytes of file %d (%s): %s", self.file, self.name, error.message)
            return None
        assert self._files is not None, "a checkpoint makes them"
        return self._files.directory / draftfiles.DATA

    async def close(self) -> None:
        """Let go of the draft; its bytes stay, as one of the store's leftovers."""
        if self._closed:
            return
        try:
            await self.checkpoint(durable=True)
        finally:
            await self._end(DraftFiles.close)

    async def discard(self) -> None:
        """Let go of the draft and its bytes."""
        if not self._closed:
            await self._end(DraftFiles.remove)

    async def _end(self, end: Callable[[DraftFiles], None]) -> None:
        self._closed = True
        self._flight = None
        with trio.CancelScope(shield=True):
            async with self._lock:
                self._taken()
                if self._files is not None:
                    await self._in_thread(end, self._files)
                    self._files = None

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this draft is closed")


class DraftStore:
    """The drafts of a mount, in a directory that other mounts may share.

    :param mount: names this mount in its drafts' descriptions.
    """

    def __init__(
        self,
        directory: Path,
        limiter: trio.CapacityLimiter,
        *,
        mount: str = "",
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.directory = directory
        self.limiter = limiter
        self.mount = mount
        self.clock = clock
        self.buffered_bytes = 0
        """Of all drafts together, in memory."""

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more may stay in memory."""
        return self.buffered_bytes + size <= ALL_BUFFERS_BYTES

    async def make(
        self,
        *,
        file: int,
        base: int | None,
        base_length: int,
        reader: BaseReader | None,
        name: str = "",
    ) -> Draft:
        """Return a draft that reads as its base does: *base_length* bytes of *reader*.

        Nothing is on disk until something has to be.
        """
        return Draft(self, file=file, name=name, base=base, base_length=base_length, reader=reader)

    async def leftovers(self) -> list[Leftover]:
        """Return what drafts have left that nobody has open, oldest first."""
        return await trio.to_thread.run_sync(
            draftfiles.leftovers, self.directory, limiter=self.limiter
        )


async def _laid_over(
    content: bytes | bytearray, offset: int, reader: BaseReader | None, start: int, stop: int
) -> bytes | bytearray:
    """Return *content*, which begins at *offset*, with bytes *start* to *stop* of the base."""
    assert reader is not None, "a base without a reader shows nothing"
    data = await reader.read(start, stop - start)
    if len(data) != stop - start:
        raise Corrupt(f"the base has no bytes {start + len(data)} to {stop}, and should have")
    if len(data) == len(content):
        return data
    content = content if isinstance(content, bytearray) else bytearray(content)
    content[start - offset : stop - offset] = data
    return content


def _coarsened(extents: Extents, most: int) -> Extents:
    """Return *extents* with their smallest gaps filled, so that there are at most *most*."""
    surplus = len(extents) - most
    if surplus <= 0:
        return extents
    first, last = next(iter(extents))[0], max(stop for _, stop in extents)
    gaps = sorted(extents.gaps(first, last), key=lambda gap: gap[1] - gap[0])
    for start, stop in gaps[:surplus]:
        extents.add(start, stop)
    return extents
