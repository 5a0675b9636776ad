"""Drafts are described on disk soon after they were written to, whoever asks for it or not.

What is in memory only, nobody finds when the mount is killed; and a description that is older
than a commit would have its bytes taken for unsaved ones.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from rengafs.fs.writes.extents import Extents
from rengafs.protocol.errors import RengafsError

log = logging.getLogger(__name__)

KEPT_SECONDS = 3.0
"""After the first write that is not on disk."""
EXTENTS = 1000
"""Each so many take another such time: a description has them all."""
LOOK_SECONDS = 0.5


class Keepable(Protocol):
    """A `Draft`."""

    file: int

    @property
    def extents(self) -> Extents:
        """What its description names."""

    @property
    def needs_keeping(self) -> bool:
        """Whether anything of it has to be on disk."""

    async def checkpoint(self) -> None:
        """Have all bytes on disk, and a description by which they are found."""


class Unkept:
    """The drafts of a mount that are not on disk as they are in memory."""

    def __init__(self) -> None:
        self._since: dict[Keepable, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, draft: Keepable) -> None:
        """Take in that a draft has changed."""
        if draft not in self._since:
            self._since[draft] = trio.current_time()

    def discard(self, draft: Keepable) -> None:
        """Take in that a draft is on disk as it is, or is over."""
        self._since.pop(draft, None)

    @contextmanager
    def being_kept(self, draft: Keepable) -> Iterator[None]:
        """Count a draft as kept, but for what it takes in meanwhile; not if that fails."""
        self.discard(draft)
        try:
            yield
        except BaseException:
            self.add(draft)
            raise

    async def keep(self) -> None:
        """Have each on disk soon, one after another, until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            for draft, since in list(self._since.items()):
                due = since + KEPT_SECONDS * (1 + len(draft.extents) // EXTENTS)
                if draft not in self._since or due > trio.current_time():
                    continue
                self.discard(draft)
                if draft.needs_keeping:
                    await self._keep(draft)

    async def _keep(self, draft: Keepable) -> None:
        try:
            await draft.checkpoint()
        except trio.ClosedResourceError:
            self.discard(draft)
        except RengafsError as error:
            # It is tried again: whatever failed has added it again.
            log.warning("what is written to file %d is in memory only: %s", draft.file, error)
