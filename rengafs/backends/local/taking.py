"""A file of this machine that becomes a blob: linked where that can be done, else copied.

All methods block; they are called in worker threads. The two that hash may run side by side:
what is long is hashed as a whole and in pieces, each as much work as all else together.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from rengafs.backends.base import PIECE_BYTES, Stored
from rengafs.backends.local.drawing import become_blob, begin_to_sync, write
from rengafs.backends.pieces import PieceHashes
from rengafs.protocol.errors import Corrupt


class Taking:
    """A file on its way to become a blob.

    :param path: the temporary.
    :param source: a descriptor of the file.
    """

    def __init__(self, path: Path, source: int) -> None:
        self.finished = False
        self._path = path
        self._source = source
        self._file = -1
        """What becomes the blob: the source itself, or a copy of it."""
        self._is_linked = False
        self._length = 0
        self._whole = hashlib.sha256()
        self._whole_at = 0
        self._pieces = PieceHashes()
        self._pieces_at = 0

    def begin(self) -> None:
        """Make the temporary."""
        try:
            # The descriptor makes it linkat(2), which follows /proc's link; link(2) does not.
            os.link(f"/proc/self/fd/{self._source}", self._path, src_dir_fd=self._source)
        except OSError:  # on another disk, or one that has no links
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        else:
            self._file, self._is_linked = os.dup(self._source), True

    def reach(self, length: int) -> None:
        """Take in that the source has so many bytes."""
        if not self._is_linked:
            at = self._length
            for part in _parts(self._source, at, length):
                write(self._file, part, at)
                at += len(part)
        begin_to_sync(self._file, self._length, length)
        self._length = length

    def hash_whole(self) -> None:
        """Hash what has come, as a part of the whole."""
        for part in _parts(self._file, self._whole_at, self._length):
            self._whole.update(part)
        self._whole_at = self._length

    def hash_pieces(self) -> None:
        """Hash what has come, piece by piece."""
        for part in _parts(self._file, self._pieces_at, self._length):
            self._pieces.update(part)
        self._pieces_at = self._length

    def finish(self, key: str, path: Path) -> Stored:
        """Make the blob, durably. Raises `Unavailable` for a file that has grown since."""
        file, self._file = self._file, -1
        become_blob(file, self._path, path, self._length)
        self.finished = True
        return Stored(key, self._length, self._whole.hexdigest(), self._pieces.digests())

    def abandon(self) -> None:
        """Remove the temporary; the source stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _parts(file: int, start: int, stop: int) -> Iterator[memoryview]:
    """Yield the bytes from *start* to *stop*; each part is gone with the next one."""
    buffer = memoryview(bytearray(min(PIECE_BYTES, max(stop - start, 0))))
    while start < stop:
        count = os.preadv(file, [buffer[: stop - start]], start)
        if not count:
            raise Corrupt("the file became shorter while it was read")
        yield buffer[:count]
        start += count
