"""From the reads of one open file to what should be fetched. A plan only: no I/O, no clock.

What is known of the reads: a tool reads from the start or from where it jumped to, or it
hops about. The kernel adds its own: it asks 128 KiB at a time, several requests side by
side, so a sequential reader's reads arrive a little out of order.

- *sequential*: a window ahead of the reader, as long as the run so far, within bounds.
  A reader of a file's first bytes is trusted to go on, but only for the smallest window.
- *backward*: whole blocks, so that the next reads below find theirs there.
- *random*: the pieces that hold the bytes asked for, and no more; a block whose pieces
  are asked for again and again is worth having whole, and so is a file: as who rents skis
  for long had better buy them.

A reader in strides is random here. Its place would be beside *backward*.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum

from cachetools import LRUCache

from rengafs.fs.reads.cache import BLOCK_BYTES

PIECE_BYTES = 64 << 10
"""The least that is worth a request: a smaller one takes as long."""

MIN_WINDOW = 128 << 10
MAX_WINDOW = 16 << 20

NEAR_BYTES = BLOCK_BYTES
"""How far out of order the reads of one run may be."""

PIECES_FOR_BLOCK = 4
"""So many different pieces of a block asked for, and it is fetched whole."""

BLOCKS_COUNTED = 256

HOPS = 8
"""Random reads that had to be fetched, at least, before the whole file is."""

HOP_BYTES = 16 << 20
"""For each of them, so much of the file: a request takes as long as some MiB, far away more."""


class Access(Enum):
    """How a file is being read."""

    SEQUENTIAL = "sequential"
    BACKWARD = "backward"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to have at hand after a read: bytes from *stream_from* to *stream_to*.

    Sequential: a stream that has to be begun for it begins there, or with the block where
    the first byte is missing; it may be longer, but is not to run further ahead.
    Otherwise: fetch just that, where it is missing.
    """

    access: Access
    stream_from: int
    stream_to: int


class Readahead:
    """The reads of one handle. *size* is the version's, in bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._run_start = 0
        self._next = 0
        """Where the run of sequential reads has come to."""
        self._descents = 0
        self._hops = 0
        self._pieces: LRUCache[Hashable, set[int]] = LRUCache(BLOCKS_COUNTED)

    def plan(self, offset: int, size: int) -> Plan:
        """Take note of a read within the version, and say what to fetch."""
        stop = offset + size
        # Below its start, a run was not read out of order: the reader goes down.
        if max(self._run_start, self._next - NEAR_BYTES) <= offset <= self._next + NEAR_BYTES:
            return self._sequential(offset, stop)
        is_below = offset < self._run_start <= stop + NEAR_BYTES
        self._descents = self._descents + 1 if is_below else 0
        # Whatever this is, a run may begin with it: the next read tells.
        self._run_start, self._next = offset, stop
        if self._descents >= 2:
            return Plan(Access.BACKWARD, *self._blocks(offset, stop))
        return self._random(offset, stop)

    def hopped(self) -> bool:
        """Take note that a random read had to be fetched; return whether to fetch the rest too."""
        self._hops += 1
        return self._hops >= HOPS and self._hops * HOP_BYTES >= self._size

    def _sequential(self, offset: int, stop: int) -> Plan:
        self._descents = 0
        # From a little below: a request that this one has overtaken wants those bytes, and a
        # block can only be kept on disk if it is fetched from its beginning.
        start = _down(max(self._run_start, offset - NEAR_BYTES), PIECE_BYTES)
        self._next = max(self._next, stop)
        window = min(max(self._next - self._run_start, MIN_WINDOW), MAX_WINDOW)
        return Plan(Access.SEQUENTIAL, start, min(self._next + window, self._size))

    def _random(self, offset: int, stop: int) -> Plan:
        start, end = _down(offset, PIECE_BYTES), _up(stop, PIECE_BYTES)
        if end - start >= BLOCK_BYTES // 2 or self._is_wanted_whole(start, end):
            return Plan(Access.RANDOM, *self._blocks(offset, stop))
        return Plan(Access.RANDOM, start, min(end, self._size))

    def _is_wanted_whole(self, start: int, end: int) -> bool:
        block = start // BLOCK_BYTES
        pieces = self._pieces.setdefault(block, set())
        pieces.update(range(start // PIECE_BYTES, end // PIECE_BYTES))
        return len(pieces) >= PIECES_FOR_BLOCK

    def _blocks(self, start: int, stop: int) -> tuple[int, int]:
        return _down(start, BLOCK_BYTES), min(_up(stop, BLOCK_BYTES), self._size)


def _down(value: int, unit: int) -> int:
    return value - value % unit


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
