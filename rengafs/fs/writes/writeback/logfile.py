"""The journal's file: frames, one after another. Everything here blocks.

    frame:  lengths of record and payload, crc32 of both; the record, JSON; the payload

A frame that is damaged costs only itself where its lengths lead to a sound one; else what
follows can't be told apart, and is the *tail*. A tail is most often a frame that was being
written when the machine stopped, so that nobody was told that it is safe; but a damaged disk
looks the same. So nothing of a log is thrown away: `keep_aside` copies it first.
"""

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rengafs.fs.writes.draftfiles import sync_path
from rengafs.fs.writes.writeback.records import Done, Queued, Range, Record
from rengafs.protocol.errors import Corrupt

PIECE_BYTES = 1 << 20

_header = struct.Struct("<III")
_decoder = msgspec.json.Decoder(Queued | Done)


@dataclass(slots=True, eq=False)
class Frame:
    """A record in the log."""

    record: Record
    start: int
    stop: int


@dataclass(slots=True, eq=False)
class Scan:
    """What a log holds."""

    frames: list[Frame] = field(default_factory=list)
    damaged: list[Range] = field(default_factory=list)
    """Bytes of the log that are no sound frames."""
    end: int = 0
    """Where the tail begins; the end of the log where it has none."""


def framed(record: Record, payload: bytes) -> bytes:
    """Return the frame of a record."""
    text = msgspec.json.encode(record)
    checksum = zlib.crc32(payload, zlib.crc32(text))
    return b"".join((_header.pack(len(text), len(payload), checksum), text, payload))


def scan(log: int) -> Scan:
    """Read a log from its beginning."""
    size = os.fstat(log).st_size
    found = Scan()
    at = 0
    while at < size:
        frame = _frame(log, at, size)
        if frame is not None:
            found.frames.append(frame)
            at = found.end = frame.stop
            continue
        after = _next_sound(log, at, size)
        if after is None:
            if not _is_blank(log, at, size):
                found.damaged.append((at, size))
            return found
        found.damaged.append((at, after))
        at = after
    return found


def payload_at(log: int, start: int, *, check: bool = True) -> bytes:
    """Return the payload of the frame at *start*. Raises `Corrupt`.

    :param check: whether to refuse a frame that is damaged; its lengths are then believed.
    """
    size = os.fstat(log).st_size
    stop = _stop(log, start, size)
    if stop is None:
        raise Corrupt(f"the journal is damaged at byte {start}: the lengths of a frame are wrong")
    length, payload, checksum = _header.unpack(os.pread(log, _header.size, start))
    body = os.pread(log, length + payload, start + _header.size)
    if check and (len(body) != length + payload or zlib.crc32(body) != checksum):
        raise Corrupt(f"the journal is damaged at byte {start}: the checksum of a frame is wrong")
    return body[length:]


def copy_frames(log: int, ranges: list[Range], to: int, at: int) -> int:
    """Copy frames as they are to byte *at* of another log, one behind another; return its end."""
    for start, stop in ranges:
        while start < stop:
            data = os.pread(log, min(PIECE_BYTES, stop - start), start)
            if not data:
                raise Corrupt(f"the journal ends at byte {start}, within a frame")
            write_all(to, data, at)
            start, at = start + len(data), at + len(data)
    return at


def keep_aside(log: int, damaged: Range, path: Path) -> None:
    """Copy a damaged part of a log to *path*, durably; once is enough."""
    start, stop = damaged
    if path.exists() and path.stat().st_size == stop - start:
        return
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        copy_frames(log, [damaged], out, 0)
        os.fsync(out)
    finally:
        os.close(out)
    sync_path(path.parent)


def write_all(file: int, data: bytes | memoryview, at: int) -> None:
    """Write *data* at *at*, all of it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def _stop(log: int, at: int, size: int) -> int | None:
    """Return where a frame ends by its lengths; None: it has none that can be right."""
    head = os.pread(log, _header.size, at)
    if len(head) < _header.size:
        return None
    length, payload, _ = _header.unpack(head)
    stop = at + _header.size + length + payload
    return int(stop) if length and stop <= size else None


def _frame(log: int, at: int, size: int) -> Frame | None:
    """Return the frame at *at*, if it is sound."""
    stop = _stop(log, at, size)
    if stop is None:
        return None
    length, _, checksum = _header.unpack(os.pread(log, _header.size, at))
    body = os.pread(log, stop - at - _header.size, at + _header.size)
    if zlib.crc32(body) != checksum:
        return None
    try:
        return Frame(_decoder.decode(body[:length]), at, stop)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def _next_sound(log: int, at: int, size: int) -> int | None:
    """Return where the first sound frame behind a damaged one begins, as far as lengths lead."""
    while (stop := _stop(log, at, size)) is not None:
        if _frame(log, stop, size) is not None:
            return stop
        at = stop
    return None


def _is_blank(log: int, at: int, size: int) -> bool:
    """Whether there are zeros only: room that a file system gave, and nobody filled."""
    while data := os.pread(log, min(PIECE_BYTES, size - at), at):
        if data.count(0) != len(data):
            return False
        at += len(data)
    return True
