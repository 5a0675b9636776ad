"""The journal on disk: what a mount has yet to send, so that it survives it.

    DIRECTORY / journal-UUID / log        frames, see `logfile`
                               owner      an `Owner`
                damaged-UUID-BYTE         what could not be read of a log, from that byte on

A live journal holds a lock on its log; `compact` puts another file in its place.

Group commit: records that must be durable share one fsync where they come together; others
are written along with the next of those.
"""

import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from rengafs.fs.writes.draftfiles import make_directory, sync_path, told
from rengafs.fs.writes.writeback import logfile
from rengafs.fs.writes.writeback.records import Done, Owner, Range, Record
from rengafs.protocol.errors import Corrupt

log = logging.getLogger(__name__)

PREFIX = "journal-"
DAMAGED = "damaged-"
LOG, OWNER = "log", "owner"
EMPTY_BYTES = 1 << 20
"""A log grows by so much before it is emptied, if nothing in it waits."""
COMPACT_BYTES = 8 << 20
"""And by so much before what waits is copied to another, if it is the lesser part."""


@dataclass(slots=True, eq=False)
class _Frame:
    record: Record
    data: bytes
    durable: bool
    """Somebody waits for it."""
    start: int = -1
    """In the log, once it is written."""
    error: Exception | None = None


class Journal:
    """A log that is open. Made by `create` and `adopt`, which block."""

    def __init__(self, directory: Path, log: int, owner: Owner, end: int = 0) -> None:
        self.directory = directory
        self.owner = owner
        self._log = log
        self._end = self._looked_at = end
        self._places: dict[int, Range] = {}
        """Frames of entries that are not done, by their numbers."""
        self._live_bytes = 0
        """Of these."""
        self._early: set[int] = set()
        """Entries that were done before their frames were written."""
        self._waiting: list[_Frame] = []
        self._turn = trio.Lock()

    @classmethod
    def create(cls, parent: Path, owner: Owner) -> "Journal":
        """Make an empty journal in *parent*. Raises `NoSpace` and the like."""
        name = uuid.uuid4().hex
        hidden = parent / f".{PREFIX}{name}"
        with told("make a journal"):
            make_directory(parent)
            hidden.mkdir(mode=0o700)
            try:
                log = _new_log(hidden / LOG)
                try:
                    (hidden / OWNER).write_bytes(msgspec.json.encode(owner))
                    sync_path(hidden / OWNER)
                    sync_path(hidden)
                    directory = hidden.rename(parent / f"{PREFIX}{name}")
                    sync_path(parent)
                except BaseException:
                    os.close(log)
                    raise
            except BaseException:
                shutil.rmtree(hidden, ignore_errors=True)
                raise
        return cls(directory, log, owner)

    @classmethod
    def adopt(cls, directory: Path) -> "tuple[Journal, list[Record]] | None":
        """Open the journal of a mount that has ended; None if it is in use, or gone.

        What is damaged is copied aside, and told in the log; what is sound is not touched.
        Raises `Corrupt` if it can't be told whose it is, and `NoSpace` and the like.
        """
        with told("take over a journal"):
            try:
                log = os.open(directory / LOG, os.O_RDWR | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                if not _locked(log, directory, fcntl.LOCK_EX):
                    os.close(log)
                    return None
                owner = _owner(directory)
                found = logfile.scan(log)
                _keep_damaged(log, found, directory)
            except BaseException:
                os.close(log)
                raise
        journal = cls(directory, log, owner, found.end)
        for frame in found.frames:
            journal._placed(frame.record, frame.start, frame.stop)
        return journal, [frame.record for frame in found.frames]

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.directory.name

    @property
    def size(self) -> int:
        """Bytes of the log."""
        return self._end

    # --- writing ----------------------------------------------------------------------

    async def append(self, record: Record, payload: bytes = b"") -> None:
        """Have a record on disk, and all that were noted before. Not to be cancelled.

        Raises `NoSpace` and the like; nothing of it is on disk then.
        """
        frame = _Frame(record, logfile.framed(record, payload), durable=True)
        self._waiting.append(frame)
        # Who is cancelled here could not tell whether it is in the journal.
        with trio.CancelScope(shield=True):
            async with self._turn:
                if frame.start < 0 and frame.error is None:
                    await self._write()
        if frame.error is not None:
            raise frame.error

    def note(self, record: Record) -> None:
        """Have a record on disk along with the next one that must be."""
        self._waiting.append(_Frame(record, logfile.framed(record, b""), durable=False))
        if isinstance(record, Done):
            self._forget(record.number, early=True)

    async def sync(self) -> None:
        """Have all that was noted on disk. Raises `NoSpace` and the like."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                if self._waiting and (error := await self._write()) is not None:
                    raise error

    async def _write(self) -> Exception | None:
        """Write what waits. Shielded, by whoever has the turn."""
        frames, self._waiting = self._waiting, []
        error = await trio.to_thread.run_sync(self._try, frames)
        if error is None:
            for frame in frames:
                self._placed(frame.record, frame.start, frame.start + len(frame.data))
            return None
        for frame in frames:
            frame.error = error
        # Who noted these was not waiting: they are still due.
        self._waiting = [frame for frame in frames if not frame.durable] + self._waiting
        return error

    def _try(self, frames: list[_Frame]) -> Exception | None:
        try:
            with told("write to the journal"):
                self._put(frames)
        except Exception as error:  # noqa: BLE001 - handed to each who waits for it
            return error
        return None

    def _put(self, frames: list[_Frame]) -> None:
        end = self._end
        try:
            logfile.write_all(self._log, b"".join(frame.data for frame in frames), end)
            os.fdatasync(self._log)
        except OSError:
            os.ftruncate(self._log, end)
            raise
        for frame in frames:
            frame.start = end
            end += len(frame.data)
        self._end = end

    def _placed(self, record: Record, start: int, stop: int) -> None:
        if isinstance(record, Done):
            self._forget(record.number, early=False)
        elif record.number in self._early:
            self._early.remove(record.number)
        else:
            self._places[record.number] = (start, stop)
            self._live_bytes += stop - start

    def _forget(self, number: int, *, early: bool) -> None:
        if number in self._places:
            start, stop = self._places.pop(number)
            self._live_bytes -= stop - start
        elif early:
            self._early.add(number)

    # --- reading ----------------------------------------------------------------------

    async def read(self, numbers: Iterable[int], *, check: bool = True) -> list[bytes]:
        """Return the payloads of entries that are not done.

        Raises `Corrupt` for one whose checksum is wrong, unless *check* is off, and
        `InternalError` for a broken disk.
        """
        starts = [self._places[number][0] for number in numbers]
        log = os.dup(self._log)  # `compact` closes the other

        def read() -> list[bytes]:
            with told("read the journal"):
                return [logfile.payload_at(log, start, check=check) for start in starts]

        try:
            return await trio.to_thread.run_sync(read)
        finally:
            os.close(log)

    # --- getting shorter --------------------------------------------------------------

    @property
    def is_wasteful(self) -> bool:
        """Whether it has grown, and most of it is of no use any more."""
        least = COMPACT_BYTES if self._places else EMPTY_BYTES
        return self._end - self._looked_at >= least and 2 * self._live_bytes <= self._end

    async def compact(self, answers: Callable[[], list[Done]]) -> None:
        """Keep only the entries that are not done, and *answers*: what later ones refer to.

        Raises `NoSpace` and the like; then it is as it was.
        """
        with trio.CancelScope(shield=True):
            async with self._turn:
                if not self.is_wasteful:
                    return
                self._looked_at = self._end
                places = dict(self._places)
                dones = answers()
                if not places and all(done.meant is None for done in dones):
                    await trio.to_thread.run_sync(_cut, self._log)
                    self._end = self._looked_at = 0
                    return
                ranges = list(places.values())
                log, at = await trio.to_thread.run_sync(self._rewritten, dones, ranges)
                for number, (start, stop) in places.items():
                    if number in self._places:
                        self._places[number] = (at, at + stop - start)
                    at += stop - start
                os.close(self._log)
                self._log, self._end, self._looked_at = log, at, at

    def _rewritten(self, dones: list[Done], frames: list[Range]) -> tuple[int, int]:
        """Put another log in the place of this one; return it, and where *frames* begin in it."""
        kept = b"".join(logfile.framed(done, b"") for done in dones)
        path = self.directory / f"{LOG}.new"
        with told("shorten the journal"):
            path.unlink(missing_ok=True)
            new = _new_log(path)
            try:
                logfile.write_all(new, kept, 0)
                logfile.copy_frames(self._log, frames, new, len(kept))
                os.fsync(new)
                path.rename(self.directory / LOG)
            except BaseException:
                path.unlink(missing_ok=True)
                os.close(new)
                raise
        try:
            sync_path(self.directory)
        except OSError as error:
            log.error("the journal %s may be an older one after a crash: %s", self.name, error)
        return new, len(kept)

    # --- ending -----------------------------------------------------------------------

    def close(self) -> None:
        """Let the next mount find it. Blocks."""
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
        """Leave nothing of it. Blocks."""
        hidden = self.directory.with_name(f".{self.name}")
        try:
            self.directory.rename(hidden)
        except OSError as error:
            log.warning("%s has been sent, and can't be removed: %s", self.directory, error)
            self.close()
            return
        os.close(self._log)
        shutil.rmtree(hidden, ignore_errors=True)


def journals(parent: Path) -> list[Path]:
    """Return the directories of journals in *parent*, in use or not, the eldest first."""
    found = []
    with told("look for journals"):
        for path in parent.glob(f"{PREFIX}*"):
            try:
                found.append(((path / OWNER).stat().st_mtime_ns, path))
            except FileNotFoundError:
                if path.is_dir():
                    found.append((0, path))
            except NotADirectoryError:
                continue
    return [path for _, path in sorted(found)]


def damaged_parts(parent: Path) -> list[Path]:
    """Return what was damaged in journals of *parent*, copied aside."""
    return sorted(parent.glob(f"{DAMAGED}*"))


def in_use(directory: Path) -> bool:
    """Whether a mount has a journal open; not if there is none."""
    with told("look at a journal"):
        try:
            log = os.open(directory / LOG, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            return not _locked(log, directory, fcntl.LOCK_SH)
        finally:
            os.close(log)


def read_journal(directory: Path) -> tuple[Owner, list[Record]] | None:
    """Return what a journal says, in use or not; None: it has gone. For `status`.

    Raises `Corrupt` if it can't be told whose it is.
    """
    try:
        log = os.open(directory / LOG, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        with told("read a journal"):
            return _owner(directory), [frame.record for frame in logfile.scan(log).frames]
    finally:
        os.close(log)


def _new_log(path: Path) -> int:
    """Return a new log that is open, and locked."""
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return log


def _locked(log: int, directory: Path, how: int) -> bool:
    """Lock a log that was found; return whether nobody else has, and it is still the log."""
    try:
        fcntl.flock(log, how | fcntl.LOCK_NB)
        return (directory / LOG).stat().st_ino == os.fstat(log).st_ino
    except BlockingIOError:
        return False
    except (FileNotFoundError, NotADirectoryError):
        return False  # it went while we looked


def _owner(directory: Path) -> Owner:
    path = directory / OWNER
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise Corrupt(f"{path} does not say whose journal this is: {error}") from error


def _keep_damaged(file: int, found: logfile.Scan, directory: Path) -> None:
    """Copy what can't be read aside, before anything is written over it."""
    name = f"{DAMAGED}{directory.name.removeprefix(PREFIX)}"
    for start, stop in found.damaged:
        path = directory.parent / f"{name}-{start}"
        logfile.keep_aside(file, (start, stop), path)
        log.error(
            "%d bytes of %s are damaged, from byte %d on; they are kept in %s: what was saved "
            "last before that mount ended may be among them",
            stop - start,
            directory / LOG,
            start,
            path,
        )
    # Behind the last sound frame something has been cut off, or nothing was written.
    os.ftruncate(file, found.end)


def _cut(file: int) -> None:
    with told("empty the journal"):
        os.ftruncate(file, 0)
