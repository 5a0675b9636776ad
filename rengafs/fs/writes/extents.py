"""Sets of byte ranges: what has been written of a file, what of it lies on disk.

Pure bookkeeping, without the bytes. A range is (start, stop), *stop* excluded, as in `range`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from sortedcontainers import SortedDict


class Extents:
    """A set of bytes, kept as ranges: ascending, not overlapping, never touching.

    `add` and the questions take O(log n + k): n ranges held, k of them concerned.
    """

    __slots__ = ("_stops", "_total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        # start -> stop. sortedcontainers has no types: Any ends in this class.
        self._stops: Any = SortedDict()
        self._total = 0
        for start, stop in ranges:
            self.add(start, stop)

    @property
    def total(self) -> int:
        """Bytes in the set."""
        return self._total

    def __len__(self) -> int:
        return len(self._stops)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._stops.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extents):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Extents({list(self)})"

    def add(self, start: int, stop: int) -> None:
        """Take in the bytes from *start* to *stop*; nothing if there are none."""
        if start >= stop:
            return
        stops = self._stops
        index = stops.bisect_right(start) - 1
        if index >= 0:
            left, end = stops.peekitem(index)
            if end >= stop:
                return
            if end >= start:
                start = left
                self._total -= end - left
        index += 1
        while index < len(stops):
            left, end = stops.peekitem(index)
            if left > stop:
                break
            stops.popitem(index)
            stop = max(stop, end)
            self._total -= end - left
        stops[start] = stop
        self._total += stop - start

    def cut(self, length: int) -> None:
        """Forget the bytes at *length* and beyond."""
        stops = self._stops
        while stops:
            start, stop = stops.peekitem()
            if stop <= length:
                return
            self._total -= stop - max(start, length)
            if start < length:
                stops[start] = length
                return
            stops.popitem()

    def covers(self, start: int, stop: int) -> bool:
        """Whether all bytes from *start* to *stop* are in the set; true where there are none."""
        if start >= stop:
            return True
        index = self._stops.bisect_right(start) - 1
        return index >= 0 and bool(self._stops.peekitem(index)[1] >= stop)

    def within(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the ranges of the set between *start* and *stop*, clipped to them."""
        if start >= stop:
            return []
        stops = self._stops
        found = []
        index = max(stops.bisect_right(start) - 1, 0)
        while index < len(stops):
            left, end = stops.peekitem(index)
            if left >= stop:
                break
            if end > start:
                found.append((max(left, start), min(end, stop)))
            index += 1
        return found

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return what is not in the set between *start* and *stop*."""
        missing = []
        at = start
        for left, end in self.within(start, stop):
            if at < left:
                missing.append((at, left))
            at = end
        if at < stop:
            missing.append((at, stop))
        return missing

    def copy(self) -> "Extents":
        """Return another set of the same bytes."""
        other = Extents()
        other._stops = self._stops.copy()
        other._total = self._total
        return other
