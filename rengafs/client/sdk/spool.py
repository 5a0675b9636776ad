"""`Spool`: bytes on their way, in memory up to a limit and in an unnamed file beyond it.

What is written is gathered here first. So a source that breaks half-way leaves no half
version, a send that fails can begin again, and its length is known before it is sent.
"""

import errno
import hashlib
import tempfile
from collections.abc import Iterator

from rengafs.protocol.errors import NoSpace

MEMORY_BYTES = 4 << 20
PIECE_BYTES = 1 << 20


class Spool:
    """Append, and read from the start as often as needed. Not for two threads at a time."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile[bytes](max_size=MEMORY_BYTES)
        self.length = 0
        """Bytes that it holds."""

    def append(self, data: bytes) -> None:
        """Add *data*. Raises `NoSpace` where the temporary directory is full."""
        try:
            self._file.seek(self.length)
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise NoSpace(
                f"no room for what is being written in {tempfile.gettempdir()}; "
                "make some, or set TMPDIR"
            ) from error
        self.length += len(data)

    def truncate(self, length: int) -> None:
        """Forget all but the first *length* bytes."""
        self._file.truncate(length)
        self.length = length

    def piece(self, offset: int) -> bytes:
        """Return up to `PIECE_BYTES` from *offset* on; nothing at the end."""
        self._file.seek(offset)
        return self._file.read(min(PIECE_BYTES, self.length - offset))

    def pieces(self) -> Iterator[bytes]:
        """Yield all bytes, from the start."""
        offset = 0
        while piece := self.piece(offset):
            offset += len(piece)
            yield piece

    def sha256(self) -> str:
        """Return the hash of all bytes, in hex."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def close(self) -> None:
        """Give memory and file back."""
        self._file.close()
