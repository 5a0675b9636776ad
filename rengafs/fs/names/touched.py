"""What the feed has spoken of lately: whether an answer was overtaken while it was under way.

An answer of the service is as of some moment before it arrives. If the feed speaks of the
same node in between, the answer may be the old state, and the kernel must not be told to
believe it for hours. So whoever asks takes a mark first, and asks here afterwards.

Only the last changes are remembered; older marks than that count as overtaken.
"""

from collections import OrderedDict

REMEMBERED = 20_000


class Touched:
    """Ids, each with the moment (a count, not a time) of its last change."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._most = remembered
        self._last: OrderedDict[int, int] = OrderedDict()
        self._count = 0
        self._floor = 0

    def mark(self) -> int:
        """Return a mark: now."""
        return self._count

    def note(self, number: int) -> None:
        """Note that something has changed just now."""
        self._count += 1
        self._last[number] = self._count
        self._last.move_to_end(number)
        if len(self._last) > self._most:
            _, self._floor = self._last.popitem(last=False)

    def note_all(self) -> None:
        """Note that anything may have changed."""
        self._count += 1
        self._floor = self._count
        self._last.clear()

    def since(self, mark: int, number: int) -> bool:
        """Whether *number* may have changed after *mark*."""
        return mark < self._floor or self._last.get(number, 0) > mark

    def forgotten(self, mark: int) -> bool:
        """Whether what has changed since *mark* is not known any more."""
        return mark < self._floor
