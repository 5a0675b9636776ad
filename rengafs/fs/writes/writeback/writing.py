"""`WriteBack`: what a mount saves goes into the journal, and from there to the service.

A file is made here first where this mount knows that its name is free, and that it may
write there: in a bucket where the service has accepted a change of its own, and, if the
tool wants to be the one who makes it (O_EXCL), in a directory that this mount has made.
Everything else that changes names waits for what it depends on, and asks the service.
"""

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from rengafs.fs.names.inodes import Inode
from rengafs.fs.names.requests import Changes
from rengafs.fs.remote import Remote
from rengafs.fs.writes.drafts import Draft
from rengafs.fs.writes.flights import CommitPlan
from rengafs.fs.writes.saving import Saved, Saver
from rengafs.fs.writes.unsent import Report
from rengafs.fs.writes.writeback.keeping import keep_all
from rengafs.fs.writes.writeback.outbox import Chain, Entry, Outbox
from rengafs.fs.writes.writeback.records import Queued
from rengafs.protocol import names
from rengafs.protocol.errors import (
    InternalError,
    RengafsError,
    Unavailable,
    UnexpectedAnswer,
)
from rengafs.protocol.operations import (
    Commit,
    MakeFile,
    Operation,
    Outcome,
    RemoveDirectory,
    Rename,
    SetAttributes,
    Unlink,
)
from rengafs.protocol.records import ROOT, Kind, Node

if TYPE_CHECKING:
    from rengafs.fs.volume.contents import Content

log = logging.getLogger(__name__)

IDS = 2000
"""Reserved at a time, for files that are made here."""
MOST_FILES = 50_000
"""Of which something waits: each is some kilobytes of memory."""
MOST_LAYERS = 50
STUMBLES = InternalError, UnexpectedAnswer
"""What the service, or who stands before it, may well be over in a moment."""
AGAIN_SECONDS = 0.5
HASHED_HERE = 64 << 10
"""Larger payloads are hashed in a thread."""


class Held:
    """A file in the mount, for as long as something of it waits."""

    def __init__(self, saver: "WriteBack", inode: Inode, way: list[Inode]) -> None:
        self.inode = inode
        self.way = way
        """It and its directories: without these, nobody could say where it is."""
        self.content: Content | None = None
        self._saver = saver

    @property
    def name(self) -> str:
        """Where it was last seen."""
        return self._saver.path_of(self.inode)

    def arrived(self, queued: Queued, outcome: Outcome) -> None:
        """Take in what the service answered for an entry."""
        if isinstance(queued.operation, MakeFile):
            self._saver.was_made(self.inode, outcome)
        elif isinstance(queued.operation, Commit) and self.content and outcome.version:
            local = -queued.number
            self.content.arrived(local, outcome.version)
            self._saver.conflicts.saved(self.inode.node.id, outcome.version, self.name)
            if self.inode.cached_version == local:
                self.inode.cached_version = outcome.version.id

    async def finished(self, outcome: Outcome | None) -> None:
        """Let go: nothing waits any more."""
        inode, content = self.inode, self.content
        node = None if outcome is None else outcome.node
        if node is not None and inode.is_live and inode.node.id == node.id:
            inode.what = node if content is None else content.with_pending(node, time.time_ns())
        else:
            inode.stale = True
        await self._saver.let_go(inode, content, self.way)


class WriteBack(Saver):
    """See the module.

    :param clock_offset_ns: what is to be added to this machine's time for the service's.
    """

    def __init__(
        self,
        remote: Remote,
        outbox: Outbox,
        drafts: Path,
        *,
        clock_offset_ns: int,
    ) -> None:
        super().__init__(remote)
        self.outbox = outbox
        self._drafts = drafts
        self._offset_ns = clock_offset_ns
        self._ids: list[int] = []
        self._wants_ids = trio.Event()
        self._proven: set[int] = set()
        """Buckets in which the service has accepted a change of this mount."""
        self._noted: set[int] = set()
        """Files made here whose records are not on disk yet."""

    # --- saving -----------------------------------------------------------------------

    async def save(
        self,
        content: "Content",
        inode: Inode,
        draft: Draft,
        plan: CommitPlan,
        operation: Commit,
        before: SetAttributes | None,
    ) -> Saved:
        """Have a save in the journal, durably; the service gets it soon."""
        bucket = self._bucket_of(inode)
        waits = self.waits(operation.node)
        if plan.is_filled or content.layers > MOST_LAYERS:
            await self.settle([operation.node])
            waits = False
        if plan.is_filled or (bucket not in self._proven and not waits):
            operation = replace(operation, base=self.outbox.version(operation.base))
            saved = await super().save(content, inode, draft, plan, operation, before)
            if bucket is not None:
                self._proven.add(bucket)
            return saved
        await self.outbox.room(plan.payload_bytes, inline=plan.is_small)
        entry = await self._journal(inode, draft, plan, operation, before)
        assert entry.queued.operation.key, "every entry has one"
        self._add(entry, inode).content = content
        content.waits(operation.mtime_ns or plan.mtime_ns)
        node = replace(
            inode.node,
            size=plan.length,
            mtime_ns=operation.mtime_ns or plan.mtime_ns,
            ctime_ns=max(self._now_ns(), inode.node.ctime_ns),
        )
        return Saved(-entry.queued.number, plan.length, node, sealed=not plan.is_small)

    async def _journal(
        self,
        inode: Inode,
        draft: Draft,
        plan: CommitPlan,
        operation: Commit,
        before: SetAttributes | None,
    ) -> Entry:
        if before is not None:
            self._note(before, before.node, inode)
        noted, self._noted = self._noted, set()
        try:
            if plan.is_small:
                payload = b"".join([piece async for piece in plan.open_payload()])
                digest = await _sha256(payload)
                operation = replace(operation, payload_sha256=digest)
                queued = self._queued(operation, operation.node, inode)
                await self.outbox.journal.append(queued, payload)
                return Entry(queued)
            directory, local = await draft.seal(plan, self.outbox.journal.name)
            # Its own name is the key: whoever finds the draft without the journal's entry
            # may send it, and the service carries it out once.
            queued = self._queued(operation, operation.node, inode, key=directory)
            queued = replace(queued, draft=directory, local=local)
            try:
                await self.outbox.journal.append(queued)
            except BaseException:
                draft.unseal()
                raise
            return Entry(queued, opener=plan.open_payload)
        except BaseException:
            self._noted |= noted
            raise

    def known_as(self, version: int) -> int:
        """Return the id of a version that was saved here, if it has one by now."""
        return self.outbox.version(version) or version

    async def kept(self, file: int) -> None:
        """Have a file that was made here survive this machine's end."""
        if file in self._noted:
            noted, self._noted = self._noted, set()
            try:
                await self.outbox.journal.sync()
            except RengafsError:
                self._noted |= noted
                raise

    # --- making -----------------------------------------------------------------------

    async def keep_ids(self) -> None:
        """Have ids at hand for files that are made here, until cancelled."""
        while True:
            if len(self._ids) < IDS // 2:
                try:
                    got = await self._remote.reserve(IDS)
                    self._ids += range(got.first, got.first + got.count)
                except RengafsError as error:
                    log.info("no ids for new files: %s", error)
                    await trio.sleep(1)
            else:
                self._wants_ids = trio.Event()
                await self._wants_ids.wait()

    def make(self, directory: Inode, name: bytes, operation: MakeFile) -> Node | None:
        """Make a file here; None where the service must be asked."""
        if (
            directory.node.id == ROOT
            or not directory.node.links
            or not names.carries(name, top=False)
            or self._bucket_of(directory) not in self._proven
            or (operation.exclusive and not directory.lacks(name))
            or len(self.outbox) >= MOST_FILES
            or not self._ids
        ):
            return None
        number = self._ids.pop(0)
        if len(self._ids) < IDS // 2:
            self._wants_ids.set()
        now = self._now_ns()
        return Node(
            id=number,
            kind=Kind.FILE,
            mode=operation.mode,
            uid=operation.uid,
            gid=operation.gid,
            mtime_ns=now,
            ctime_ns=now,
            atime_ns=now,
            created_ns=now,
        )

    def made_as(self, inode: Inode, operation: MakeFile) -> None:
        """Send what `make` has made, now that it is the inode *inode*."""
        # Not exclusive: where the name was taken meanwhile, both are versions of one file.
        asked = replace(operation, id=inode.node.id, exclusive=False)
        self._note(asked, inode.node.id, inode)
        self._noted.add(inode.node.id)

    def made(self, directory: Inode, name: bytes) -> Inode | None:
        """Return the file that is to be made at a name."""
        chain = self.outbox.made(directory.node.id, names.to_wire(name))
        return None if chain is None else self._inode_of(chain)

    def was_made(self, inode: Inode, outcome: Outcome) -> None:
        """Take in that the service has made a file; or has found another at its name."""
        self._noted.discard(inode.node.id)
        if outcome.node is not None and outcome.node.id != inode.node.id:
            assert self._mount is not None, "it was made through it"
            what = "another file of that name was made elsewhere meanwhile"
            self.conflicts.tell(outcome.node.id, self.path_of(inode), what)
            self._mount.goes_on_as(inode, outcome.node, same_bytes=False)

    def set_attributes(self, inode: Inode, changes: Changes) -> bool:
        """Set attributes of a file after what waits of it; False: nothing waits."""
        operation = changes.operation(inode.node.id)
        if operation is None or not self.waits(inode.node.id):
            return False
        self._note(operation, inode.node.id, inode)
        inode.what = changes.applied(inode.node, self._now_ns())
        if inode.content is not None and changes.mtime_ns is not None:
            inode.content.dated(changes.mtime_ns)
        return True

    # --- waiting ----------------------------------------------------------------------

    async def settle(self, files: Iterable[int]) -> None:
        """Wait until the service has all that was saved of *files*."""
        wanted = list(files)
        await self._insist(lambda: wanted)

    async def settle_all(self) -> None:
        """Wait until the service has all that was saved."""
        wanted = [chain.file for chain in self.outbox.chains()]
        await self._insist(lambda: wanted)

    async def _insist(self, files: Callable[[], list[int]], seconds: float | None = None) -> None:
        """Wait until the service has all of *files*; what it stumbles over is tried again soon."""
        bound = self.outbox.limits.patience_seconds if seconds is None else seconds
        until = trio.current_time() + bound
        while True:
            try:
                await self.outbox.settle(files(), max(0.0, until - trio.current_time()))
                return
            except STUMBLES:
                if trio.current_time() + AGAIN_SECONDS >= until:
                    raise
            await trio.sleep(AGAIN_SECONDS)

    async def settle_in(self, directory: int, seconds: float | None = None) -> None:
        """Wait until the service has all that was made or saved in a directory."""
        await self._settle(lambda inode: self._node_of(inode.parent) == directory, seconds)

    async def settle_names(self, directory: int) -> None:
        """Wait until the service knows all names of a directory, or can't be asked."""
        await self.outbox.settle_names(directory)

    async def make_way(self, operation: Operation) -> None:
        """Wait until the service has all that *operation* depends on."""
        if not len(self.outbox):
            return
        named = self._named(operation)
        await self._clear(named, must=isinstance(operation, (Rename, Unlink)))
        # Which files stand in a directory, or bear a name too, can't be told by their names.
        removes = isinstance(operation, RemoveDirectory)
        await self._clear(lambda inode: removes or inode.node.links > 1, must=False)

    async def _clear(self, concerned: Callable[[Inode], bool], *, must: bool) -> None:
        """Wait for files; go on without what was refused.

        :param must: not without what the service may still take: it would not get to be
            a version of its name any more.
        """
        try:
            await self._settle(concerned)
        except Unavailable:
            raise
        except RengafsError as error:
            if must and self._files(concerned):
                raise
            log.info("goes on without what was refused: %s", error)

    def _named(self, operation: Operation) -> Callable[[Inode], bool]:
        """Return what tells whether an operation names a file."""
        node = getattr(operation, "node", None)
        places = {
            (getattr(operation, parent, None), getattr(operation, name, None))
            for parent, name in (("parent", "name"), ("new_parent", "new_name"))
        }
        return lambda inode: (
            inode.node.id == node
            or (self._node_of(inode.parent), names.to_wire(inode.name)) in places
        )

    async def _settle(
        self, concerned: Callable[[Inode], bool], seconds: float | None = None
    ) -> None:
        if self._files(concerned):
            await self._insist(lambda: self._files(concerned), seconds)

    def _files(self, concerned: Callable[[Inode], bool]) -> list[int]:
        """Return the files that *concerned* says yes to, of those of which something waits."""
        files = []
        for chain in self.outbox.chains():
            inode = self._inode_of(chain)
            if inode is not None and inode.is_live and concerned(inode):
                files.append(chain.file)
        return files

    # --- telling ----------------------------------------------------------------------

    def waits(self, file: int) -> bool:
        """Whether something of a file is yet to be sent."""
        return file in self.outbox

    def waiting(self) -> list[Inode]:
        """Return the files of which something is yet to be sent."""
        inodes = (self._inode_of(chain) for chain in self.outbox.chains())
        return [inode for inode in inodes if inode is not None]

    def accepted(self, made: Inode) -> None:
        """Take in that the service has let this mount make something."""
        bucket = self._bucket_of(made)
        if bucket is not None:
            self._proven.add(bucket)

    def state(self, inode: Inode) -> str:
        """Return ``clean``, ``dirty``, ``uploading`` or ``failed: …``."""
        here = super().state(inode)
        return self.outbox.state(inode.node.id) if here == "clean" else here

    def report(self) -> Report:
        """Return what is yet to be sent."""
        mine, sent = super().report(), self.outbox.report()
        return replace(sent, failed=mine.failed + sent.failed, conflicts=mine.conflicts)

    # --- when it is over --------------------------------------------------------------

    async def let_go(self, inode: Inode, content: "Content | None", way: list[Inode]) -> None:
        """Let a file be what the service says it is."""
        assert self._mount is not None, "its files wait"
        if inode.is_live:
            self._mount.note_change(inode.node.id)
        try:
            if content is not None:
                await content.sent(inode)
                if not content.is_open and inode.content is content:
                    inode.content = None
        except RengafsError as error:
            log.error("file %d, closed: %s", inode.node.id, error)
        finally:
            for one in way:
                self._inodes.closed(one)

    async def put_aside(self, chain: Chain, error: RengafsError) -> str:
        """Keep the bytes of a file that the service refuses; return where."""
        holder = chain.holder
        if isinstance(holder, Held) and holder.content is not None:
            holder.content.refused(error)
        return await keep_all(self.outbox, chain, self._drafts, error)

    # --- helpers of the above ---------------------------------------------------------

    def _note(self, operation: MakeFile | SetAttributes, file: int, inode: Inode) -> None:
        queued = self._queued(operation, file, inode)
        self.outbox.journal.note(queued)
        self._add(Entry(queued), inode)

    def _queued(
        self, operation: MakeFile | SetAttributes | Commit, file: int, inode: Inode, key: str = ""
    ) -> Queued:
        operation = replace(operation, key=key or uuid.uuid4().hex)
        if isinstance(operation, Commit):
            # By its name of now: a journal that gets shorter keeps local ones only for what is
            # in it by then.
            operation = replace(operation, base=self.outbox.version(operation.base))
        return Queued(
            number=self.outbox.next_number(),
            file=file,
            operation=operation,
            name=self.path_of(inode),
            at_ms=time.time_ns() // 1_000_000,
        )

    def _add(self, entry: Entry, inode: Inode) -> Held:
        chain = self.outbox.chain(entry.queued.file)
        if chain is not None and isinstance(chain.holder, Held):
            self.outbox.add(entry, chain.holder)
            return chain.holder
        held = Held(self, inode, self._inodes.way_to(inode))
        for one in held.way:
            self._inodes.opened(one)
        self.outbox.add(entry, held)
        return held

    def _inode_of(self, chain: Chain) -> Inode | None:
        return chain.holder.inode if isinstance(chain.holder, Held) else None

    def _node_of(self, number: int) -> int | None:
        inode = self._inodes.find(number)
        return inode.node.id if inode is not None and inode.is_live else None

    def _bucket_of(self, inode: Inode) -> int | None:
        step: Inode | None = inode
        while step is not None and step.is_live:
            if step.node.kind is Kind.BUCKET:
                return step.node.id
            if step.number == ROOT:
                return None
            step = self._inodes.find(step.parent)
        return None

    def _now_ns(self) -> int:
        return time.time_ns() + self._offset_ns


async def _sha256(payload: bytes) -> str:
    if not payload:
        return ""
    if len(payload) <= HASHED_HERE:
        return hashlib.sha256(payload).hexdigest()
    return (await trio.to_thread.run_sync(hashlib.sha256, payload)).hexdigest()
