"""An embedded service leaves after its last user.

Each mount and command that uses the service holds a shared lock on one file. When the
service gets an exclusive one, nobody uses it; it keeps that lock until its process ends,
so that whoever comes then waits, and starts a new service.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

FIRST_SECONDS = 5.0
"""Whoever starts a service has this long to take its lock."""
EVERY_SECONDS = 1.0


async def leave_after_users(lock: Path, leave: Callable[[], None]) -> None:
    """Call *leave* when nobody holds *lock* any more."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    await asyncio.sleep(FIRST_SECONDS)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(EVERY_SECONDS)
        else:
            leave()  # the file stays open: see the module
            return
