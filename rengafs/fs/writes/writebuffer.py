"""Writes that are not on disk yet: small ones joined, all in the order in which they came.

Memory only. `drafts` decides when they go to disk, and bounds them.
"""

from collections import deque

from rengafs.fs.writes.draftfiles import Piece
from rengafs.fs.writes.draftlimits import DraftLimits


class WriteBuffer:
    """Pieces of one draft. A later one lies over an earlier one."""

    def __init__(self, limits: DraftLimits) -> None:
        self._limits = limits
        self._pieces: deque[Piece] = deque()
        self.size = 0
        """Bytes in memory, those written over included."""

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more may be added."""
        return self.size + size <= self._limits.buffer and len(self._pieces) < self._limits.pieces

    def add(self, offset: int, data: bytes) -> None:
        """Lay *data* over what is there."""
        self.size += len(data)
        if len(data) >= self._limits.join:
            self._pieces.append((offset, data))
            return
        if self._pieces:
            start, last = self._pieces[-1]
            if start + len(last) == offset and isinstance(last, bytearray):
                last += data
                return
        self._pieces.append((offset, bytearray(data)))

    def take(self) -> deque[Piece]:
        """Return the pieces, oldest first, and be empty."""
        pieces, self._pieces, self.size = self._pieces, deque(), 0
        return pieces

    def put_back(self, pieces: deque[Piece]) -> None:
        """Lay what is there over *pieces*."""
        self._pieces.extendleft(reversed(pieces))
        self.size = sum(len(data) for _, data in self._pieces)

    def cut(self, length: int) -> None:
        """Forget the bytes at *length* and beyond."""
        kept = [(at, data[: length - at]) for at, data in self.take() if at < length]
        self.put_back(deque(kept))

    def within(self, start: int, stop: int) -> list[Piece]:
        """Return copies of what concerns the bytes from *start* to *stop*, oldest first."""
        return [
            (max(at, start), bytes(data[max(start - at, 0) : stop - at]))
            for at, data in self._pieces
            if at < stop and start < at + len(data)
        ]
