"""From the reads of one open file to what should be fetched. A plan only: no I/O, no clock.

What is known of the reads: a tool reads from the start or from where it jumped to, or it
hops about. The kernel adds its own: it asks 128 KiB at a time, several requests side by
side, so a sequential reader's reads arrive a little out of order.

- *sequential*: a window ahead of the reader, as long as the run so far, within bounds.
  A reader of a file's first bytes is trusted to go on, but only for the smallest window.
- *backward*: whole blocks, and a window below, as long as the run so far, within bounds.
- *strided*: what hops by the same distance each time, columns of a table or frames of a film:
  the pieces where it will be next, twice as many each time as long as it goes on.
- *random*: the pieces that hold the bytes asked for, and no more; a block whose pieces
  are asked for again and again is worth having whole, and so is a file: as who rents skis
  for long had better buy them.

A window that did not serve is not kept: whatever breaks a pattern begins with the least again.
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

MAX_WINDOW_BELOW = 4 << 20
"""Of a backward reader; less, as it needs the end of an answer first."""

STEPS = 2
"""Hops of one length, and it is a stride."""
MOST_STEPS = 8
"""To be foreseen. Each is a request."""
MAX_STRIDED_BYTES = 8 << 20
"""Of all that is foreseen."""
DRIFT_BYTES = 4096
"""The kernel asks for whole pages, so equal hops may differ by one."""

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
    STRIDED = "strided"
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
    ahead: tuple[tuple[int, int], ...] = ()
    """Ranges to have besides, soonest needed first; nobody waits for them yet."""


class Readahead:
    """The reads of one handle. *size* is the version's, in bytes.

    :param is_thorough: the reader wants all that it reads kept on disk, more than it wants speed.
    """

    def __init__(self, size: int, *, is_thorough: bool = False) -> None:
        self.is_thorough = is_thorough
        self._size = size
        self._run_start = 0
        self._next = 0
        """Where the run of sequential reads has come to."""
        self._descents = 0
        self._top = self._low = 0
        """From where a backward reader has come, and how far down it is provided for."""
        self._origin = self._step = self._steps = 0
        """Where a stride began, its length, and how often it was seen."""
        self._drift = 0
        """By how much its hops differed."""
        self._foreseen = 0
        """Up to which of its steps it is provided for."""
        self._hops = 0
        self._pieces: LRUCache[Hashable, set[int]] = LRUCache(BLOCKS_COUNTED)

    def plan(self, offset: int, size: int) -> Plan:
        """Take note of a read within the version, and say what to fetch."""
        stop = offset + size
        # Below its start, a run was not read out of order: the reader goes down.
        if max(self._run_start, self._next - NEAR_BYTES) <= offset <= self._next + NEAR_BYTES:
            return self._sequential(offset, stop)
        length = max(self._next - self._run_start, size)
        self._note_hop(offset, stop)
        # Whatever this is, a run may begin with it: the next read tells.
        self._run_start, self._next = offset, stop
        if self._descents >= 2:
            return self._backward(offset, stop)
        if self._steps >= STEPS:
            return self._strided(offset, stop, length)
        return self._random(offset, stop)

    def _note_hop(self, offset: int, stop: int) -> None:
        is_below = offset < self._run_start <= stop + NEAR_BYTES
        self._descents = self._descents + 1 if is_below else 0
        if self._descents == 1:
            self._top, self._low = self._next, _down(offset, BLOCK_BYTES)
        step = offset - self._run_start
        drift = abs(step - self._step)
        if drift <= DRIFT_BYTES:
            self._steps += 1
            self._drift = max(self._drift, drift)
        else:
            self._origin, self._step, self._steps = self._run_start, step, 1
            self._foreseen = self._drift = 0

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

    def _backward(self, offset: int, stop: int) -> Plan:
        start, end = self._blocks(offset, stop)
        window = min(max(self._top - offset, BLOCK_BYTES), MAX_WINDOW_BELOW)
        self._low = min(self._low, start)
        ahead: tuple[tuple[int, int], ...] = ()
        if start - self._low <= window // 2 and self._low:
            low = max(0, _down(self._low - window, BLOCK_BYTES))
            ahead = ((low, self._low),)
            self._low = low
        return Plan(Access.BACKWARD, start, end, ahead)

    def _strided(self, offset: int, stop: int, length: int) -> Plan:
        """*length*: of what is read at a time, between hops."""
        most = min(MOST_STEPS, max(1, MAX_STRIDED_BYTES // length))
        count = min(2 ** (self._steps - STEPS + 1), most)
        ahead = []
        if self._foreseen - self._steps <= count // 2:
            first = max(self._foreseen, self._steps) + 1
            self._foreseen = self._steps + count
            step = (offset - self._origin) / self._steps
            for number in range(first, self._foreseen + 1):
                place = self._origin + round(number * step)
                start = max(place - 2 * self._drift, 0)
                end = min(place + length + 2 * self._drift, self._size)
                if start < end:
                    ahead.append(self._pieces_of(start, end))
        return Plan(Access.STRIDED, *self._pieces_of(offset, stop), tuple(ahead))

    def _random(self, offset: int, stop: int) -> Plan:
        start, end = self._pieces_of(offset, stop)
        if self._is_wanted_whole(start, end):
            start, end = self._blocks(offset, stop)
        return Plan(Access.RANDOM, start, end)

    def _pieces_of(self, offset: int, stop: int) -> tuple[int, int]:
        start, end = _down(offset, PIECE_BYTES), _up(stop, PIECE_BYTES)
        if end - start >= BLOCK_BYTES // 2:
            return self._blocks(offset, stop)
        return start, min(end, self._size)

    def _is_wanted_whole(self, start: int, end: int) -> bool:
        block = start // BLOCK_BYTES
        pieces = self._pieces.setdefault(block, set())
        pieces.update(range(start // PIECE_BYTES, -(-end // PIECE_BYTES)))
        return len(pieces) >= PIECES_FOR_BLOCK

    def _blocks(self, start: int, stop: int) -> tuple[int, int]:
        return _down(start, BLOCK_BYTES), min(_up(stop, BLOCK_BYTES), self._size)


def _down(value: int, unit: int) -> int:
    return value - value % unit


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
