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
disk refuses later stay there, and writes, checkpoints and snapshots raise `NoSpace` until
it takes them.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.ahead import Sending
from rengafs.fs.writes.draftfiles import About, DraftFiles, Range
from rengafs.fs.writes.extents import Extents
from rengafs.fs.writes.flights import CommitPlan, Flight, coarsened
from rengafs.fs.writes.layers import BaseReader, laid, laid_over_base
from rengafs.fs.writes.localbytes import LocalBytes
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.operations import FileHere

if TYPE_CHECKING:
    from rengafs.fs.writes.draftstore import DraftStore

__all__ = ["BaseReader", "CommitPlan", "Draft"]

log = logging.getLogger(__name__)


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
        self._written = Extents()
        """Local: not read from the base, whatever it is by now."""
        self._changed = Extents()
        """Not in the base."""
        self._bytes = LocalBytes(store, base_length, self._about)
        self._lock = trio.Lock()
        self._flight: Flight | None = None
        self._generation = self._committed = 0
        self._why = ""
        self._closed = False
        self._journal = ""
        self._ahead: Sending | None = None
        """Who sends the bytes already."""
        self._may_be_sent = store.senders is not None

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

    @property
    def needs_keeping(self) -> bool:
        """Whether it has what the service has not, or is on disk, perhaps as it was."""
        return self.dirty or self._bytes.files is not None

    # --- reading and writing ----------------------------------------------------------

    async def write(self, offset: int, data: bytes) -> None:
        """Write *data* at *offset*, all of it or none."""
        size = len(data)
        if not size:
            return
        self._check_open()
        if self._goes_through(offset, size):
            await self._write_through(offset, data)
            return
        while not self._bytes.has_room(size):
            async with self._lock:
                self._check_open()
                await self._bytes.flush(self._length, self._flight)
                await self._describe_if_due()
        self._bytes.add(offset, data)
        self._note(offset, offset + size)

    async def lying(self) -> FileHere:
        """Return the file on this disk that has all that was written."""
        async with self._lock:
            self._check_open()
            await self._bytes.flush(self._length, self._flight)
            return await self._bytes.lying()

    async def give(self) -> None:
        """Write to that file no more: what is written from now on goes to a copy."""
        async with self._lock:
            self._check_open()
            self._bytes.give()

    async def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes, or fewer at the end. Raises what reading the base raises."""
        async with self._lock:
            self._check_open()
            stop = min(offset + size, self._length)
            if offset >= stop:
                return b""
            reader = self._reader
            missing = [
                (start, min(end, self._reader_stop))
                for start, end in self._written.gaps(offset, stop)
                if start < self._reader_stop
            ]
            asked = [(offset, stop)]
            layers = await self._bytes.layers(asked, self._bytes.newest(offset, stop))
            content = laid(asked, layers)
        for start, end in missing:
            content = await laid_over_base(content, offset, reader, start, end)
        return bytes(content)

    async def truncate(self, length: int) -> None:
        """Cut or grow; bytes that come into being are zero."""
        async with self._lock:
            self._check_open()
            before, self._length = self._length, length
            self.mtime_ns = self._store.clock()
            if length == before:
                return
            self._generation += 1
            self._store.unkept.add(self)
            if length > before:
                return
            self._cut(length)
            if self._flight is None:
                # Only for the room: what is not stored is never looked at. A flight still
                # needs it; then `committed` or the next truncate does this.
                await self._bytes.tidy()

    def _cut(self, length: int) -> None:
        if self._ahead is not None:
            self._ahead.cut(length)
        self._bytes.cut(length)
        self._written.cut(length)
        self._changed.cut(length)
        self.base_length = min(self.base_length, length)
        self._reader_stop = min(self._reader_stop, length)
        if self._flight is not None:
            self._flight.since.cut(length)
            self._flight.cut = min(self._flight.cut, length)

    def _note(self, start: int, stop: int) -> None:
        self._written.add(start, stop)
        self._changed.add(start, stop)
        if self._flight is not None:
            self._flight.since.add(start, stop)
        self._length = max(self._length, stop)
        self._generation += 1
        self._store.unkept.add(self)
        self.mtime_ns = self._store.clock()
        if self._ahead is not None:
            self._ahead.wrote(start, stop)
        elif self._may_be_sent and self._length >= self._store.limits.ahead:
            self._send_ahead()

    def _send_ahead(self) -> None:
        """Have the content sent while it is written, if it is all new, and has no holes."""
        self._may_be_sent = False
        assert self._store.senders is not None, "else it may not be sent"
        if self.base_length == 0 and self._changed.covers(0, self._length):
            self._ahead = self._store.senders.begin(self.file, self._length, self)

    def ahead(self, plan: CommitPlan) -> Sending | None:
        """Return who has sent the beginning of what *plan* sends, if it is still that."""
        flight, ahead = self._flight, self._ahead
        if ahead is None:
            return None
        whole = plan.base is None and plan.extents == [(0, plan.length)]
        same = flight is not None and not flight.since.within(0, plan.length)
        if whole and same and flight is not None and flight.cut == plan.length:
            return ahead
        self._end_ahead()
        return None

    def _end_ahead(self) -> None:
        ahead, self._ahead, self._may_be_sent = self._ahead, None, False
        if ahead is not None:
            ahead.break_off()

    def _goes_through(self, offset: int, size: int) -> bool:
        limits = self._store.limits
        return (
            size >= min(limits.through, limits.buffer)
            or offset + size > limits.far
            or not self._store.has_room(size)
        )

    async def _write_through(self, offset: int, data: bytes) -> None:
        async with self._lock:
            self._check_open()
            await self._bytes.write_through(offset, data, self._length, self._flight)
            self._note(offset, offset + len(data))
            await self._describe_if_due()

    async def _describe_if_due(self) -> None:
        if self._bytes.is_description_due:
            # For who may have to look for them; whether it works is not this write's concern.
            with contextlib.suppress(RengafsError):
                await self._bytes.describe(durable=False)

    def _about(self) -> About:
        stored = self._bytes.stored
        return About(
            file=self.file,
            name=self.name,
            base=self.base,
            base_size=self._base_size,
            base_length=self.base_length,
            # Not what is in memory only: it would be zeros to whoever finds the rest.
            length=self._bytes.stored_length,
            extents=[part for pair in self._changed for part in stored.within(*pair)],
            mtime_ns=self.mtime_ns,
            mount=self._store.mount,
            why=self._why,
            catalog=self._store.catalog,
            user=self._store.user,
            journal=self._journal,
        )

    # --- commits ----------------------------------------------------------------------

    async def snapshot(self) -> CommitPlan:
        """Return what must be sent for the draft as it is now.

        One plan at a time: a new one ends the one before, which can then be neither sent
        nor `committed`. Writes may go on; they are not in the plan, and leave the draft dirty.
        """
        async with self._lock:
            self._check_open()
            self._flight = flight = self._depart()
            try:
                assert flight.plan is not None, "made in _depart"
                if flight.plan.is_small:
                    newest = self._bytes.newest(0, self._length)
                    layers = await self._bytes.layers(flight.sent, newest)
                    flight.inline = bytes(laid(list(flight.sent), layers))
                    flight.local = Extents()
                else:
                    # What is buffered now belongs to the snapshot; what comes while it is
                    # being written does not, and stays in the buffer.
                    await self._bytes.flush(self._length, None)
            except BaseException:
                self._flight = None
                raise
        assert flight.plan is not None, "made in _depart"
        return flight.plan

    async def committed(self, plan: CommitPlan, version: int, size: int) -> None:
        """Go on from *version*, of *size* bytes, which *plan* has become."""
        flight = self._flight
        assert flight is not None, "this plan is over"
        assert flight.plan is plan, "another snapshot was taken"
        self._flight = None
        self._end_ahead()
        self._changed = flight.since
        self._committed = flight.generation
        self.base, self._base_size = version, size
        self.base_length = min(size, flight.cut)
        self._bytes.saved(self.base_length)
        self._why = ""
        self._store.unkept.add(self)
        if flight.saved or flight.cut < plan.length:
            async with self._lock:
                await self._bytes.tidy()

    def rebase(self, version: int) -> None:
        """Go on from *version*, which has the same bytes as the base: a file was renamed."""
        self.base = version
        self._store.unkept.add(self)

    def _depart(self) -> Flight:
        """Return the flight of what the draft is now, with its plan."""
        shown = min(self.base_length, self._length)
        sent = self._changed.copy()
        base = None if sent.covers(0, shown) else self.base
        if base is not None:
            # The service cuts the base once, at the end: what was cut off before the draft
            # grew again must be sent as zeros.
            sent.add(self.base_length, min(self._base_size, self._length))
        is_filled = len(self._changed) > self._store.limits.extents
        sent = coarsened(sent, self._store.limits.extents)
        flight = Flight(
            sent=sent,
            local=self._written.copy(),
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
            # What is filled in is not local.
            is_small=not is_filled and sent.total <= self._store.limits.inline,
            is_filled=is_filled,
        )
        return flight

    async def _payload(self, flight: Flight) -> AsyncIterator[bytes]:
        if flight.inline is not None:
            if flight.inline:
                yield flight.inline
            return
        size = self._store.limits.payload_piece
        for start, stop in flight.sent:
            for at in range(start, stop, size):
                yield await self._as_it_was(flight, at, min(at + size, stop))

    async def _as_it_was(self, flight: Flight, start: int, stop: int) -> bytes:
        """Return bytes as they were at the snapshot."""
        async with self._lock:
            if self._flight is not flight or self._closed:
                raise trio.ClosedResourceError("this plan is over")
            layers = await self._bytes.as_they_were(flight, start, stop)
        content = laid([(start, stop)], layers)
        for at, end in flight.local.gaps(start, stop):
            if at < flight.base_stop:
                shown = min(end, flight.base_stop)
                content = await laid_over_base(content, start, self._reader, at, shown)
        return bytes(content)

    async def seal(self, plan: CommitPlan, journal: str) -> tuple[str, list[Range]]:
        """Have what *plan* sends on disk for good: *journal* counts on it from now on.

        Nothing may be written to the draft any more, unless it is unsealed. Returns the name of
        its directory, and the ranges of the payload that are in its file; other bytes are zero.
        """
        flight = self._flight
        assert flight is not None, "this plan is over"
        assert flight.plan is plan, "another snapshot was taken"
        self._journal = journal
        try:
            await self.checkpoint(durable=True)
        except BaseException:
            self.unseal()
            raise
        assert self._bytes.files is not None, "a checkpoint makes them"
        local = [pair for part in flight.sent for pair in flight.local.within(*part)]
        return self._bytes.files.directory.name, local

    def unseal(self) -> None:
        """Take back `seal`: nobody counts on it. The next checkpoint says so on disk."""
        self._journal = ""

    async def release(self) -> None:
        """Let go of the draft, and leave what is on disk to whoever counts on it."""
        if not self._closed:
            await self._end(DraftFiles.close)

    # --- what remains -----------------------------------------------------------------

    async def checkpoint(self, *, durable: bool = False) -> None:
        """Have all bytes on disk, and a description by which they are found.

        :param durable: whether they are to outlive a crash of the machine, not only ours.
        """
        async with self._lock:
            self._check_open()
            with self._store.unkept.being_kept(self):
                await self._bytes.flush(self._length, self._flight)
                await self._bytes.describe(durable=durable)

    async def keep(self, reason: str, *, under_way: bool = False) -> Path | None:
        """Note that a commit was refused; return where the bytes are.

        The draft remains as it was, and may be committed again. None: the local disk has
        refused the bytes too; what it did not take is in memory, and was logged.

        :param under_way: a commit goes on, and may still succeed.
        """
        if not under_way:
            self._flight = None
            self._end_ahead()
        self._why = reason
        try:
            await self.checkpoint(durable=True)
        except RengafsError as error:
            log.error("unsent bytes of file %d (%s): %s", self.file, self.name, error.message)
            return None
        files = self._bytes.files
        assert files is not None, "a checkpoint makes them"
        return files.directory / draftfiles.DATA

    async def close(self) -> None:
        """Let go of the draft; unsent bytes stay, as one of the store's leftovers."""
        if self._closed:
            return
        if not self.dirty:
            await self.discard()
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
        self._store.unkept.discard(self)
        self._flight = None
        self._end_ahead()
        with trio.CancelScope(shield=True):
            async with self._lock:
                await self._bytes.end(end)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this draft is closed")
