"""The journal on disk: records one after another, each with its length and its checksum.

    DIRECTORY / journal-UUID / log        frames: header, record, payload
                               owner      an `Owner`

A live journal holds a lock on its log. A frame that is cut off or damaged ends a journal:
it was being written when the machine stopped, so nobody was told that it is safe.

Group commit: records that must be durable share one fsync where they come together; others
are written along with the next of those.
"""

import fcntl
import logging
import os
import shutil
import struct
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from rengafs.fs.writes.draftfiles import told
from rengafs.fs.writes.writeback.records import Done, Owner, Queued, Record

log = logging.getLogger(__name__)

PREFIX = "journal-"
LOG, OWNER = "log", "owner"

_header = struct.Struct("<III")
"""Lengths of record and payload, crc32 of both."""
_decoder = msgspec.json.Decoder(Queued | Done)


@dataclass(slots=True, eq=False)
class _Frame:
    data: bytes
    payload_at: int
    """Within *data*."""
    durable: bool
    offset: int = -1
    """Of the frame in the log, once it is written."""
    error: Exception | None = None


class Journal:
    """A log that is open. Made by `create` and `adopt`, which block."""

    def __init__(self, directory: Path, log: int, owner: Owner, end: int) -> None:
        self.directory = directory
        self.owner = owner
        self._log = log
        self._end = end
        self._waiting: list[_Frame] = []
        self._turn = trio.Lock()

    @classmethod
    def create(cls, parent: Path, owner: Owner) -> "Journal":
        """Make an empty journal in *parent*. Raises `NoSpace` and the like."""
        name = uuid.uuid4().hex
        hidden = parent / f".{PREFIX}{name}"
        with told("make a journal"):
            hidden.mkdir(parents=True, mode=0o700)
            log = os.open(hidden / LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (hidden / OWNER).write_bytes(msgspec.json.encode(owner))
                directory = hidden.rename(parent / f"{PREFIX}{name}")
                _sync(directory / OWNER)
                _sync(directory)
                _sync(parent)
            except BaseException:
                os.close(log)
                shutil.rmtree(hidden, ignore_errors=True)
                raise
        return cls(directory, log, owner, 0)

    @classmethod
    def adopt(cls, directory: Path) -> "tuple[Journal, list[tuple[Record, int]]] | None":
        """Open the journal of a mount that has ended; None if it is in use, or none.

        The records come with the offsets of their payloads.
        """
        try:
            owner = msgspec.json.decode((directory / OWNER).read_bytes(), type=Owner)
            log = os.open(directory / LOG, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(log)
            return None
        records = list(_scan(log))
        end = records[-1][2] if records else 0
        # What is behind was being written when its mount died: nobody was told it is safe.
        os.ftruncate(log, end)
        journal = cls(directory, log, owner, end)
        return journal, [(record, at) for record, at, _ in records]

    @property
    def size(self) -> int:
        """Bytes of the log."""
        return self._end

    async def append(self, record: Record, payload: bytes = b"") -> int:
        """Have a record on disk, and all that were noted before; return where its payload is.

        Raises `NoSpace` and the like; nothing of it is on disk then.
        """
        frame = _framed(record, payload, durable=True)
        self._waiting.append(frame)
        async with self._turn:
            if frame.offset < 0 and frame.error is None:
                await self._write()
        if frame.error is not None:
            raise frame.error
        return frame.offset + frame.payload_at

    def note(self, record: Record) -> None:
        """Have a record on disk along with the next one that must be."""
        self._waiting.append(_framed(record, b"", durable=False))

    async def sync(self) -> None:
        """Have all that was noted on disk. Raises `NoSpace` and the like."""
        async with self._turn:
            if self._waiting:
                await self._write()

    async def read(self, places: list[tuple[int, int]]) -> list[bytes]:
        """Return payloads, of (offset, length) each."""
        return await trio.to_thread.run_sync(self._read, places)

    async def reset(self, is_idle: Callable[[], bool]) -> None:
        """Forget what is on disk, if nobody needs it by then."""
        async with self._turn:
            if self._end and is_idle():
                await trio.to_thread.run_sync(os.ftruncate, self._log, 0)
                self._end = 0

    def close(self) -> None:
        """Let the next mount find it."""
        noted = [frame for frame in self._waiting if not frame.durable]
        try:
            if noted:
                self._put(noted)
        except OSError as error:
            # What was answered for is then sent again, and answered as before.
            log.warning("the end of the journal is not written: %s", error)
        finally:
            os.close(self._log)

    def remove(self) -> None:
        """Leave nothing of it."""
        hidden = self.directory.with_name(f".{self.directory.name}")
        self.directory.rename(hidden)
        os.close(self._log)
        shutil.rmtree(hidden, ignore_errors=True)

    async def _write(self) -> None:
        frames, self._waiting = self._waiting, []
        error = await trio.to_thread.run_sync(self._try, frames)
        if error is None:
            return
        for frame in frames:
            frame.error = error
        # Who noted these was not waiting: they are still due.
        self._waiting = [frame for frame in frames if not frame.durable] + self._waiting

    def _try(self, frames: list[_Frame]) -> Exception | None:
        try:
            with told("write to the journal"):
                self._put(frames)
        except Exception as error:  # noqa: BLE001 - handed to each who waits for it
            return error
        return None

    def _put(self, frames: list[_Frame]) -> None:
        data = memoryview(b"".join(frame.data for frame in frames))
        end = self._end
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._log, data[written:], end + written)
            os.fdatasync(self._log)
        except OSError:
            os.ftruncate(self._log, end)
            raise
        for frame in frames:
            frame.offset = end
            end += len(frame.data)
        self._end = end

    def _read(self, places: list[tuple[int, int]]) -> list[bytes]:
        return [os.pread(self._log, length, offset) for offset, length in places]


def journals(parent: Path) -> list[Path]:
    """Return the directories of journals in *parent*, in use or not."""
    return sorted(path for path in parent.glob(f"{PREFIX}*") if path.is_dir())


def in_use(directory: Path) -> bool:
    """Whether a mount has a journal open, or it has just gone."""
    try:
        log = os.open(directory / LOG, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(log)


def read_journal(directory: Path) -> tuple[Owner, list[Record]] | None:
    """Return what a journal says, in use or not; None for what is none. For `status`."""
    try:
        owner = msgspec.json.decode((directory / OWNER).read_bytes(), type=Owner)
        log = os.open(directory / LOG, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    try:
        return owner, [record for record, _, _ in _scan(log)]
    finally:
        os.close(log)


def _scan(log: int) -> Iterator[tuple[Record, int, int]]:
    """Yield the sound records, with where their payloads begin and their frames end."""
    offset = 0
    while len(head := os.pread(log, _header.size, offset)) == _header.size:
        length, payload, checksum = _header.unpack(head)
        body = os.pread(log, length + payload, offset + _header.size)
        if len(body) != length + payload or zlib.crc32(body) != checksum:
            return
        start = offset + _header.size + length
        offset = start + payload
        try:
            yield _decoder.decode(body[:length]), start, offset
        except (msgspec.DecodeError, msgspec.ValidationError):
            return


def _framed(record: Record, payload: bytes, *, durable: bool) -> _Frame:
    text = msgspec.json.encode(record)
    checksum = zlib.crc32(payload, zlib.crc32(text))
    head = _header.pack(len(text), len(payload), checksum)
    return _Frame(b"".join((head, text, payload)), len(head) + len(text), durable)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
