"""File locks with a bound on the wait. The kernel releases them however a process ends.

A lock file may be removed by the one who holds it exclusively. So whoever gets a lock
looks whether the path still leads to the file it locked, and tries again if not.
"""

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05
"""flock(2) itself waits without a bound, so a bounded wait has to ask again and again."""


@dataclass(frozen=True, slots=True)
class FileLock:
    """A lock that this process holds, until `release`."""

    path: Path
    descriptor: int

    def release(self) -> None:
        """Give the lock up; the file stays."""
        os.close(self.descriptor)

    def remove_and_release(self) -> None:
        """Remove the file, then give the lock up. Only for the holder of an exclusive lock."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)

    def become(self, *, shared: bool) -> bool:
        """Change the kind of lock at once, or return False and hold none.

        flock(2) gives the old lock up before it tries the new one, hence the loss.
        """
        return _try(self.descriptor, shared=shared)


def try_lock(path: Path, *, shared: bool = False, create: bool = True) -> FileLock | None:
    """Return the lock on *path*, or None if it is held otherwise.

    Raises `FileNotFoundError` if there is no such file and *create* is false.
    """
    while True:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        descriptor = os.open(path, flags, 0o600)
        if not _try(descriptor, shared=shared):
            os.close(descriptor)
            return None
        if _still_there(path, descriptor):
            return FileLock(path, descriptor)
        os.close(descriptor)


def wait_for_lock(
    path: Path,
    *,
    seconds: float,
    shared: bool = False,
    create: bool = True,
    waiting: Callable[[float], None] | None = None,
) -> FileLock | None:
    """Return the lock on *path*, or None if it was not to be had within *seconds*.

    :param waiting: called now and then with the seconds waited so far.
    """
    begin = time.monotonic()
    while True:
        lock = try_lock(path, shared=shared, create=create)
        passed = time.monotonic() - begin
        if lock is not None or passed > seconds:
            return lock
        if waiting is not None:
            waiting(passed)
        time.sleep(POLL_SECONDS)


def _try(descriptor: int, *, shared: bool) -> bool:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
