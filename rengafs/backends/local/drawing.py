"""A blob of the local backend while it is drawn: a temporary file that becomes the blob.

All methods block; they are called in worker threads, never two at a time.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rengafs.backends.base import PIECE_BYTES, Composition, Stored
from rengafs.backends.pieces import Hashes
from rengafs.protocol.errors import BodyMismatch, Corrupt, Unavailable

SYNC_FILE_RANGE_WRITE = 2
"""Of linux/fs.h: begin to write dirty pages out, wait for none."""
SYNCED_AT_ONCE = 8 << 20
"""Bytes of a stream after which they are written out."""
_sync_file_range: "ctypes._NamedFuncPointer | None" = getattr(
    ctypes.CDLL(None), "sync_file_range", None
)
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
FICLONE = 0x40049409
"""ioctl: share all blocks of another file (btrfs, XFS, bcachefs)."""


class Drawing:
    """Bytes on their way into a blob."""

    def __init__(self, path: Path, plan: Composition | None, base: Path | None) -> None:
        self.waiting: list[bytes] = []
        """Pieces that were received and not yet written."""
        self.finished = False
        self._path = path
        self._plan = plan
        self._base = base
        self._file = -1
        self._payload = Hashes()
        self._received = 0
        self._targets = _targets(plan)
        self._room = 0
        self._offset = 0
        self._synced_to = 0

    @classmethod
    def whole(cls, path: Path) -> "Drawing":
        """Begin a blob that is all payload."""
        return cls(path, None, None)

    @classmethod
    def over(cls, path: Path, plan: Composition, base: Path | None) -> "Drawing":
        """Begin a blob with payload over a base."""
        return cls(path, plan, base)

    def flush(self) -> None:
        """Write the pieces that wait."""
        if self._file < 0:
            self._begin()
        pieces, self.waiting = self.waiting, []
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._payload.update(data)
        self._received += len(data)
        view = memoryview(data)
        while view:
            if not self._room:
                self._offset, self._room = self._next_target()
                self._synced_to = self._offset
            part = view[: self._room]
            write(self._file, part, self._offset)
            self._offset += len(part)
            self._room -= len(part)
            view = view[len(part) :]
            if self._offset - self._synced_to >= SYNCED_AT_ONCE:
                begin_to_sync(self._file, self._synced_to, self._offset)
                self._synced_to = self._offset

    def finish(self, key: str, path: Path) -> Stored:
        """Make the blob, durably. Raises `BodyMismatch`."""
        self.flush()
        self._check()
        size, hashes = self._received, self._payload
        if self._plan is not None:
            size = self._plan.length
            os.ftruncate(self._file, size)
            if self._received != size:
                hashes = hash_file(self._file)
        file, self._file = self._file, -1
        become_blob(file, self._path, path, size)
        self.finished = True
        return Stored(key, size, hashes.hexdigest(), hashes.pieces())

    def abandon(self) -> None:
        """Remove the temporary."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _begin(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        if self._plan is None or self._base is None:
            return
        covered = self._plan.payload
        if covered < self._plan.length:
            _take_base(self._base, self._file, self._plan)

    def _next_target(self) -> tuple[int, int]:
        try:
            return next(self._targets)
        except StopIteration:
            raise BodyMismatch("the payload is longer than was announced") from None

    def _check(self) -> None:
        plan = self._plan
        if plan is None:
            return
        if self._received != plan.payload:
            raise BodyMismatch(
                f"the payload has {self._received} bytes; {plan.payload} were announced"
            )
        if plan.payload_sha256 and plan.payload_sha256.lower() != self._payload.hexdigest():
            raise BodyMismatch("the payload has another sha256 than was announced")


def become_blob(file: int, temporary: Path, path: Path, size: int) -> None:
    """Give a temporary of *size* bytes its blob's name, durably. Its descriptor is closed.

    Raises `Unavailable` where it has other bytes, OSError; it keeps its name then.
    """
    try:
        # Blobs are immutable: nobody may write them, not even by mistake.
        os.fchmod(file, 0o440)
        os.fsync(file)
        if os.fstat(file).st_size != size:
            raise Unavailable("the file has other bytes than were announced", carried_out=False)
    finally:
        os.close(file)
    os.rename(temporary, path)
    sync_directory(path.parent)


def _targets(plan: Composition | None) -> Iterator[tuple[int, int]]:
    if plan is None:
        yield 0, 1 << 62
    else:
        yield from ((offset, length) for offset, length in plan.extents if length)


def write(file: int, data: memoryview, offset: int) -> None:
    """Write all of *data* at an offset."""
    while data:
        written = os.pwrite(file, data, offset)
        offset += written
        data = data[written:]


def _take_base(base: Path, file: int, plan: Composition) -> None:
    """Give *file* the content of the base, holes kept, as far as it is needed."""
    try:
        source = os.open(base, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Corrupt(f"the blob {base.name} is missing") from None
    try:
        found = os.fstat(source).st_size
        if found != plan.base_size:
            raise Corrupt(
                f"the blob {base.name} has {found} bytes; it was stored with {plan.base_size}"
            )
        if not share(source, file):
            for start, stop in data_ranges(source, min(found, plan.length)):
                copy_range(source, file, start, stop)
    finally:
        os.close(source)


def can_share(directory: Path) -> bool:
    """Whether files in *directory* can share blocks."""
    with tempfile.TemporaryFile(dir=directory) as one, tempfile.TemporaryFile(dir=directory) as two:
        one.write(b"x")
        one.flush()
        return share(one.fileno(), two.fileno())


def share(source: int, file: int) -> bool:
    """Have *file* share all blocks of *source*; False: this file system can't."""
    try:
        fcntl.ioctl(file, FICLONE, source)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        return False
    return True


def copy_range(source: int, file: int, start: int, stop: int) -> None:
    """Copy bytes *start* to *stop* (excluded) to the same place."""
    while start < stop:
        copied = os.copy_file_range(source, file, stop - start, start, start)
        if not copied:
            raise Corrupt("the base became shorter while it was copied")
        start += copied


def data_ranges(file: int, stop: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a file that are no holes, between *start* and *stop*."""
    while start < stop:
        try:
            start = os.lseek(file, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here
                return
            raise
        if start >= stop:
            return
        end = min(os.lseek(file, start, os.SEEK_HOLE), stop)
        yield start, end
        start = end


def begin_to_sync(file: int, start: int, stop: int) -> None:
    """Have the kernel write bytes out soon, so that the sync at the end has little left to do.

    sync_file_range(2), where there is one; what fails is the sync's business.
    """
    if _sync_file_range is not None and start < stop:
        _sync_file_range(file, start, stop - start, SYNC_FILE_RANGE_WRITE)


def hash_file(file: int) -> Hashes:
    """Return the hashes of all that is in a file."""
    hashes = Hashes()
    offset = 0
    while data := os.pread(file, PIECE_BYTES, offset):
        hashes.update(data)
        offset += len(data)
    return hashes


def write_durably(path: Path, data: bytes) -> None:
    """Write a file whose bytes survive a power cut; its name needs `sync_directory` as well."""
    with path.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def sync_directory(path: Path) -> None:
    """Have the names in a directory survive a power cut."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
