"""Telling the kernel what to forget: away from the trio thread, and never at the end.

``notify_inval_*`` blocks in the kernel for as long as a request on that inode is served,
and the requests are served by the trio thread: called there, it would wait for itself.
So a task takes what is to be forgotten from a bounded queue and tells the kernel in worker
threads, some at a time. Names wait for whoever changes names in the same directory, which may
be a request that the service is slow to answer: each directory has its turn by itself, so that
it holds up no other, nor attributes, which wait for nobody. Before the mount goes away it is
disarmed: a thread that sits in the kernel while the session is destroyed would touch freed
memory.
"""

import errno
import logging
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio
from pyfuse3 import FileNameT, InodeT

log = logging.getLogger(__name__)

QUEUE_LENGTH = 1024
"""When it is full, whoever follows the feed waits, and the service with it."""
AT_A_TIME = 256
DIRECTORIES = 8
"""So many may be waited for at a time."""
ATTRIBUTES = 0
"""Stands for all that waits for no directory."""
DISARM_SECONDS = 5.0
READ_AHEAD_KIB = 1024
_UNKNOWN = (errno.ENOENT, errno.ENOTDIR)
"""The kernel has forgotten it already."""


@dataclass(frozen=True, slots=True)
class ForgetEntry:
    """What stands at *name*, or that nothing does."""

    parent: int
    name: bytes


@dataclass(frozen=True, slots=True)
class ForgetInode:
    """Attributes and, unless *attributes_only*, pages of an inode.

    With a read in flight on an open file, forgetting its pages would wait for that read
    and hold up all others: while it is open, only attributes are forgotten, and the next
    open does not keep the pages.
    """

    number: int
    attributes_only: bool


Forget = ForgetEntry | ForgetInode


def widen_readahead(mountpoint: Path) -> None:
    """Have the kernel ask for up to a mebibyte at a time, where it lets us: only root may.

    Each request costs the same however long it is. Blocks, for as long as a stat may take.
    """
    device = os.stat(mountpoint).st_dev
    setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
    try:
        setting.write_text(f"{READ_AHEAD_KIB}\n")
    except OSError as error:
        log.debug("the kernel reads ahead as it is used to: %s", error)


class Kernel:
    """The queue of what the kernel is to forget."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Forget]] = {}
        """By directory; the first is the one that has waited for longest."""
        self._room = trio.Semaphore(QUEUE_LENGTH)
        self._news = trio.Event()
        self._at_work: set[int] = set()
        self._armed = True
        self._telling = 0
        self._idle = trio.Event()
        self._idle.set()

    async def forget(self, what: Forget) -> None:
        """Have the kernel forget *what*, soon. Waits while the queue is full."""
        if self._armed:
            await self._room.acquire()
            of = what.parent if isinstance(what, ForgetEntry) else ATTRIBUTES
            self._queues.setdefault(of, deque()).append(what)
            self._news.set()

    async def forget_pages(self, number: int) -> None:
        """Have the kernel forget attributes and pages of the inode *number*."""
        await self.forget(ForgetInode(number, attributes_only=False))

    async def forget_pages_now(self, number: int) -> None:
        """Have the kernel forget attributes and pages of an inode before this returns.

        It waits for reads of these pages that are being served: not to be called by those.
        """
        await self.forget_now([ForgetInode(number, attributes_only=False)])

    async def forget_attributes(self, number: int) -> None:
        """Have the kernel forget the attributes of an inode before this returns.

        It then also passes over attributes of answers that were sent before. No pages are
        waited for, so it is safe while requests on the inode are served.
        """
        await self.forget_now([ForgetInode(number, attributes_only=True)])

    async def forget_now(self, batch: Sequence[Forget]) -> None:
        """Have the kernel forget all of *batch* before this returns, past the queue.

        Not of a directory that a request is being served on, if that waits for this.
        """
        if not self._armed or not batch:
            return
        self._telling += 1
        self._idle = trio.Event() if self._telling == 1 else self._idle
        try:
            await trio.to_thread.run_sync(self._tell, batch, abandon_on_cancel=True)
        finally:
            self._telling -= 1
            if not self._telling:
                self._idle.set()

    async def run(self) -> None:
        """Tell the kernel, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                for directory in self._due():
                    self._at_work.add(directory)
                    nursery.start_soon(self._tell_of, directory)
                await self._news.wait()
                self._news = trio.Event()

    def _due(self) -> list[int]:
        """Return what may be told of now."""
        waiting = [directory for directory in self._queues if directory not in self._at_work]
        free = DIRECTORIES - len(self._at_work - {ATTRIBUTES})
        named = [directory for directory in waiting if directory != ATTRIBUTES]
        return [ATTRIBUTES] * (ATTRIBUTES in waiting) + named[:free]

    async def _tell_of(self, directory: int) -> None:
        """Tell the kernel what is queued of a directory, some at a time."""
        queue = self._queues.pop(directory)
        batch = [queue.popleft() for _ in range(min(AT_A_TIME, len(queue)))]
        if queue:
            self._queues[directory] = queue  # behind all others
        try:
            await self.forget_now(batch)
        finally:
            for _ in batch:
                self._room.release()
            self._at_work.discard(directory)
            self._news.set()

    async def disarm(self) -> None:
        """Tell the kernel nothing more, and wait until it has taken in what it was told."""
        self._armed = False
        with trio.move_on_after(DISARM_SECONDS):
            await self._idle.wait()

    def _tell(self, batch: Sequence[Forget]) -> None:
        for what in batch:
            if not self._armed:
                return
            try:
                _tell(what)
            except OSError as error:
                if error.errno not in _UNKNOWN:
                    log.warning("the kernel did not forget %s: %s", what, error)


def _tell(what: Forget) -> None:
    match what:
        case ForgetEntry(parent, name):
            pyfuse3.invalidate_entry(InodeT(parent), FileNameT(name))
        case ForgetInode(number, attributes_only):
            pyfuse3.invalidate_inode(InodeT(number), attributes_only)
