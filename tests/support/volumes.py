"""A volume driven without a kernel: the little of one that system calls need is in here.

`Vfs` finds files by their paths, follows links and refuses what a kernel refuses before it
asks a filesystem (Linux's order of checks). It caches nothing and forgets each inode at
once, so a volume meets what it seldom does under a kernel.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import trio
from support.trees import MOST

from rengafs.client.connection import Endpoint
from rengafs.client.drivers import TrioDriver
from rengafs.fs.following import Follower
from rengafs.fs.names.attributes import Ownership
from rengafs.fs.names.requests import Caller, Changes, VolumeOptions
from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.cache import BlockCache, CacheOptions
from rengafs.fs.reads.readers import Readers
from rengafs.fs.remote import Remote
from rengafs.fs.volume.contents import Contents
from rengafs.fs.volume.volume import Volume
from rengafs.fs.writes.draftstore import DraftStore
from rengafs.fs.writes.saving import Saver
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.records import ROOT

NOREPLACE, EXCHANGE = 1, 2
CALLER = Caller(0, 0)
MOST_LINKS = 40
START_SECONDS = 120


class NoKernel:
    """Has nothing cached that it could be told to forget."""

    async def forget(self, what: object) -> None:
        """Nothing to do."""

    async def forget_pages(self, number: int) -> None:
        """Nothing to do."""


async def serve_volume(endpoint: Endpoint, scratch: Path, use: Callable[[Volume], Any]) -> None:
    """Make a volume as a mount does, follow the feed, and await *use* of it."""
    driver = TrioDriver(endpoint)
    try:
        async with trio.open_nursery() as background:
            remote = Remote(driver, "no-kernel")
            info = await remote.info()
            cache = BlockCache(CacheOptions(scratch / "cache"), info.catalog)
            drafts = DraftStore(
                scratch / "drafts",
                trio.CapacityLimiter(4),
                mount="m",
                catalog=info.catalog,
                user="",
            )
            readers = Readers(remote, cache, Budget(16 << 20), background)
            kernel = NoKernel()
            saver = Saver(remote)
            forget = kernel.forget_pages
            contents = Contents(saver, readers, drafts, forget, forget, forget)
            options = VolumeOptions(Ownership(0, 0, 0))
            volume = Volume(remote, await remote.node(ROOT), contents, options, background)
            saver.serve(volume)
            background.start_soon(saver.conflicts.run)
            background.start_soon(Follower(volume, remote, kernel, info.change).run)
            try:
                await use(volume)
            finally:
                background.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await driver.aclose()


@contextmanager
def running_volume(endpoint: Endpoint, scratch: Path) -> Iterator[Callable[..., Any]]:
    """Give ``call(function, *arguments)``: awaits ``function(volume, *arguments)`` elsewhere."""
    started: SimpleQueue[Any] = SimpleQueue()

    async def use(volume: Volume) -> None:
        end = trio.Event()
        started.put((volume, trio.lowlevel.current_trio_token(), end))
        await end.wait()

    def run() -> None:
        try:
            trio.run(serve_volume, endpoint, scratch, use)
        except BaseException as error:
            started.put(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        got = started.get(timeout=START_SECONDS)
        if isinstance(got, BaseException):
            raise got
        volume, token, end = got

        def call(function: Callable[..., Any], *arguments: object) -> Any:
            return trio.from_thread.run(function, volume, *arguments, trio_token=token)

        try:
            yield call
        finally:
            trio.from_thread.run_sync(end.set, trio_token=token)
    finally:
        thread.join(START_SECONDS)


class Vfs:
    """System calls below one directory of a volume."""

    def __init__(self, volume: Volume, root: int) -> None:
        self._volume = volume
        self._root = root
        self._held: list[int] = []
        """Inodes looked up by the call that is under way."""

    async def finish(self) -> None:
        """Forget what this call has looked up."""
        held, self._held = self._held, []
        self._volume.forget([(number, 1) for number in held])

    # --- paths ------------------------------------------------------------------------

    async def lookup(self, directory: int, name: str) -> int | None:
        inode = await self._volume.lookup(directory, os.fsencode(name))
        if inode is None:
            return None
        self._held.append(inode.number)
        return inode.number

    async def mode(self, number: int) -> int:
        return (await self._volume.get_attributes(number)).mode

    async def is_directory(self, number: int) -> bool:
        return stat.S_ISDIR(await self.mode(number))

    async def parent(self, name: str, links: int = 0) -> tuple[int, str]:
        """Return the directory of a path, and its last part."""
        *directories, last = name.split("/")
        at = self._root
        for part in directories:
            at = await self.follow(at, part, links)
            if not await self.is_directory(at):
                raise OSError(errno.ENOTDIR, name)
        return at, last

    async def follow(self, directory: int, name: str, links: int = 0) -> int:
        """Return what stands at a name, or what a link there leads to."""
        if not await self.is_directory(directory):
            raise OSError(errno.ENOTDIR, name)
        found = await self.lookup(directory, name)
        if found is None:
            raise OSError(errno.ENOENT, name)
        if not stat.S_ISLNK(await self.mode(found)):
            return found
        return await self.follow(*await self.through(directory, found, links), links + 1)

    async def through(self, directory: int, link: int, links: int) -> tuple[int, str]:
        """Return the directory and name that a link in *directory* leads to."""
        if links >= MOST_LINKS:
            raise OSError(errno.ELOOP, "too many links")
        target = os.fsdecode(await self._volume.read_link(link))
        below = Vfs(self._volume, directory)
        try:
            return await below.parent(target, links + 1)
        finally:
            self._held += below._held

    async def find(self, name: str) -> int:
        """Return what a path leads to, through all links."""
        return await self.follow(*await self.parent(name))

    async def entry(self, name: str) -> tuple[int, str, int | None]:
        """Return the directory of a path, its last part, and what stands there."""
        directory, last = await self.parent(name)
        return directory, last, await self.lookup(directory, last)

    async def existing(self, name: str) -> tuple[int, bytes, int]:
        directory, last, found = await self.entry(name)
        if found is None:
            raise OSError(errno.ENOENT, name)
        return directory, os.fsencode(last), found

    async def vacant(self, name: str) -> tuple[int, bytes]:
        directory, last, found = await self.entry(name)
        if found is not None:
            raise OSError(errno.EEXIST, name)
        return directory, os.fsencode(last)

    # --- files ------------------------------------------------------------------------

    async def open(self, name: str, flags: int) -> tuple[int, int]:
        """Return handle and inode; the inode stays looked up until `close`."""
        directory, last, found = await self.entry(name)
        if found is not None and flags & os.O_CREAT and flags & os.O_EXCL:
            raise OSError(errno.EEXIST, name)
        links = 0
        while found is not None and stat.S_ISLNK(await self.mode(found)):
            directory, last = await self.through(directory, found, links)
            found, links = await self.lookup(directory, last), links + 1
        if found is None:
            if not flags & os.O_CREAT:
                raise OSError(errno.ENOENT, name)
            inode, opened = await self._volume.create(
                directory, os.fsencode(last), stat.S_IFREG | 0o644, flags & ~os.O_CREAT, CALLER
            )
            return opened.handle, inode.number
        if await self.is_directory(found) and flags & (os.O_ACCMODE | os.O_CREAT):
            raise OSError(errno.EISDIR, name)
        opened = await self._volume.open(found, flags & ~os.O_CREAT)
        self._held.remove(found)
        return opened.handle, found

    async def close(self, handle: int, number: int) -> None:
        try:
            await self._volume.files.flush(handle)
        finally:
            await self._volume.files.release(handle)
            self._volume.forget([(number, 1)])

    async def write(self, handle: int, number: int, content: bytes, offset: int | None) -> int:
        """Write; at the end where *offset* is None."""
        if not content:
            return 0
        if offset is None:
            offset = (await self._volume.get_attributes(number)).size
        return await self._volume.files.write(handle, offset, content)

    async def set(self, number: int, changes: Changes, handle: int | None = None) -> None:
        await self._volume.set_attributes(number, changes, handle)

    async def truncate(self, name: str, size: int) -> None:
        found = await self.find(name)
        if await self.is_directory(found):
            raise OSError(errno.EISDIR, name)
        await self.set(found, Changes(size=size))

    async def set_time(self, name: str, seconds: int) -> float:
        found = await self.find(name)
        await self.set(found, Changes(atime_ns=seconds * 10**9, mtime_ns=seconds * 10**9))
        return (await self._volume.get_attributes(found)).mtime_ns / 1e9

    # --- names ------------------------------------------------------------------------

    async def unlink(self, name: str) -> None:
        directory, last, found = await self.existing(name)
        if await self.is_directory(found):
            raise OSError(errno.EISDIR, name)
        await self._volume.unlink(directory, last)

    async def rmdir(self, name: str) -> None:
        directory, last, found = await self.existing(name)
        if not await self.is_directory(found):
            raise OSError(errno.ENOTDIR, name)
        await self._volume.remove_directory(directory, last)

    async def mkdir(self, name: str) -> None:
        directory, last = await self.vacant(name)
        made = await self._volume.make_directory(directory, last, stat.S_IFDIR | 0o755, CALLER)
        self._held.append(made.number)

    async def symlink(self, target: str, name: str) -> None:
        directory, last = await self.vacant(name)
        made = await self._volume.make_symlink(directory, last, os.fsencode(target), CALLER)
        self._held.append(made.number)

    async def link(self, old: str, new: str) -> None:
        _, _, found = await self.existing(old)
        directory, last = await self.vacant(new)
        if await self.is_directory(found):
            raise OSError(errno.EPERM, old)
        self._held.append((await self._volume.link(found, directory, last)).number)

    async def rename(self, old: str, new: str, flags: int) -> None:
        directory, last = await self.parent(old)
        new_directory, new_last = await self.parent(new)
        found = await self.lookup(directory, last)
        if found is None:
            raise OSError(errno.ENOENT, old)
        there = await self.lookup(new_directory, new_last)
        if there is not None and flags & NOREPLACE:
            raise OSError(errno.EEXIST, new)
        if there is None and flags & EXCHANGE:
            raise OSError(errno.ENOENT, new)
        if await self.is_within(new_directory, found):
            raise OSError(errno.EINVAL, old)
        if there is not None and await self.is_within(directory, there):
            raise OSError(errno.EINVAL if flags & EXCHANGE else errno.ENOTEMPTY, new)
        if found == there:
            return
        if there is not None and not flags & EXCHANGE:
            kinds = await self.is_directory(found), await self.is_directory(there)
            if kinds[0] != kinds[1]:
                raise OSError(errno.ENOTDIR if kinds[0] else errno.EISDIR, new)
        names = os.fsencode(last), os.fsencode(new_last)
        await self._volume.rename(directory, names[0], new_directory, names[1], flags)

    async def is_within(self, directory: int, ancestor: int) -> bool:
        """Whether a directory is another, or below it."""
        while directory != ancestor:
            if directory in (self._root, ROOT):
                return False
            directory = self._volume.inodes.get(directory).parent
        return True

    # --- what is there ----------------------------------------------------------------

    async def names(self, number: int) -> list[str]:
        handle = await self._volume.open_directory(number)
        names: list[str] = []
        try:
            while rows := await self._volume.directories.read(handle, len(names)):
                for name, what in rows:
                    self._volume.directories.gave(handle, len(names), name, what)
                    names.append(os.fsdecode(name))
        finally:
            self._volume.directories.close(handle)
        return names

    async def content(self, number: int) -> bytes:
        opened = await self._volume.open(number, os.O_RDONLY)
        try:
            return await self._volume.files.read(opened.handle, 0, MOST)
        finally:
            await self._volume.files.flush(opened.handle)
            await self._volume.files.release(opened.handle)

    async def walk(self, number: int, prefix: str, found: dict[str, object]) -> None:
        for name in await self.names(number):
            child = await self.lookup(number, name)
            assert child is not None, f"{prefix}{name} is listed and can't be found"
            self._held.append(child)  # a listing counts as a look-up, too
            status = await self._volume.get_attributes(child)
            if stat.S_ISDIR(status.mode):
                found[prefix + name] = "directory"
                await self.walk(child, f"{prefix}{name}/", found)
            elif stat.S_ISLNK(status.mode):
                found[prefix + name] = os.fsdecode(await self._volume.read_link(child))
            else:
                content = await self.content(child)
                found[prefix + name] = (content, status.size, status.mode, status.links)

    async def saves(self, name: str) -> list[bytes]:
        directory, last = await self.parent(name)
        at: int | None = directory
        for part in (".versions", last):
            assert at is not None
            at = await self.lookup(at, part)
        assert at is not None
        found = []
        for save in sorted(await self.names(at)):
            number = await self.lookup(at, save)
            assert number is not None
            self._held.append(number)
            found.append(await self.content(number))
        return found


class OnVolume:
    """`support.trees.Tree` on a bucket of a volume that runs elsewhere."""

    def __init__(self, call: Callable[..., Any], bucket: str) -> None:
        self._call = call
        self._root = call(_make_bucket, bucket)
        self._inodes: dict[int, int] = {}
        self._appending: set[int] = set()

    def _do(self, name: str, *arguments: object) -> Any:
        return self._call(_system_call, self._root, name, *arguments)

    def open(self, name: str, flags: int) -> int:
        handle, number = self._do("open", name, flags)
        self._inodes[handle] = number
        if flags & os.O_APPEND:
            self._appending.add(handle)
        return handle

    def close(self, handle: int) -> None:
        self._appending.discard(handle)
        self._do("close", handle, self._inodes.pop(handle))

    def read(self, handle: int) -> bytes:
        return self._call(_files, "read", handle, 0, MOST)

    def write(self, handle: int, content: bytes, offset: int) -> int:
        at = None if handle in self._appending else offset
        return self._do("write", handle, self._inodes[handle], content, at)

    def sync(self, handle: int) -> None:
        self._call(_files, "sync", handle)

    def truncate_open(self, handle: int, size: int) -> None:
        self._do("set", self._inodes[handle], Changes(size=size), handle)

    def chmod_open(self, handle: int, mode: int) -> None:
        self._do("set", self._inodes[handle], Changes(mode=mode))

    def status(self, handle: int) -> tuple[int, int, int]:
        return self._call(_status, self._inodes[handle])

    def truncate(self, name: str, size: int) -> None:
        self._do("truncate", name, size)

    def chmod(self, name: str, mode: int) -> None:
        self._call(_chmod, self._root, name, mode)

    def set_time(self, name: str, seconds: int) -> float:
        return self._do("set_time", name, seconds)

    def unlink(self, name: str) -> None:
        self._do("unlink", name)

    def mkdir(self, name: str) -> None:
        self._do("mkdir", name)

    def rmdir(self, name: str) -> None:
        self._do("rmdir", name)

    def rename(self, old: str, new: str, flags: int = 0) -> None:
        self._do("rename", old, new, flags)

    def link(self, old: str, new: str) -> None:
        self._do("link", old, new)

    def symlink(self, target: str, name: str) -> None:
        self._do("symlink", target, name)

    def everything(self) -> dict[str, object]:
        found: dict[str, object] = {}
        self._do("walk", self._root, "", found)
        return found

    def saves(self, name: str) -> list[bytes]:
        return self._do("saves", name)


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except RengafsError as error:
        raise OSError(error.errno, str(error)) from error


async def _system_call(volume: Volume, root: int, name: str, *arguments: object) -> Any:
    vfs = Vfs(volume, root)
    with _as_os_error():
        try:
            return await getattr(vfs, name)(*arguments)
        finally:
            await vfs.finish()


async def _files(volume: Volume, name: str, *arguments: object) -> Any:
    with _as_os_error():
        return await getattr(volume.files, name)(*arguments)


async def _status(volume: Volume, number: int) -> tuple[int, int, int]:
    with _as_os_error():
        status = await volume.get_attributes(number)
    return status.size, status.mode, status.links


async def _chmod(volume: Volume, root: int, name: str, mode: int) -> None:
    vfs = Vfs(volume, root)
    with _as_os_error():
        try:
            await vfs.set(await vfs.find(name), Changes(mode=mode))
        finally:
            await vfs.finish()


async def _make_bucket(volume: Volume, name: str) -> int:
    made = await volume.make_directory(ROOT, os.fsencode(name), stat.S_IFDIR | 0o755, CALLER)
    return made.number
