"""A bound on the inodes that the kernel knows, and with them on the memory of the mount.

The kernel forgets when *it* is short of memory, which may be never: ``find`` over a million
files would leave a million inodes here. Above a limit it is asked to forget the names of those
files that it has known for longest. What is open stays, and so do directories: a process may
stand in one, and would not find out any more where that is.

No request waits for this: forgetting a name waits in the kernel for requests on its directory.
"""

import logging

import trio

from rengafs.fs.kernel import AT_A_TIME, Forget, ForgetEntry, Kernel
from rengafs.fs.names.inodes import Inode, Inodes, Past, Saved
from rengafs.protocol.records import Node

log = logging.getLogger(__name__)

MOST_INODES = 120_000
"""About a kilobyte each."""
LEAVE = 0.9
"""Of the limit, so that it is not passed again at once."""
PAUSE_SECONDS = 0.05
"""Between two rounds: what could not go now may be closed soon."""


class Trimmer:
    """Keeps the table of inodes small."""

    def __init__(self, inodes: Inodes, kernel: Kernel, most: int = MOST_INODES) -> None:
        self._inodes, self._kernel, self._most = inodes, kernel, most
        self._full = trio.Event()
        inodes.most = most
        inodes.full = self._tell_full

    def _tell_full(self) -> None:
        self._full.set()

    async def run(self) -> None:
        """Trim, until cancelled."""
        while True:
            await self._full.wait()
            self._full = trio.Event()
            excess = len(self._inodes) - self._most
            if excess > 0:
                await self._trim(excess + int(self._most * (1 - LEAVE)))
            await trio.sleep(PAUSE_SECONDS)

    async def _trim(self, count: int) -> None:
        """Have the kernel forget so many names, or as many as may be."""
        eldest = self._inodes.eldest(count)
        for start in range(0, len(eldest), AT_A_TIME):
            batch: list[Forget] = [
                ForgetEntry(inode.parent, inode.name)
                for inode in eldest[start : start + AT_A_TIME]
                if _may_go(inode)
            ]
            await self._kernel.forget_now(batch)


def _may_go(inode: Inode) -> bool:
    if inode.handles or not inode.lookups or not inode.parent or inode.content is not None:
        return False
    match inode.what:
        case (Node() as node) | Past(node=node):
            return not node.kind.is_directory
        case Saved():
            return True
        case _:
            return False
