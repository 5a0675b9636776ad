"""Which mounts of ours run here: one small file a mount, locked while its process lives.

The lock is the truth and the file's text only tells about it: a process that was killed
leaves a file without a lock, and whoever finds it removes it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from rengafs.cli.exits import Exit, refuse
from rengafs.cli.locks import FileLock, try_lock
from rengafs.cli.mounttable import find_mount
from rengafs.cli.paths import Paths, short_hash
from rengafs.protocol.errors import RengafsError

NAMED = 20
"""Files that could not be committed, of one message; the log names all."""
ENDING_SECONDS = 5.0
"""Long enough for a mount without unsent writes to end."""


class MountRecord(msgspec.Struct, frozen=True):
    """What a mount tells about itself."""

    mountpoint: str
    pid: int
    endpoint: str
    since_ms: int
    """When its process started, in milliseconds since 1970."""
    token_file: str = ""
    """Where it found the token for *endpoint*, if in a file."""
    cache: str = ""
    """The directory of its blocks; with a limit of 0 there are none."""
    cache_limit_bytes: int = 0
    unsent_files: int = 0
    """While it ends: of how many files something is still to be sent."""
    unsent_bytes: int = 0


def record_path(paths: Paths, mountpoint: Path) -> Path:
    """Return where the record of the mount at *mountpoint* is, or would be."""
    return paths.runtime / "mounts" / f"{short_hash(mountpoint)}.json"


@contextmanager
def recorded(paths: Paths, record: MountRecord) -> Iterator["Recorded"]:
    """Hold the record of this process's mount for as long as the block runs.

    Raises `SetupError` if another process is about to mount there, or does.
    """
    path = record_path(paths, Path(record.mountpoint))
    path.parent.mkdir(mode=0o700, exist_ok=True)
    lock = _awaited_lock(path, record.mountpoint)
    try:
        yield Recorded(lock, record)
    finally:
        lock.remove_and_release()


def _awaited_lock(path: Path, mountpoint: str) -> FileLock:
    """Lock a record. Waits a little for a mount that ended just now, and is about to let go."""
    until = time.monotonic() + ENDING_SECONDS
    while (lock := try_lock(path)) is None:
        found = find_mount(Path(mountpoint))
        mounted = found is not None and found.ours
        if mounted or time.monotonic() > until:
            other = read_record(path)
            by = f" by process {other.pid}" if other else ""
            told = f"is already mounted{by}; use it" if mounted else f"is being used{by}; wait"
            raise refuse(
                Exit.MOUNT_POINT,
                f"{mountpoint} {told}, or say: rengafs umount {mountpoint}",
            )
        time.sleep(0.05)
    return lock


class Recorded:
    """The record of this process's mount."""

    def __init__(self, lock: FileLock, record: MountRecord) -> None:
        self._lock = lock
        self._record = record
        self._write()
        take_word(lock.path)  # of an earlier mount there, if nobody asked

    def tell(self, endpoint: str) -> None:
        """Add which service the mount speaks to."""
        self._record = msgspec.structs.replace(self._record, endpoint=endpoint)
        self._write()

    def tell_unsent(self, files: int, size: int) -> None:
        """Tell what is still to be sent, while the mount ends; *size* in bytes."""
        self._record = msgspec.structs.replace(self._record, unsent_files=files, unsent_bytes=size)
        self._write()

    def leave_word(self, lost: list[str]) -> None:
        """Leave for ``rengafs umount`` what could not be committed."""
        _word(self._lock.path).write_bytes(msgspec.json.encode(lost))

    def _write(self) -> None:
        # In place, not by a rename: the lock is on this very file.
        text = msgspec.json.encode(self._record)
        os.pwrite(self._lock.descriptor, text, 0)
        os.ftruncate(self._lock.descriptor, len(text))


def read_record(path: Path) -> MountRecord | None:
    """Return the record in the file *path*, or None if there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=MountRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def take_word(record: Path) -> list[str]:
    """Return, once, what the mount of *record* could not commit before it ended."""
    word = _word(record)
    try:
        lost = msgspec.json.decode(word.read_bytes(), type=list[str])
    except (FileNotFoundError, msgspec.DecodeError):
        return []
    word.unlink(missing_ok=True)
    return lost


def not_committed(mountpoint: Path, lost: list[str]) -> RengafsError:
    """Return the error that tells of *lost*, what could not be committed."""
    more = f"; and {len(lost) - NAMED} more" if len(lost) > NAMED else ""
    return refuse(
        Exit.FAILED,
        f"{mountpoint} is unmounted, but not all is committed: {'; '.join(lost[:NAMED])}{more}",
    )


def _word(record: Path) -> Path:
    return record.with_suffix(".lost")


def live_records(paths: Paths) -> list[MountRecord]:
    """Return the records of the mounts whose processes live; remove those of dead ones."""
    found = []
    for path in sorted((paths.runtime / "mounts").glob("*.json")):
        if not drop_stale(path):
            record = read_record(path)
            if record is not None:
                found.append(record)
    return found


def drop_stale(path: Path) -> bool:
    """Remove the record *path* if no process holds it; return whether it is gone."""
    try:
        lock = try_lock(path, create=False)
    except FileNotFoundError:
        return True
    if lock is None:
        return False
    lock.remove_and_release()
    return True
