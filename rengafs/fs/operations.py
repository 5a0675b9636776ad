"""pyfuse3's requests, translated: a line or two each, inside one error boundary.

pyfuse3 lets every exception but `FUSEError` end the mount. So each request goes through
`_request`: a rengafs error becomes its errno, anything else is a defect, logged with its
trace, and the caller gets EIO.
"""

import errno
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from rengafs.fs import recording
from rengafs.fs.metrics import Metrics
from rengafs.fs.names.attributes import BLOCK, Stat
from rengafs.fs.names.inodes import Inode
from rengafs.fs.names.requests import Caller, Changes
from rengafs.fs.recording import Recorder
from rengafs.fs.volume.volume import Volume
from rengafs.fs.waiting import Waiting
from rengafs.protocol import names
from rengafs.protocol.errors import Away, RengafsError, Unavailable
from rengafs.protocol.records import ROOT, Usage

log = logging.getLogger(__name__)

PREFERRED_IO = 128 << 10
"""``st_blksize``: what the kernel reads ahead at a time."""
PREFERRED_WRITE = 1 << 20
"""The same of an empty file, which nobody reads: what the kernel writes at a time."""
STATFS_BLOCK = 4096
DOTS = 2
"""Rows of a listing that are not of what stands below: ``.`` and ``..``."""
MOST_ROWS = 1024
"""Of one answer, though the kernel may take five times as many: meanwhile nobody else is served."""
MANY = 1 << 40
"""Blocks or files that are free where nothing limits them."""

P = ParamSpec("P")
R = TypeVar("R")
Request = Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]]


def _request(method: Request[P, R]) -> Request[P, R]:
    """Put the error boundary around a request."""

    @functools.wraps(method)
    async def bounded(self: "Operations", *args: P.args, **kwargs: P.kwargs) -> R:
        if self._metrics is not None:
            return await counted(self._metrics, method.__name__, answered(self, *args, **kwargs))
        return await answered(self, *args, **kwargs)

    async def answered(self: "Operations", *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await method(self, *args, **kwargs)
        except RengafsError as error:
            if error.errno == errno.EIO and not isinstance(error, Away):
                log.error("%s: %s", method.__name__, error)
            if isinstance(error, Unavailable):
                # What was asked for may have been done nevertheless.
                self._volume.listings.clear()
            raise FUSEError(error.errno) from None
        except FUSEError:
            raise
        except InterruptedError:
            raise FUSEError(errno.EINTR) from None
        except Exception:
            log.exception("defect in %s%r", method.__name__, args)
            raise FUSEError(errno.EIO) from None

    return cast(Request[P, R], bounded)


async def counted(metrics: Metrics, name: str, request: Coroutine[Any, Any, R]) -> R:
    """Carry out a request, and count how long it took and how it went."""
    begin, error = time.perf_counter(), 0
    try:
        return await request
    except FUSEError as failure:
        error = failure.errno
        raise
    finally:
        metrics.count(name, time.perf_counter() - begin, error)


class Operations(pyfuse3.Operations):
    """What pyfuse3 calls. All logic is in the `Volume`."""

    # NFS export would have the kernel look up "." of inodes that we have forgotten.
    supports_dot_lookup = False
    enable_writeback_cache = False
    """On, the kernel would own size and mtime, and a change elsewhere would not show."""
    enable_acl = False

    def __init__(
        self,
        volume: Volume,
        recorder: Recorder,
        waiting: Waiting,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__()
        self._wait = waiting.answer
        self._openers: dict[FileHandleT, int] = {}
        """Processes that have opened files. Nobody tells who reads: mostly, it is they."""
        self._listers: dict[FileHandleT, int] = {}
        """The same of directories."""
        self._metrics = metrics
        self._volume = volume
        self._recorder = recorder

    # --- names ------------------------------------------------------------------------

    @_request
    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        mark = self._volume.touched.mark()
        inode = await self._wait(ctx.pid, self._volume.lookup(parent_inode, name))
        overtaken = self._volume.was_overtaken(mark, parent_inode, name, inode)
        if inode is not None:
            entry = self._entry(inode)
        else:
            entry = EntryAttributes()
            entry.st_ino = InodeT(0)  # the kernel remembers that there is nothing
            entry.entry_timeout = self._volume.validity_of_absence(parent_inode, name)
        if overtaken:
            entry.entry_timeout = entry.attr_timeout = 0
        return entry

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        self._volume.forget(inode_list)

    @_request
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._volume.make_node(parent_inode, name, mode, rdev, _caller(ctx))
        return self._entry(made)

    @_request
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        return self._entry(
            await self._volume.make_directory(parent_inode, name, mode, _caller(ctx))
        )

    @_request
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._volume.make_symlink(parent_inode, name, target, _caller(ctx))
        return self._entry(made)

    @_request
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        return self._entry(await self._volume.link(inode, new_parent_inode, new_name))

    @_request
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._volume.unlink(parent_inode, name)

    @_request
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self._volume.remove_directory(parent_inode, name)

    @_request
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        await self._volume.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags)

    # --- attributes -------------------------------------------------------------------

    @_request
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        await self._wait(ctx.pid, self._volume.get_attributes(inode))
        return self._entry(self._volume.inodes.get(inode))

    @_request
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        changes = Changes(
            mode=attr.st_mode if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            size=attr.st_size if fields.update_size else None,
            atime_ns=attr.st_atime_ns if fields.update_atime else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        await self._volume.set_attributes(inode, changes, fh)
        return self._entry(self._volume.inodes.get(inode))

    @_request
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(await self._wait(ctx.pid, self._volume.read_link(inode)))

    @_request
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return _statvfs(await self._wait(ctx.pid, self._volume.usage()))

    @_request
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        return await self._wait(ctx.pid, self._volume.get_xattr(inode, name))

    @_request
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        names = await self._wait(ctx.pid, self._volume.list_xattrs(inode))
        return [XAttrNameT(name) for name in names]

    @_request
    async def setxattr(
        self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext
    ) -> None:
        if inode == ROOT and name == recording.ATTRIBUTE:
            self._recorder.begin(value, ctx.uid)
        else:
            await self._volume.set_xattr(inode, name, value)

    @_request
    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        await self._volume.remove_xattr(inode, name)

    # --- files ------------------------------------------------------------------------

    @_request
    async def create(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        mode: ModeT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> tuple[FileInfo, EntryAttributes]:
        inode, opened = await self._volume.create(parent_inode, name, mode, flags, _caller(ctx))
        self._recorder.wrote(ctx.pid, inode)
        self._openers[FileHandleT(opened.handle)] = ctx.pid
        info = FileInfo(fh=FileHandleT(opened.handle), direct_io=opened.direct)
        return info, self._entry(inode)

    @_request
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        opened = await self._volume.open(inode, flags)
        self._recorder.opened(ctx.pid, inode, flags)
        self._openers[FileHandleT(opened.handle)] = ctx.pid
        return FileInfo(
            fh=FileHandleT(opened.handle), direct_io=opened.direct, keep_cache=opened.keep_cache
        )

    @_request
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        return await self._wait(self._openers.get(fh, 0), self._volume.files.read(fh, off, size))

    @_request
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        return await self._volume.files.write(fh, off, buf)

    @_request
    async def flush(self, fh: FileHandleT) -> None:
        await self._volume.files.flush(fh)

    @_request
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self._volume.files.sync(fh)

    @_request
    async def release(self, fh: FileHandleT) -> None:
        self._openers.pop(fh, None)
        await self._volume.files.release(fh)

    # --- directories ------------------------------------------------------------------

    @_request
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        opened = self._wait(ctx.pid, self._volume.open_directory(inode))
        handle = FileHandleT(await opened)
        self._listers[handle] = ctx.pid
        return handle

    @_request
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        # Two more than what is below: a local disk lists them, and some tools count on that.
        # Their look-ups are not counted, by the kernel's rule.
        directories, row = self._volume.directories, self._volume.row
        for position, (name, stat) in enumerate(self._volume.dots(fh)):
            shown = self._attributes(stat, 0.0)
            if position >= start_id and not pyfuse3.readdir_reply(token, name, shown, position + 1):
                return
        position = max(0, start_id - DOTS)
        end = position + MOST_ROWS
        lister = self._listers.get(fh, 0)
        while position < end and (rows := await self._wait(lister, directories.read(fh, position))):
            mark = directories.mark(fh)
            for name, what in rows:
                stat, outdated = row(what, mark)
                valid = 0.0 if outdated else self._volume.validity(what)
                attributes = self._attributes(stat, valid)
                if not pyfuse3.readdir_reply(token, name, attributes, position + DOTS + 1):
                    return
                directories.gave(fh, position, name, what, stale=outdated)
                position += 1

    @_request
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        """Changes of names are committed before they are answered, unless they wait here."""
        await self._volume.sync_directory(fh)

    @_request
    async def releasedir(self, fh: FileHandleT) -> None:
        self._listers.pop(fh, None)
        self._volume.directories.close(fh)

    # --- answers ----------------------------------------------------------------------

    def _entry(self, inode: Inode) -> EntryAttributes:
        return self._attributes(*self._volume.told(inode))

    def _attributes(self, stat: Stat, valid: float) -> EntryAttributes:
        answer = EntryAttributes()
        answer.st_ino = stat.number
        answer.entry_timeout = answer.attr_timeout = valid
        answer.st_mode = stat.mode
        answer.st_nlink = stat.links
        answer.st_uid = stat.uid
        answer.st_gid = stat.gid
        answer.st_rdev = stat.device
        answer.st_size = stat.size
        answer.st_blksize = PREFERRED_IO if stat.size else PREFERRED_WRITE
        answer.st_blocks = -(-stat.size // BLOCK)
        answer.st_atime_ns = stat.atime_ns
        answer.st_mtime_ns = stat.mtime_ns
        answer.st_ctime_ns = stat.ctime_ns
        return answer


def _caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid)


def _statvfs(usage: Usage) -> StatvfsData:
    """Say the truth: what is live, and what the backend has left."""
    answer = StatvfsData()
    used = -(-(usage.live_bytes + usage.history_bytes) // STATFS_BLOCK)
    free = MANY if usage.free_bytes is None else usage.free_bytes // STATFS_BLOCK
    answer.f_bsize = answer.f_frsize = STATFS_BLOCK
    answer.f_blocks = used + free
    answer.f_bfree = answer.f_bavail = free
    answer.f_files = usage.files + MANY
    answer.f_ffree = answer.f_favail = MANY
    answer.f_namemax = names.MAX_COMPONENT
    return answer


def options(*, allow_other: bool, read_only: bool, source: str) -> set[str]:
    """Return libfuse's mount options."""
    chosen = set(pyfuse3.default_options) | {
        f"fsname={source}",
        "subtype=rengafs",
        "default_permissions",
    }
    if allow_other:
        chosen.add("allow_other")
    if read_only:
        chosen.add("ro")
    return chosen
