"""A draft on disk: what `drafts` does in its worker threads. Everything here blocks.

    DIRECTORY / uuid / data          the bytes written, at their offsets; the rest is holes
                       before        bytes of a commit under way that were written over since
                       about.json    an `About`: which bytes of `data` count, and what they are

A live draft holds a lock on its `data`. The directory gets its name only once the lock is
held and `about.json` is there, so whoever finds one without a lock has found a leftover.
"""

import errno
import fcntl
import logging
import os
import shutil
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rengafs.protocol.errors import InternalError, NoSpace, QuotaExceeded, TooLarge
from rengafs.protocol.operations import SOURCE_ABOUT, SOURCE_DATA, FileHere

log = logging.getLogger(__name__)

DATA, BEFORE, ABOUT = SOURCE_DATA, "before", SOURCE_ABOUT

Piece = tuple[int, bytes | bytearray]
"""Bytes and the offset where they belong."""

Range = tuple[int, int]
"""Start and stop, *stop* excluded."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What `data` is, for whoever finds it."""

    file: int
    """The file that the bytes were written to."""
    name: str = ""
    """Its path when it was opened, for people."""
    base: int | None = None
    """The version under the bytes written."""
    base_size: int = 0
    base_length: int = 0
    """So much of the base shows through; what lies between this and *length* is zero."""
    length: int
    extents: list[Range] = []
    """(start, stop) of the bytes of `data` that are not in the base."""
    mtime_ns: int = 0
    mount: str = ""
    """Who wrote them."""
    why: str = ""
    """Why they were not sent, if somebody refused them."""
    catalog: str = ""
    """The service that the file is of."""
    user: str = ""
    journal: str = ""
    """The journal, in the same directory, that has an entry for them, or was about to."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Bytes that were written and never became a version, and that nobody has open."""

    path: Path
    """The data file; its directory is the draft's."""
    about: About


class DraftFiles:
    """The open files of one draft."""

    def __init__(self, directory: Path, data: int) -> None:
        self.directory = directory
        self._data = data
        self._before: int | None = None

    @classmethod
    def create(cls, parent: Path, about: About) -> "DraftFiles":
        """Make an empty draft in *parent*, locked."""
        name = uuid.uuid4().hex
        hidden = parent / f".{name}"
        with told("make a draft"):
            make_directory(parent)
            hidden.mkdir(mode=0o700)
            try:
                data = _open(hidden / DATA)
                try:
                    fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    files = cls(hidden, data)
                    files.write_about(about, durable=False)
                    files.directory = hidden.rename(parent / name)
                except BaseException:
                    os.close(data)
                    raise
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
        return files

    def write(self, pieces: deque[Piece]) -> None:
        """Write *pieces*, in order, each taken out when it is written whole."""
        with told("write to a draft"):
            while pieces:
                offset, data = pieces[0]
                _write(self._data, offset, data)
                pieces.popleft()

    def read(self, ranges: list[Range]) -> list[bytes]:
        """Return the bytes of *ranges*."""
        with told("read a draft"):
            return [_read(self._data, *pair) for pair in ranges]

    def save_before(self, ranges: list[Range]) -> None:
        """Copy *ranges* aside, before they are written over."""
        with told("write to a draft"):
            if self._before is None:
                self._before = _open(self.directory / BEFORE)
            for start, stop in ranges:
                _write(self._before, start, _read(self._data, start, stop))

    def read_mixed(self, kept: list[Range], saved: list[Range]) -> list[bytes]:
        """Return *kept* as they are, then *saved* as they were when `save_before` copied them."""
        parts = self.read(kept)
        if not saved:
            return parts
        assert self._before is not None, "nothing was saved"
        before = self._before
        with told("read a draft"):
            return parts + [_read(before, *pair) for pair in saved]

    def lying(self) -> FileHere:
        """Return where the bytes are, for another process."""
        with told("find a draft"):
            status = os.fstat(self._data)
        place = os.path.abspath(self.directory)
        return FileHere(directory=place, device=status.st_dev, inode=status.st_ino)

    def detach(self) -> None:
        """Go on with a copy of the bytes: the file is somebody else's now."""
        temporary = self.directory / f"{DATA}.new"
        with told("copy a draft"):
            data = _open(temporary)
            try:
                fcntl.flock(data, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _copy(self._data, data)
                temporary.rename(self.directory / DATA)
            except BaseException:
                os.close(data)
                temporary.unlink(missing_ok=True)
                raise
        os.close(self._data)
        self._data = data

    def tidy(self, length: int) -> None:
        """Give back the space of what was saved, and of bytes at *length* and beyond."""
        with told("shorten a draft"):
            if self._before is not None:
                os.ftruncate(self._before, 0)
            if os.fstat(self._data).st_size > length:
                os.ftruncate(self._data, length)

    def write_about(self, about: About, *, durable: bool) -> None:
        """Replace ``about.json``.

        :param durable: whether bytes and description are to outlive a crash of the machine.
        """
        path = self.directory / ABOUT
        temporary = path.with_suffix(".new")
        with told("describe a draft"):
            if durable:
                os.fdatasync(self._data)
            with temporary.open("wb") as out:
                out.write(msgspec.json.encode(about))
                if durable:
                    out.flush()
                    os.fsync(out.fileno())
            temporary.rename(path)
            if durable:
                sync_path(self.directory)
                sync_path(self.directory.parent)

    def close(self) -> None:
        """Close, and let others find what is there."""
        os.close(self._data)
        if self._before is not None:
            os.close(self._before)
            (self.directory / BEFORE).unlink(missing_ok=True)

    def remove(self) -> None:
        """Close, and leave nothing."""
        # Hidden first: what is half removed must not be found.
        hidden = self.directory.with_name(f".{self.directory.name}")
        try:
            self.directory.rename(hidden)
        except FileNotFoundError:
            log.warning("the draft %s was removed by somebody else", self.directory)
        except OSError as error:
            log.warning("the draft %s is not needed, and can't be removed: %s", hidden, error)
        else:
            self.directory = hidden
        self.close()
        shutil.rmtree(hidden, ignore_errors=True)


def make_directory(path: Path) -> None:
    """Make a directory, and what is missing above it. Durably. Raises `OSError`."""
    if not path.is_dir():
        make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        sync_path(path.parent)


def rewrite(directory: Path, about: About) -> None:
    """Replace the description of a draft that has been written. Durably."""
    with told("describe a draft"):
        temporary = directory / f"{ABOUT}.new"
        with temporary.open("wb") as out:
            out.write(msgspec.json.encode(about))
            out.flush()
            os.fsync(out.fileno())
        temporary.rename(directory / ABOUT)
        sync_path(directory)


def read_about(directory: Path) -> About | None:
    """Return the description of a draft, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((directory / ABOUT).read_bytes(), type=About)
    except (OSError, msgspec.DecodeError):
        return None


def remove(directory: Path) -> None:
    """Remove a draft that nobody has open."""
    hidden = directory.with_name(f".{directory.name}")
    try:
        directory.rename(hidden)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("the draft %s is not needed, and can't be removed: %s", directory, error)
        return
    shutil.rmtree(hidden, ignore_errors=True)


def leftovers(parent: Path) -> list[Leftover]:
    """Return what lies in *parent* and is not locked, oldest first."""
    with told("look for drafts"):
        try:
            directories = [path for path in parent.iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []
        found = [left for left in map(_leftover, directories) if left is not None]
    return sorted(found, key=lambda left: (left.about.mtime_ns, left.path))


def _leftover(directory: Path) -> Leftover | None:
    try:
        data = os.open(directory / DATA, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None  # gone meanwhile, or not a draft
    try:
        fcntl.flock(data, fcntl.LOCK_SH | fcntl.LOCK_NB)
        text = (directory / ABOUT).read_bytes()
        return Leftover(directory / DATA, msgspec.json.decode(text, type=About))
    except BlockingIOError:
        return None  # in use
    except (FileNotFoundError, msgspec.DecodeError) as error:
        # The bytes may be somebody's day of work: they are shown, whatever they were.
        size = os.fstat(data).st_size
        why = f"its {ABOUT} can't be read: {error}"
        return Leftover(directory / DATA, About(file=0, length=size, why=why))
    finally:
        os.close(data)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what the local disk refuses into ours."""
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC:
                raise NoSpace(
                    f"can't {what}: the local disk is full; unsent bytes need room there"
                ) from error
            case errno.EDQUOT:
                raise QuotaExceeded(
                    f"can't {what}: your quota on the local disk is used"
                ) from error
            case errno.EFBIG:
                raise TooLarge(f"can't {what}: the local disk takes no file as long") from error
            case _:
                raise InternalError(f"can't {what}: {error}") from error


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode=0o600)


def _write(descriptor: int, offset: int, data: bytes | bytearray) -> None:
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        # A disk that fills up ends a write early; the next one says why.
        with memoryview(data) as view:
            written += os.pwrite(descriptor, view[written:], offset + written)


def _copy(source: int, target: int) -> None:
    at, size = 0, os.fstat(source).st_size
    while at < size:
        copied = os.copy_file_range(source, target, size - at, at, at)
        if not copied:
            raise OSError(errno.EIO, "the file became shorter")
        at += copied


def _read(descriptor: int, start: int, stop: int) -> bytes:
    data = os.pread(descriptor, stop - start, start)
    # Shorter where the rest is not written out yet: whoever asks lays that over it.
    return data if len(data) == stop - start else data.ljust(stop - start, b"\0")


def sync_path(path: Path) -> None:
    """Have a file, or the names in a directory, on disk. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
