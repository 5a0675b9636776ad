"""Open files: a `Content` is a version and, once written to, the draft of the next one.

Handles that are opened while a content is current share it, so that processes of one mount
see each other's writes at once, as POSIX wants. A version that arrives from elsewhere makes
a new content for later opens; who has the old one open goes on reading the old version,
whole, never a mix.

What protects what: `Content.commit` holds the content's lock from the snapshot of the draft
until the draft is rebased on the new version, so commits of one file are in order. Writes
do not take that lock: they may go on during a commit, and leave the draft dirty again.
"""

import os
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from rengafs.fs.names.inodes import Inode
from rengafs.fs.names.requests import Changes
from rengafs.fs.reads.readahead import Readahead
from rengafs.fs.reads.readers import Readers
from rengafs.fs.reads.reading import VersionReader
from rengafs.fs.writes.drafts import CommitPlan, Draft
from rengafs.fs.writes.draftstore import DraftStore
from rengafs.fs.writes.saving import Saver
from rengafs.protocol.errors import InvalidFileOperation, RengafsError
from rengafs.protocol.operations import Commit, refuse_too_long
from rengafs.protocol.records import Node, Version

KEPT_BYTES = 1 << 20
"""A whole new content of up to this size is cached as it is saved."""


class Content:
    """The bytes behind one or more handles. Made by `Contents`."""

    def __init__(
        self,
        store: "Contents",
        node: int,
        version: int | None,
        size: int,
        *,
        shares_inode: bool = False,
    ) -> None:
        self.node = node
        """The file that a commit goes to."""
        self.version = version
        """The version that the bytes are, or that the draft is based on."""
        self.shares_inode = shares_inode
        """Whether older handles read another version through the same inode."""
        self._store = store
        self._size = size
        """Of *version*. Kept right for the moment in which the last handle lets go of the
        draft and another open takes the content over."""
        self._reader: VersionReader | None = None
        self._draft: Draft | None = None
        self._layers: list[Draft] = []
        """Drafts that were saved here and wait to be sent: each reads as what it was then."""
        self._unsent = False
        """Whether a save of it waits to be sent."""
        self._saved_mtime_ns = 0
        self._refused: RengafsError | None = None
        """Why the service will not take what was saved here."""
        self._lock = trio.Lock()
        self.is_being_saved = False
        """Whether a save is under way."""
        self._handles = 0
        self.writers = 0
        """Handles that may write."""
        self._abandoned = False
        self._writer = ""
        """The key of the handle that wrote last."""
        self._pending = Changes()
        """Attributes that were set since it became dirty: they go with the commit."""

    @property
    def is_open(self) -> bool:
        """Whether a handle uses it, or who sends it."""
        return self._handles > 0 or self._unsent

    @property
    def is_dirty(self) -> bool:
        """Whether it has bytes that are not yet a version."""
        return self._draft is not None and self._draft.dirty

    @property
    def layers(self) -> int:
        """Saves that wait to be sent and lie on disk, one over another."""
        return len(self._layers)

    @property
    def is_unsaved(self) -> bool:
        """Whether it has bytes that the service does not have."""
        return self._unsent or self.is_dirty

    @property
    def size(self) -> int:
        """Bytes, as a reader of this mount sees them."""
        return self._size if self._draft is None else self._draft.length

    @property
    def mtime_ns(self) -> int:
        """The time of the last write, or what utimens has set since. Only while unsaved."""
        if not self.is_dirty:
            return self._saved_mtime_ns
        assert self._draft is not None, "only a draft is dirty"
        pending = self._pending.mtime_ns
        return self._draft.mtime_ns if pending is None else pending

    def defer(self, changes: Changes) -> None:
        """Have the coming commit carry *changes*: one round trip for all that cp or tar sets."""
        self._pending = self._pending.then(changes)

    def abandon(self) -> None:
        """The file has no name any more: what is written from now on is nobody's save."""
        self._abandoned = True

    def belongs_to(self, node: Node, *, same_bytes: bool) -> None:
        """Go on as *node*; its current version has just become *same_bytes*, or is another."""
        self.node = node.id
        if node.version is not None and same_bytes:
            self.version, self._size = node.version, node.size
            if self._draft is not None:
                self._draft.rebase(node.version)

    async def read(self, offset: int, size: int, pattern: Readahead) -> bytes:
        """Return *size* bytes, or fewer at the end."""
        draft = self._top()
        if draft is not None:
            return await draft.read(offset, size)
        if offset >= self._size:
            return b""
        return await self._base().read(offset, size, pattern)

    async def write(self, offset: int, data: bytes, writer: str) -> None:
        """Write to the draft; *writer* is the key of the handle."""
        draft = await self._writable()
        await draft.write(offset, data)
        self._pending = replace(self._pending, mtime_ns=None)
        self._writer = writer

    async def truncate(self, length: int) -> None:
        """Cut or grow the draft; bytes that come into being are zero. Raises `TooLarge`."""
        refuse_too_long(length)
        draft = await self._writable()
        await draft.truncate(length)
        self._pending = replace(self._pending, mtime_ns=None)

    async def commit(self, inode: Inode, handle: str = "") -> None:
        """Make the draft a version, for everyone to see.

        :param handle: the key of the handle whose save it is; else that of who wrote last, so
            that the save which is under way supersedes this one in its turn.

        If the service refuses or can't be reached, the error is raised and the draft stays:
        the next flush tries again, and its bytes are kept when the file is closed.
        """
        async with self._lock:
            draft = self._draft
            if draft is None or not draft.dirty or self._abandoned:
                return
            if self._refused is not None:
                await draft.keep(str(self._refused))
                raise self._refused
            plan = await draft.snapshot()
            pending, self._pending = self._pending, Changes()
            operation = self._commit(plan, pending, handle)
            before = replace(pending, atime_ns=None, mtime_ns=None).operation(self.node)
            self.is_being_saved = True
            try:
                saved = await self._store.saver.save(self, inode, draft, plan, operation, before)
            except BaseException as error:
                self.is_being_saved = False
                self._pending = pending.then(self._pending)
                if isinstance(error, RengafsError):
                    await self._failed(inode, error, plan.payload_bytes)
                raise
            self.is_being_saved = False
            self._store.saver.refusals.forget(self.node)
            if saved.sealed:
                self._layers.append(draft)
                self._draft = None
            else:
                await self._store.keep(plan, saved.version)
                await draft.committed(plan, self._store.saver.known_as(saved.version), saved.size)
            self.version, self._size = self._store.saver.known_as(saved.version), saved.size
            if saved.node is not None:
                inode.learn(saved.node, written_here=True)

    async def _failed(self, inode: Inode, error: RengafsError, size: int) -> None:
        error.details["kept"] = kept = await self.put_aside(inode, error)
        saver = self._store.saver
        name = saver.path_of(inode, self._draft.name if self._draft is not None else "")
        saver.refusals.note(self.node, name, error, kept, size)

    async def put_aside(self, inode: Inode, why: RengafsError) -> str:
        """Have the bytes that are not saved on the local disk; return where, empty for nowhere."""
        if self._draft is None:
            return ""
        self._draft.name = self._store.saver.path_of(inode, self._draft.name)
        kept = await self._draft.keep(f"{why.code}: {why}", under_way=self.is_being_saved)
        return str(kept or "")

    def _commit(self, plan: CommitPlan, pending: Changes, handle: str) -> Commit:
        return Commit(
            node=self.node,
            length=plan.length,
            base=plan.begun_on,
            whole=plan.base is None,
            extents=plan.extents,
            payload=plan.payload_bytes,
            mtime_ns=plan.mtime_ns if pending.mtime_ns is None else pending.mtime_ns,
            atime_ns=pending.atime_ns,
            handle=handle or self._writer,
        )

    def waits(self, mtime_ns: int) -> None:
        """Take in that what was saved is here, and waits to be sent."""
        self._unsent = True
        self._saved_mtime_ns = mtime_ns

    def dated(self, mtime_ns: int) -> None:
        """Take in the time that was set on what waits to be sent."""
        self._saved_mtime_ns = mtime_ns

    def arrived(self, local: int, version: Version) -> None:
        """Take in what the service calls a version that was saved here first."""
        if self.version == local:
            self.version = version.id
        if self._draft is not None and self._draft.base == local:
            self._draft.rebase(version.id)

    def refused(self, error: RengafsError) -> None:
        """Take in that the service will not take what was saved; its bytes are put aside."""
        self._refused = error

    async def sent(self, inode: Inode) -> None:
        """Take in that nothing waits any more."""
        self._unsent = False
        if not self._handles:
            await self._let_go(inode)

    def with_pending(self, node: Node, now_ns: int) -> Node:
        """Return *node* with the attributes that the next commit carries."""
        return self._pending.applied(node, now_ns)

    async def kept(self) -> None:
        """Have the file survive this machine's end."""
        if not self._abandoned:
            await self._store.saver.kept(self.node)

    async def settled(self) -> None:
        """Wait until the service has all that was saved. Raises what it refused it with."""
        if not self._abandoned:
            await self._store.saver.settle([self.node])

    def leave(self, pattern: Readahead) -> None:
        """End what was being fetched only for the handle with *pattern*."""
        if self._reader is not None:
            self._reader.leave(pattern)

    def opened(self) -> None:
        """Count a handle."""
        self._handles += 1

    async def closed(self, inode: Inode) -> None:
        """Count a handle less; after the last, let go of readers and of a clean draft.

        Bytes that could not be saved stay on disk (see `draftfiles.leftovers`), but no longer
        show in the mount: the kernel must forget them.
        """
        self._handles -= 1
        if not self.is_open:
            await self._let_go(inode)

    async def _let_go(self, inode: Inode) -> None:
        layers, self._layers = self._layers, []
        draft, self._draft = self._draft, None
        reader, self._reader = self._reader, None
        try:
            if draft is not None and draft.dirty and not self._abandoned:
                await draft.close()
                inode.stale, inode.cached_version = True, None
                await self._store.forget_pages(inode.number)
            elif draft is not None:
                await draft.discard()
            for layer in layers:
                await (layer.discard() if self._refused is None else layer.release())
            if self._refused is not None:
                inode.stale, inode.cached_version = True, None
                await self._store.forget_pages(inode.number)
        finally:
            if reader is not None:
                await self._store.readers.close(reader)

    def _top(self) -> Draft | None:
        """Return what reads as the content is now; None where no draft is over the version."""
        return self._draft or (self._layers[-1] if self._layers else None)

    def hold(self) -> None:
        """Have the reader of the version, also if nothing was read yet."""
        if self.version is not None:
            self._base()

    def _base(self) -> VersionReader:
        if self._reader is None:
            assert self.version is not None, "a file without a version has no bytes"
            self._reader = self._store.readers.open(self.version, self._size)
        return self._reader

    async def _writable(self) -> Draft:
        if self._draft is None:
            async with self._lock:
                if self._draft is None:
                    self._draft = await self._store.drafts.make(
                        file=self.node,
                        base=self.version,
                        base_length=self._size,
                        reader=(self._top() or self._base()) if self._size else None,
                    )
        return self._draft


class FileHandle:
    """An open file: one `open` of one process and what came of it by dup and fork."""

    def __init__(self, inode: Inode, content: Content, flags: int) -> None:
        access = flags & os.O_ACCMODE
        self.inode = inode
        self.content = content
        self._writes = access != os.O_RDONLY
        self._wrote = False
        """Whether it has, since its last commit."""
        # Who asks past the page cache, as `rengafs warm`, fills the one on disk.
        self._pattern = Readahead(content.size, is_thorough=bool(flags & os.O_DIRECT))
        self._key = uuid.uuid4().hex
        """Names this handle in its commits: a later one supersedes an earlier."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return *size* bytes, or fewer at the end.

        Handles opened for writing only may be read too: the kernel completes pages.
        """
        return await self.content.read(offset, size, self._pattern)

    async def write(self, offset: int, data: bytes) -> None:
        """Write to the draft that all handles of the file share."""
        self._check_writable()
        self._wrote = True
        await self.content.write(offset, data, self._key)

    async def truncate(self, length: int) -> None:
        """Cut or grow."""
        self._check_writable()
        self._wrote = True
        await self.content.truncate(length)

    async def flush(self) -> None:
        """Commit, if this handle may have written.

        Mapped pages come through any handle that may write, so whether it was this one says
        nothing of whose bytes they are.
        """
        if self._writes:
            await self.save()
            await self.content.kept()

    async def sync(self) -> None:
        """Commit what anybody has written, and have the service keep it."""
        await self.save()
        await self.content.settled()

    async def save(self) -> None:
        """Commit what anybody has written."""
        await self.content.commit(self.inode, self._key if self._wrote else "")
        self._wrote = False

    async def close(self) -> None:
        """Commit what came after the last flush (a mapped page, say), and let go."""
        try:
            await self.flush()
        finally:
            self.content.leave(self._pattern)
            self.content.writers -= self._writes
            await self.content.closed(self.inode)

    def _check_writable(self) -> None:
        if not self._writes:
            raise InvalidFileOperation("the file is open for reading only")


class Contents:
    """Makes contents, and has what they need."""

    def __init__(
        self,
        saver: Saver,
        readers: Readers,
        drafts: DraftStore,
        forget_pages: Callable[[int], Awaitable[None]],
        forget_pages_now: Callable[[int], Awaitable[None]],
        forget_size: Callable[[int], Awaitable[None]],
    ) -> None:
        self.saver = saver
        self.readers = readers
        self.drafts = drafts
        self.forget_pages = forget_pages
        """Have the kernel forget attributes and pages of an inode, by its number, soon."""
        self.forget_pages_now = forget_pages_now
        """The same before it returns: not where a request waits that holds a page of it."""
        self.forget_size = forget_size
        """Have it forget the attributes alone, at once; answers under way count no more."""

    async def keep(self, plan: CommitPlan, version: int) -> None:
        """Have the bytes of a small new version at hand: who saves, often reads them next."""
        if version > 0 and plan.base is None and plan.payload_bytes == plan.length <= KEPT_BYTES:
            data = b"".join([piece async for piece in plan.open_payload()])
            self.readers.keep(version, data)

    def of(self, node: Node, *, shares_inode: bool) -> Content:
        """Return the content of a file as it is now."""
        return Content(self, node.id, node.version, node.size, shares_inode=shares_inode)

    def saved(self, version: Version) -> Content:
        """Return the content of a saved version."""
        return Content(self, version.file, version.id, version.size)

    def open(self, content: Content, inode: Inode, flags: int) -> FileHandle:
        """Return a new handle."""
        content.opened()
        content.writers += flags & os.O_ACCMODE != os.O_RDONLY
        return FileHandle(inode, content, flags)
