"""The end of a mount: one deadline over all that it waits for, and who is told meanwhile."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Protocol

import trio

TELL_SECONDS = 1.0


class Sized(Protocol):
    """Something that is still to be committed."""

    @property
    def size(self) -> int:
        """Bytes."""


class Ending:
    """When it has to be over. Its time runs from the first wait on.

    :param seconds: how long all of it may take.
    :param progress: told, in a thread, how many files and bytes are still to be committed.
    """

    def __init__(
        self, seconds: float, progress: Callable[[int, int], None] = lambda _files, _bytes: None
    ) -> None:
        self._seconds = seconds
        self._progress = progress
        self._deadline: float | None = None

    @property
    def left(self) -> float:
        """Seconds until it has to be over; it begins now if it has not."""
        now = trio.current_time()
        if self._deadline is None:
            self._deadline = now + self._seconds
        return max(0.0, self._deadline - now)

    def limited(self) -> AbstractContextManager[trio.CancelScope]:
        """Break the block off when the time is over."""
        return trio.move_on_after(self.left)

    async def tell(self, waiting: Collection[Sized]) -> None:
        """Tell of *waiting* now and then, until nothing is in it."""
        while waiting:
            size = sum(one.size for one in waiting)
            await trio.to_thread.run_sync(self._progress, len(waiting), size)
            with trio.move_on_after(TELL_SECONDS):
                while waiting:  # noqa: ASYNC110 - who empties it has better to do than to tell
                    await trio.sleep(0.02)
