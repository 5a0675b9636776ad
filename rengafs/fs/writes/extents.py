"""Sets of byte ranges: what has been written of a file, what of it lies on disk.

Pure bookkeeping, without the bytes. A range is (start, stop), *stop* excluded, as in `range`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Extents:
    """A set of bytes, kept as ranges: ascending, not overlapping, never touching.

    `add` and the questions take O(log n + k): n ranges held, k of them concerned. What stands
    behind an added one is moved besides, in one go: some microseconds where there are thousands.
    """

    __slots__ = ("_bounds",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        # Start, stop, start, stop, …: what lies behind an odd number of bounds is in the set.
        self._bounds: list[int] = []
        for start, stop in ranges:
            self.add(start, stop)

    @property
    def total(self) -> int:
        """Bytes in the set."""
        return sum(self._bounds[1::2]) - sum(self._bounds[::2])

    def __len__(self) -> int:
        return len(self._bounds) // 2

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._bounds[::2], self._bounds[1::2], strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extents):
            return NotImplemented
        return self._bounds == other._bounds

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Extents({list(self)})"

    def add(self, start: int, stop: int) -> None:
        """Take in the bytes from *start* to *stop*; nothing if there are none."""
        if start >= stop:
            return
        bounds = self._bounds
        # Left and right, so that ranges which touch become one.
        first, last = bisect_left(bounds, start), bisect_right(bounds, stop)
        new = [] if first % 2 else [start]
        if last % 2 == 0:
            new.append(stop)
        bounds[first:last] = new

    def cut(self, length: int) -> None:
        """Forget the bytes at *length* and beyond."""
        first = bisect_left(self._bounds, length)
        self._bounds[first:] = [length] if first % 2 else []

    def covers(self, start: int, stop: int) -> bool:
        """Whether all bytes from *start* to *stop* are in the set; true where there are none."""
        if start >= stop:
            return True
        behind = bisect_right(self._bounds, start)
        return behind % 2 == 1 and self._bounds[behind] >= stop

    def within(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the ranges of the set between *start* and *stop*, clipped to them."""
        if start >= stop:
            return []
        bounds = self._bounds
        found = []
        index = bisect_right(bounds, start)
        index -= index % 2
        while index < len(bounds) and bounds[index] < stop:
            found.append((max(bounds[index], start), min(bounds[index + 1], stop)))
            index += 2
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
        other._bounds = self._bounds[:]
        return other
