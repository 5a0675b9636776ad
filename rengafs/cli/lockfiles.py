"""Lock files on disk: read whole and checked, written whole or not at all."""

import os
from pathlib import Path

import msgspec

from rengafs.cli.exits import Exit, refuse
from rengafs.protocol.locks import LockFile
from rengafs.protocol.locks import read_lock as decode

MAX_BYTES = 256 << 20


def read_lock(path: Path) -> LockFile:
    """Return the lock file at *path*. Raises `SetupError` where there is none that is good."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse(Exit.FAILED, f"can't read the lock file {path} ({error.strerror})") from None
    if len(text) > MAX_BYTES:
        raise refuse(Exit.FAILED, f"the lock file {path} is too long to be one")
    return decode(text, str(path))


def write_lock(path: Path, lock: LockFile) -> None:
    """Write *lock* to *path*: who reads it finds the old one or the new one, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(lock), indent=2) + b"\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
