"""A lock file: exactly which versions a command read, to be mounted again later.

JSON for people and programs; `FORMAT` grows when its meaning changes.
"""

from pathlib import PurePosixPath

import msgspec

from rengafs.protocol.errors import SetupError

FORMAT = 1


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a lock."""

    path: str
    """``bucket/dir/file``, shown names."""
    file: int
    version: int
    size: int
    sha256: str


class LockFile(msgspec.Struct, frozen=True, kw_only=True):
    """A lock file."""

    rengafs_lock: int = FORMAT
    catalog: str
    """Identity of the data that the versions are of."""
    command: list[str]
    created: str
    """When, ISO 8601."""
    files: list[Locked]
    """Sorted by path."""


def read_lock(text: bytes, name: str) -> LockFile:
    """Return a lock file that can be trusted. Raises `SetupError`; *name* is for the message."""
    try:
        lock = msgspec.json.decode(text, type=LockFile)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"{name} is not a lock file of rengafs record ({error})") from None
    if lock.rengafs_lock != FORMAT:
        raise SetupError(f"{name} is of another version of rengafs; record it anew")
    for locked in lock.files:
        parts = PurePosixPath(locked.path).parts
        if not parts or "/".join(parts) != locked.path or ".." in parts:
            raise SetupError(f"{name} holds {locked.path!r}, which is no path in a mount")
    return lock
