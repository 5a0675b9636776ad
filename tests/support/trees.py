"""A tree to work on by system calls: a directory of a disk, or of a mount.

`support.volumes` has the same calls without a kernel. Names are relative; a failure is an
`OSError`.
"""

import ctypes
import os
from pathlib import Path
from typing import Protocol

_LIBC = ctypes.CDLL(None, use_errno=True)
MOST = 20_000
"""More bytes than any file of these tests has."""


class Tree(Protocol):
    """What random work needs of a tree."""

    def open(self, name: str, flags: int) -> int: ...
    def close(self, handle: int) -> None: ...
    def read(self, handle: int) -> bytes: ...
    def write(self, handle: int, content: bytes, offset: int) -> int: ...
    def sync(self, handle: int) -> None: ...
    def truncate_open(self, handle: int, size: int) -> None: ...
    def chmod_open(self, handle: int, mode: int) -> None: ...
    def status(self, handle: int) -> tuple[int, int, int]: ...
    def truncate(self, name: str, size: int) -> None: ...
    def chmod(self, name: str, mode: int) -> None: ...
    def set_time(self, name: str, seconds: int) -> float: ...
    def unlink(self, name: str) -> None: ...
    def mkdir(self, name: str) -> None: ...
    def rmdir(self, name: str) -> None: ...
    def rename(self, old: str, new: str, flags: int = 0) -> None: ...
    def link(self, old: str, new: str) -> None: ...
    def symlink(self, target: str, name: str) -> None: ...
    def everything(self) -> dict[str, object]: ...
    def saves(self, name: str) -> list[bytes]: ...


class OnDisk:
    """A directory, by way of the kernel."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> str:
        return os.path.join(self.root, name)

    def open(self, name: str, flags: int) -> int:
        return os.open(self.path(name), flags, 0o644)

    def close(self, handle: int) -> None:
        os.close(handle)

    def read(self, handle: int) -> bytes:
        return os.pread(handle, MOST, 0)

    def write(self, handle: int, content: bytes, offset: int) -> int:
        return os.pwrite(handle, content, offset)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def truncate_open(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def chmod_open(self, handle: int, mode: int) -> None:
        os.fchmod(handle, mode)

    def status(self, handle: int) -> tuple[int, int, int]:
        """Return size, mode and links."""
        status = os.fstat(handle)
        return status.st_size, status.st_mode, status.st_nlink

    def truncate(self, name: str, size: int) -> None:
        os.truncate(self.path(name), size)

    def chmod(self, name: str, mode: int) -> None:
        os.chmod(self.path(name), mode)

    def set_time(self, name: str, seconds: int) -> float:
        """Set the times; return what mtime is then."""
        os.utime(self.path(name), (seconds, seconds))
        return os.stat(self.path(name)).st_mtime

    def unlink(self, name: str) -> None:
        os.unlink(self.path(name))

    def mkdir(self, name: str) -> None:
        os.mkdir(self.path(name))

    def rmdir(self, name: str) -> None:
        os.rmdir(self.path(name))

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        one, other = os.fsencode(self.path(old)), os.fsencode(self.path(new))
        if _LIBC.renameat2(-100, one, -100, other, flags):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def link(self, old: str, new: str) -> None:
        os.link(self.path(old), self.path(new))

    def symlink(self, target: str, name: str) -> None:
        os.symlink(target, self.path(name))

    def everything(self) -> dict[str, object]:
        """Return all that is to be seen, by name."""
        found: dict[str, object] = {}
        for directory, subdirectories, files in os.walk(self.root):
            relative = Path(directory).relative_to(self.root)
            for name in subdirectories:
                path = Path(directory) / name
                found[str(relative / name)] = (
                    os.readlink(path) if path.is_symlink() else "directory"
                )
            for name in files:
                path = Path(directory) / name
                if path.is_symlink():
                    found[str(relative / name)] = os.readlink(path)
                else:
                    status = path.stat()
                    found[str(relative / name)] = (
                        path.read_bytes(),
                        status.st_size,
                        status.st_mode,
                        status.st_nlink,
                    )
        return found

    def saves(self, name: str) -> list[bytes]:
        """Return the contents that history shows for a name, oldest first."""
        path = self.root / name
        history = path.parent / ".versions" / path.name
        return [save.read_bytes() for save in sorted(history.iterdir())]
