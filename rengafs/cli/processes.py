"""Other processes, held by descriptors: a number may mean another process a moment later."""

import os
import select
import signal
from contextlib import suppress
from typing import Self


class Process:
    """A process of this machine, which may have ended. Use it in ``with``."""

    def __init__(self, number: int) -> None:
        """Raises `ProcessLookupError` if there is none of that *number*."""
        if number <= 0:  # one that this PID namespace does not show
            raise ProcessLookupError
        self.number = number
        self._descriptor = os.pidfd_open(number)

    def terminate(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, and return whether it has."""
        # Such a descriptor can be read from when the process has ended: pidfd_open(2).
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
