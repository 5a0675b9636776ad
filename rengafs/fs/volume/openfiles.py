"""The table of open files, and which content each open shares."""

import itertools
import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

import trio

from rengafs.fs.names.guidetext import TEXT
from rengafs.fs.names.inodes import Guide, Inode, Inodes, Marker, Past, Saved
from rengafs.fs.volume.contents import Content, Contents, FileHandle
from rengafs.fs.volume.ending import Ending
from rengafs.fs.volume.texts import TextContent
from rengafs.protocol.errors import IsADirectory, NotPermitted, RengafsError, Unreachable
from rengafs.protocol.records import Kind, Node

DRAINED_AT_ONCE = 8
"""Files that are committed side by side when the mount ends."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What open answers."""

    handle: int
    direct: bool
    """Past the page cache: others read another version of this inode through it."""
    keep_cache: bool
    """What the page cache holds is of this very version."""


class OpenFiles:
    """Open files by the number that the kernel calls them by."""

    def __init__(self, inodes: Inodes, contents: Contents) -> None:
        self._inodes = inodes
        self._contents = contents
        self._by_number: dict[int, FileHandle] = {}
        self._appending: set[int] = set()
        """Handles that append. They go past the page cache: the kernel takes the end to be where
        it last heard of one, and other mounts may have moved it."""
        self._next = itertools.count(1)
        self.told_of_old: Callable[[], None] | None = None
        """Called when a version is opened that is not, or may not be, the current one."""
        self.told_of_reader: Callable[[Inode], None] | None = None
        """Called when a file is opened to be read."""

    def __iter__(self) -> Iterator[FileHandle]:
        return iter(list(self._by_number.values()))

    def versions(self) -> frozenset[int]:
        """Return the versions that are open."""
        found = (opened.content.version for opened in self)
        return frozenset(version for version in found if version is not None)

    def lose(self, versions: Set[int]) -> None:
        """Have whoever opens a file of these versions from now on share nothing with others."""
        for opened in self:
            content, inode = opened.content, opened.inode
            if content.version in versions and not content.is_unsaved and inode.content is content:
                inode.content = None

    def get(self, handle: int) -> FileHandle:
        """Return an open file."""
        return self._by_number[handle]

    async def open(self, inode: Inode, flags: int) -> Opened:
        """Open a file; O_TRUNC empties it."""
        await self._settle_size(inode)
        opened = self.attach(inode, flags)
        content = opened.content
        try:
            if flags & os.O_TRUNC and content.size:
                await opened.truncate(0)
        except BaseException:
            await self.detach(opened)
            raise
        handle = next(self._next)
        self._by_number[handle] = opened
        if self.told_of_old is not None and isinstance(inode.what, Saved | Past):
            self.told_of_old()
        reads_only = flags & os.O_ACCMODE == os.O_RDONLY
        appends = bool(flags & os.O_APPEND) and not reads_only
        if reads_only and self.told_of_reader is not None:
            self.told_of_reader(inode)
        old = inode.told_old or inode.doubts > 0
        direct = content.shares_inode or appends or (old and reads_only)
        if not direct:
            inode.paged = content
        if appends:
            self._appending.add(handle)
        keep = not direct and not content.is_dirty and content.version == inode.cached_version
        inode.cached_version = None if direct or content.is_dirty else content.version
        return Opened(handle, direct, keep)

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        """Return *size* bytes, or fewer at the end of the file."""
        return await self._by_number[handle].read(offset, size)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        """Write all of *data*; it becomes a version when the handle is flushed."""
        opened = self._by_number[handle]
        if handle not in self._appending:
            await opened.write(offset, data)
            return len(data)
        end = opened.content.size
        await opened.write(end, data)
        if offset != end:
            # What others have mapped or cached around the true end, the kernel did not drop.
            await self._contents.forget_pages_now(opened.inode.number)
        return len(data)

    async def flush(self, handle: int) -> None:
        """Commit what was written so far, or fail: at close of a descriptor."""
        await self._by_number[handle].flush()

    async def sync(self, handle: int) -> None:
        """Commit what anybody has written to the file so far: at fsync, also of a reader."""
        await self._by_number[handle].sync()

    async def release(self, handle: int) -> None:
        """Close the last descriptor of a handle."""
        self._appending.discard(handle)
        await self.detach(self._by_number.pop(handle))

    def attach(self, inode: Inode, flags: int) -> FileHandle:
        """Return a handle that is in no table yet; give it back by `detach`."""
        content = self._content_of(inode)
        self._inodes.opened(inode)
        return self._contents.open(content, inode, flags)

    async def detach(self, opened: FileHandle) -> None:
        """Commit what a handle still has, and let go of it."""
        inode = opened.inode
        try:
            await opened.close()
        finally:
            if not opened.content.is_open:
                if inode.content is opened.content:
                    inode.content = None
                if inode.paged is opened.content:
                    inode.paged = None
            self._inodes.closed(inode)

    async def drain(self, ending: Ending) -> list[str]:
        """Commit what every open file has written; return what could not be in time.

        What is not committed is on the local disk, where the lines say.
        """
        failures: dict[Content, str] = {}
        waiting = {opened.content: opened for opened in self if opened.content.is_dirty}
        handles = list(self)
        at_once = trio.CapacityLimiter(DRAINED_AT_ONCE)

        async def commit(content: Content) -> None:
            async with at_once:
                try:
                    for opened in handles:
                        if opened.content is content:
                            await opened.flush()
                except RengafsError as error:
                    kept = error.details.get("kept", "")
                    failures[content] = self._uncommitted(waiting[content].inode, error, kept)
                del waiting[content]

        with ending.limited():
            async with trio.open_nursery() as nursery:
                for content in list(waiting):
                    nursery.start_soon(commit, content)
                nursery.start_soon(ending.tell, waiting)
        for content, opened in waiting.items():
            why = Unreachable("the mount ended before the service had it")
            kept = await content.put_aside(opened.inode, why)
            failures[content] = self._uncommitted(opened.inode, why, kept)
        return list(failures.values())

    def _uncommitted(self, inode: Inode, error: RengafsError, kept: str) -> str:
        name = self._contents.saver.path_of(inode)
        return f"{name}: {error}; its bytes are in {kept or 'memory only'}"

    async def _settle_size(self, inode: Inode) -> None:
        """Let the kernel have the size of the version that is opened, before anybody reads it.

        It cuts reads at the size it knows. The answer that tells the new one may have been
        sent for another process, which has not run since.
        """
        doubts = inode.doubts
        if doubts:
            await self._contents.forget_size(inode.number)
            if inode.doubts == doubts:
                inode.doubts = 0

    def _content_of(self, inode: Inode) -> Content:
        """Return the content that an open of now shares, or a new one.

        Handles that were opened on an older version keep theirs; a draft is everybody's.
        """
        content = inode.content
        match inode.what:
            case Saved(version):
                inode.content = content or self._contents.saved(version)
            case Past(node=Node(kind=Kind.FILE) as node):
                inode.content = content or self._contents.of(node, shares_inode=False)
            case Guide(bucket):
                inode.content = content or TextContent(self._contents, bucket, TEXT)
            case Marker(directory):
                inode.content = content or TextContent(self._contents, directory, b"")
            case Past(node=node) if not node.kind.is_directory:
                raise NotPermitted("this is not a file that the mount could open")
            case Node(kind=Kind.FILE) as node:
                fits = content is not None and (
                    content.is_unsaved or content.version == node.version
                )
                if not fits:
                    shares = any(
                        older is not None and older.is_open for older in (content, inode.paged)
                    )
                    inode.content = self._contents.of(node, shares_inode=shares)
                if not node.links:
                    # Opened through /proc: its id may be that of the file that replaced it.
                    assert inode.content is not None, "made if it did not fit"
                    inode.content.abandon()
            case Node():
                raise NotPermitted("this is not a file that the mount could open")
            case _:
                raise IsADirectory("a directory can't be opened as a file")
        assert inode.content is not None, "one was just made"
        return inode.content
