"""`DraftStore`: the drafts of a mount, and what they share: a directory, limits, memory."""

import time
from collections.abc import Callable
from pathlib import Path

import trio

from rengafs.fs.writes.ahead import Senders
from rengafs.fs.writes.draftlimits import DraftLimits
from rengafs.fs.writes.drafts import Draft
from rengafs.fs.writes.layers import BaseReader
from rengafs.fs.writes.unkept import Unkept


class DraftStore:
    """The drafts of a mount, in a directory that other mounts may share.

    :param mount: names this mount in its drafts' descriptions.
    """

    def __init__(
        self,
        directory: Path,
        limiter: trio.CapacityLimiter,
        *,
        mount: str = "",
        catalog: str = "",
        user: str = "",
        clock: Callable[[], int] = time.time_ns,
        limits: DraftLimits | None = None,
        senders: Senders | None = None,
    ) -> None:
        self.senders = senders
        """Who sends large files while they are written; None: nobody does."""
        self.directory = directory
        self.limiter = limiter
        self.mount = mount
        self.catalog, self.user = catalog, user
        """Of which service, and by whom: who finds the bytes must know where they belong."""
        self.clock = clock
        self.limits = limits or DraftLimits()
        self.buffered_bytes = 0
        """Of all drafts together, in memory."""
        self.unkept = Unkept()

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more may stay in memory."""
        return self.buffered_bytes + size <= self.limits.all_buffers

    async def make(
        self,
        *,
        file: int,
        base: int | None,
        base_length: int,
        reader: BaseReader | None,
        name: str = "",
    ) -> Draft:
        """Return a draft that reads as its base does: *base_length* bytes of *reader*.

        Nothing is on disk until something has to be.
        """
        return Draft(self, file=file, name=name, base=base, base_length=base_length, reader=reader)
