"""How a save reaches the service: here, at once and waited for. `writeback` does it later."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from rengafs.client import calls
from rengafs.fs.names.inodes import Inode, Inodes
from rengafs.fs.names.requests import Changes
from rengafs.fs.remote import Remote
from rengafs.fs.writes.conflicts import Conflicts
from rengafs.fs.writes.drafts import Draft
from rengafs.fs.writes.flights import CommitPlan
from rengafs.fs.writes.refusals import Refusals
from rengafs.fs.writes.unsent import Report, told
from rengafs.protocol import names
from rengafs.protocol.errors import BadRequest
from rengafs.protocol.operations import Commit, MakeFile, Operation, Outcome, SetAttributes
from rengafs.protocol.records import ROOT, Node

if TYPE_CHECKING:
    from rengafs.fs.volume.contents import Content


log = logging.getLogger(__name__)

SHOWN = 100
"""Conflicts, and failed saves, that a report names."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save has become."""

    version: int
    """Its id; negative for one that the service has yet to name."""
    size: int
    node: Node | None
    """The file as it is now."""
    sealed: bool = False
    """The draft holds the bytes until they are sent, and is not to be written to any more."""


class Mounted(Protocol):
    """What is asked of the volume whose files are saved."""

    inodes: Inodes

    def goes_on_as(self, inode: Inode, now: Node, *, same_bytes: bool) -> None:
        """Let an inode stand for another node, because its name was taken."""

    def note_change(self, node: int) -> None:
        """Take in that a node is not what listings say."""


class Saver:
    """Saves by asking the service, and waiting for its answer."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self.conflicts = Conflicts(remote)
        self.refusals = Refusals()
        self._mount: Mounted | None = None

    def serve(self, mount: Mounted) -> None:
        """Take in whose files are saved. Before anything else."""
        self._mount = mount

    @property
    def _inodes(self) -> Inodes:
        assert self._mount is not None, "`serve` comes first"
        return self._mount.inodes

    def path_of(self, inode: Inode, known: str = "") -> str:
        """Return where a file was last seen, below the mount.

        :param known: what was returned before: the kernel may have forgotten a directory since.
        """
        *steps, last = self._inodes.way_to(inode)
        if last.number != ROOT:
            if known:
                return known
            steps.append(last)
        return "/".join(names.to_wire(step.name) for step in reversed(steps))

    async def save(
        self,
        content: "Content",
        inode: Inode,
        draft: Draft,
        plan: CommitPlan,
        operation: Commit,
        before: SetAttributes | None,
    ) -> Saved:
        """Make what *plan* says a version; *before* sets attributes first. Raises refusals."""
        operation = calls.keyed(operation)
        outcome = await _sent_ahead(draft, plan, operation, before)
        if outcome is None:
            outcome = await self._remote.commit(operation, plan.open_payload, before=before)
        assert outcome.version is not None, "the protocol promises the version"
        if self._mount is not None:
            self._mount.note_change(operation.node)  # listings have what it was
        self.conflicts.saved(operation.node, outcome.version, self.path_of(inode))
        return Saved(outcome.version.id, outcome.version.size, outcome.node)

    def known_as(self, version: int) -> int:
        """Return the id of a version that `save` has named, if it has one by now."""
        return version

    async def settle(self, files: Iterable[int]) -> None:
        """Wait until the service has all that was saved of *files*. Raises its refusals."""

    async def settle_all(self) -> None:
        """Wait until the service has all that was saved."""

    async def settle_in(self, directory: int, seconds: float | None = None) -> None:
        """Wait until the service has all that was made or saved in a directory (its node)."""

    async def settle_names(self, directory: int) -> None:
        """Wait until the service knows all names of a directory, or can't be asked."""

    async def make_way(self, operation: Operation) -> None:
        """Wait until the service has all that *operation* depends on."""

    async def kept(self, file: int) -> None:
        """Have a file that was made, and what was saved in it, survive this machine's end."""

    def make(self, directory: Inode, name: bytes, operation: MakeFile) -> Node | None:
        """Return a file that is made here first; None: the service must be asked."""
        return None

    def made_as(self, inode: Inode, operation: MakeFile) -> None:
        """Send what `make` has made, now that it is the inode *inode*."""

    def made(self, directory: Inode, name: bytes) -> Inode | None:
        """Return the file that is to be made at a name."""
        return None

    def set_attributes(self, inode: Inode, changes: Changes) -> bool:
        """Set attributes of a file after what waits of it; False: nothing waits."""
        return False

    def waits(self, file: int) -> bool:
        """Whether something of a file is yet to be sent."""
        return False

    def waiting(self) -> list[Inode]:
        """Return the files of which something is yet to be sent."""
        return []

    def accepted(self, made: Inode) -> None:
        """Take in that the service has let this mount make something."""

    def state(self, inode: Inode) -> str:
        """Return ``clean``, ``dirty``, ``uploading`` or ``failed: …``."""
        content = inode.content
        if content is not None and content.is_being_saved:
            return "uploading"
        failed = self.refusals.of(inode.node.id)
        if failed is not None:
            return told(failed)
        return "dirty" if content is not None and content.is_dirty else "clean"

    def report(self) -> Report:
        """Return what is yet to be sent."""
        return Report(
            failed=self.refusals.found()[-SHOWN:], conflicts=self.conflicts.found()[-SHOWN:]
        )


async def _sent_ahead(
    draft: Draft, plan: CommitPlan, operation: Commit, before: SetAttributes | None
) -> Outcome | None:
    """Commit what was sent while it was written; None: it was not. Raises refusals."""
    ahead = draft.ahead(plan)
    if ahead is None:
        return None
    short = replace(operation, ahead=True, extents=[], payload=0)
    outcomes = await ahead.commit(short, [] if before is None else [before])
    if outcomes is None:
        return None
    try:
        return [calls.good(outcome) for outcome in outcomes][-1]
    except BadRequest as error:
        log.info("file %d is sent again, as a whole: %s", operation.node, error)
        return None
