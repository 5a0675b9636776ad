"""Questions to mounts, each with a bound: a mount whose process hangs must not hang who asks.

The kernel waits for the process of a mount for as long as that lives. So a question is put in
a thread, which is left behind if no answer comes; it ends with this process.
"""

import errno
import os
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

ANSWER_SECONDS = 2.0
SERVICE = "user.renga.service"
"""What a mount tells of its service, without asking it."""


class Condition(StrEnum):
    """How a mount is."""

    WELL = "mounted"
    DEAD = "dead"
    """Its process has ended without detaching it."""
    SILENT = "does not answer"
    CLOSED = "another user's"


def ask(question: Callable[[], T]) -> T:
    """Return what *question* returns or raises; `TimeoutError`, an `OSError`, if nothing soon."""
    answers: SimpleQueue[tuple[T] | OSError] = SimpleQueue()

    def put() -> None:
        try:
            answers.put((question(),))
        except OSError as error:
            answers.put(error)

    threading.Thread(target=put, daemon=True).start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except Empty:
        raise TimeoutError(errno.ETIMEDOUT, "its mount does not answer") from None
    if isinstance(answer, OSError):
        raise answer
    return answer[0]


def attribute(path: str | Path, name: str) -> bytes:
    """Return an extended attribute of something in a mount. Raises `OSError`."""
    return ask(lambda: os.getxattr(path, name))


def set_attribute(path: str | Path, name: str, value: bytes) -> None:
    """Set an extended attribute of something in a mount. Raises `OSError`."""
    ask(lambda: os.setxattr(path, name, value))


def condition(mountpoint: str | Path) -> Condition:
    """Return how the mount at *mountpoint* is."""
    try:
        # Not stat, which the kernel goes on answering from its cache; nor statvfs, which waits for
        # the service.
        attribute(mountpoint, SERVICE)
    except TimeoutError:
        return Condition.SILENT
    except PermissionError:
        return Condition.CLOSED
    except OSError as error:
        dead = error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
        return Condition.DEAD if dead else Condition.WELL
    return Condition.WELL


def remedy(mountpoint: str | Path, process: int | None = None) -> str:
    """Return what to do about a mount that does not answer."""
    which = "its process" if process is None else f"its process {process}"
    return (
        f"{mountpoint}: {which} does not answer; wait, or end it (kill -9) and say: "
        f"rengafs umount {mountpoint}"
    )
