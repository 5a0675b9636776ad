"""Who waits for the mount's answer, and whether they were killed meanwhile.

The kernel lets a killed process go only when its request has been answered, and pyfuse3 does
not pass on that it was interrupted. So who waits for long is looked at now and then.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import trio

R = TypeVar("R")

LOOK_SECONDS = 1.0
"""Nobody is looked at before they have waited for so long."""
_SIGKILL = 1 << 8
"""In the masks of pending signals."""


@dataclass(slots=True, eq=False)
class _Waiter:
    process: int
    since: float = field(default_factory=trio.current_time)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Waiting:
    """The requests under way that change nothing."""

    def __init__(self) -> None:
        self._waiters: set[_Waiter] = set()

    async def answer(self, process: int, request: Awaitable[R]) -> R:
        """Return what *request* returns; raise `InterruptedError` if the process is killed.

        :param process: the id of who waits; 0: nobody knows.
        """
        waiter = _Waiter(process)
        self._waiters.add(waiter)
        try:
            with waiter.scope:
                return await request
        finally:
            self._waiters.remove(waiter)
        raise InterruptedError("who asked was killed")

    async def run(self) -> None:
        """Let go of who is killed, until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            before = trio.current_time() - LOOK_SECONDS
            waiters = [one for one in self._waiters if one.since < before]
            if waiters:
                killed = await trio.to_thread.run_sync(_killed, {one.process for one in waiters})
                for one in waiters:
                    if one.process in killed:
                        one.scope.cancel()


def _killed(processes: set[int]) -> set[int]:
    return {process for process in processes if process and _is_killed(process)}


def _is_killed(process: int) -> bool:
    """Whether SIGKILL is pending: it is until the kernel lets the process go."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False  # it has gone; others may have its descriptors
    masks = dict(line.split(":\t", 1) for line in lines if line.startswith(("SigPnd", "ShdPnd")))
    return any(int(mask, 16) & _SIGKILL for mask in masks.values())
