"""A disk that forgets, at a power cut, all that nobody has synced.

It lies in memory, and is as strict as POSIX lets a disk be: a file keeps the bytes of its last
fsync, and a directory the names of its own. What fsync was not asked for is gone, whatever the
order in which it was written. Whoever uses it needs no hooks: the kernel passes each fsync on,
SQLite's as well as ours.

``python -m support.volatile IMAGE MOUNTPOINT`` shows what lies in IMAGE until SIGTERM, and then
leaves there what was synced.
"""

import errno
import itertools
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyfuse3
import trio

SETTLE = b"user.settle"
NOREPLACE, EXCHANGE = 1, 2
SECONDS = 120


class Node:
    """A file, a directory or a link: as it is, and as a power cut would leave it."""

    def __init__(self, number: int, mode: int) -> None:
        self.number = number
        self.mode = mode
        self.uid, self.gid = os.getuid(), os.getgid()
        self.mtime_ns = time.time_ns()
        self.links = 1
        self.data = bytearray()
        self.names: dict[bytes, Node] = {}
        self.synced_data = b""
        self.synced_names: dict[bytes, Node] = {}

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def sync(self) -> None:
        """Have it survive."""
        if self.is_directory:
            self.synced_names = dict(self.names)
        else:
            self.synced_data = bytes(self.data)


class Volatile(pyfuse3.Operations):
    """Shows the nodes."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(pyfuse3.ROOT_INODE)
        self._nodes: dict[int, Node] = {}
        self.root = self._made(stat.S_IFDIR | 0o755)

    def load(self, image: Path, directory: Node) -> None:
        """Take in what lies in *image*; all of it is synced."""
        for path in image.iterdir():
            status = path.lstat()
            node = self._made(status.st_mode)
            if node.is_directory:
                self.load(path, node)
            elif path.is_symlink():
                node.data += os.fsencode(path.readlink())
            else:
                node.data += path.read_bytes()
            directory.names[os.fsencode(path.name)] = node
            node.sync()
        directory.sync()

    def leave(self, image: Path, directory: Node) -> None:
        """Have what is synced in *image*, which is empty."""
        for name, node in directory.synced_names.items():
            path = image / os.fsdecode(name)
            if node.is_directory:
                path.mkdir()
                self.leave(path, node)
            elif stat.S_ISLNK(node.mode):
                path.symlink_to(os.fsdecode(node.synced_data))
            elif stat.S_ISREG(node.mode):
                path.write_bytes(node.synced_data)
            if not stat.S_ISLNK(node.mode) and path.exists():
                path.chmod(stat.S_IMODE(node.mode))

    def _made(self, mode: int) -> Node:
        node = Node(next(self._numbers), mode)
        self._nodes[node.number] = node
        return node

    def _child(self, parent: int, name: bytes) -> Node:
        try:
            return self._nodes[parent].names[name]
        except KeyError:
            raise pyfuse3.FUSEError(errno.ENOENT) from None

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        answer = pyfuse3.EntryAttributes()
        answer.st_ino = node.number
        answer.entry_timeout = answer.attr_timeout = 0
        answer.st_mode = node.mode
        answer.st_nlink = node.links
        answer.st_uid, answer.st_gid = node.uid, node.gid
        answer.st_size = len(node.data)
        answer.st_blocks = -(-len(node.data) // 512)
        answer.st_mtime_ns = answer.st_ctime_ns = answer.st_atime_ns = node.mtime_ns
        return answer

    async def lookup(self, parent_inode, name, ctx=None):
        return self._attributes(self._child(parent_inode, name))

    async def getattr(self, inode, ctx=None):
        return self._attributes(self._nodes[inode])

    async def setattr(self, inode, attr, fields, fh, ctx):
        node = self._nodes[inode]
        if fields.update_mode:
            node.mode = attr.st_mode
        if fields.update_uid:
            node.uid = attr.st_uid
        if fields.update_gid:
            node.gid = attr.st_gid
        if fields.update_mtime:
            node.mtime_ns = attr.st_mtime_ns
        if fields.update_size:
            del node.data[attr.st_size :]
            node.data += bytes(attr.st_size - len(node.data))
        return self._attributes(node)

    def _make(self, parent: int, name: bytes, mode: int) -> Node:
        directory = self._nodes[parent]
        if name in directory.names:
            raise pyfuse3.FUSEError(errno.EEXIST)
        node = directory.names[name] = self._made(mode)
        return node

    async def mknod(self, parent_inode, name, mode, rdev, ctx):
        return self._attributes(self._make(parent_inode, name, mode))

    async def mkdir(self, parent_inode, name, mode, ctx):
        return self._attributes(self._make(parent_inode, name, mode | stat.S_IFDIR))

    async def symlink(self, parent_inode, name, target, ctx):
        node = self._make(parent_inode, name, stat.S_IFLNK | 0o777)
        node.data += target
        node.sync()
        return self._attributes(node)

    async def readlink(self, inode, ctx):
        return bytes(self._nodes[inode].data)

    async def link(self, inode, new_parent_inode, new_name, ctx):
        node, directory = self._nodes[inode], self._nodes[new_parent_inode]
        if new_name in directory.names:
            raise pyfuse3.FUSEError(errno.EEXIST)
        directory.names[new_name] = node
        node.links += 1
        return self._attributes(node)

    async def unlink(self, parent_inode, name, ctx):
        node = self._child(parent_inode, name)
        node.links -= 1
        del self._nodes[parent_inode].names[name]

    async def rmdir(self, parent_inode, name, ctx):
        if self._child(parent_inode, name).names:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        del self._nodes[parent_inode].names[name]

    async def rename(self, parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx):
        node = self._child(parent_inode_old, name_old)
        here, there = self._nodes[parent_inode_old].names, self._nodes[parent_inode_new].names
        replaced = there.get(name_new)
        if flags & NOREPLACE and replaced is not None:
            raise pyfuse3.FUSEError(errno.EEXIST)
        if flags & EXCHANGE:
            here[name_old], there[name_new] = self._child(parent_inode_new, name_new), node
            return
        if replaced is not None and replaced.names:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        if replaced is not None and replaced is not node:
            replaced.links -= 1
        del here[name_old]
        there[name_new] = node

    async def create(self, parent_inode, name, mode, flags, ctx):
        node = self._make(parent_inode, name, mode | stat.S_IFREG)
        return pyfuse3.FileInfo(fh=node.number), self._attributes(node)

    async def open(self, inode, flags, ctx):
        if flags & os.O_TRUNC:
            self._nodes[inode].data.clear()
        return pyfuse3.FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh, off, size):
        return bytes(self._nodes[fh].data[off : off + size])

    async def write(self, fh, off, buf):
        node = self._nodes[fh]
        node.data += bytes(max(0, off - len(node.data)))
        node.data[off : off + len(buf)] = buf
        node.mtime_ns = time.time_ns()
        return len(buf)

    async def fsync(self, fh, datasync):
        self._nodes[fh].sync()

    async def fsyncdir(self, fh, datasync):
        self._nodes[fh].sync()

    async def flush(self, fh):
        pass

    async def release(self, fh):
        pass

    async def opendir(self, inode, ctx):
        return inode

    async def releasedir(self, fh):
        pass

    async def readdir(self, fh, start_id, token):
        for position, (name, node) in enumerate(list(self._nodes[fh].names.items())):
            if position >= start_id and not pyfuse3.readdir_reply(
                token, name, self._attributes(node), position + 1
            ):
                return

    async def statfs(self, ctx):
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = 4096
        answer.f_blocks = answer.f_bfree = answer.f_bavail = 1 << 30
        answer.f_files = answer.f_ffree = answer.f_favail = 1 << 30
        answer.f_namemax = 255
        return answer

    async def setxattr(self, inode, name, value, ctx):
        if name != SETTLE:
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)
        for node in self._nodes.values():
            node.sync()


async def serve() -> None:
    """Serve until SIGTERM.

    That the kernel has unmounted it is not enough: where another has a copy of the mount, in a
    namespace of its own, nobody tells.
    """
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pyfuse3.main)
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await anext(signals)
        nursery.cancel_scope.cancel()


def main() -> None:
    image, mountpoint = Path(sys.argv[1]), sys.argv[2]
    disk = Volatile()
    disk.load(image, disk.root)
    pyfuse3.init(disk, mountpoint, {*pyfuse3.default_options, "fsname=volatile"})
    try:
        trio.run(serve)
    finally:
        pyfuse3.close(unmount=True)
    shutil.rmtree(image)
    image.mkdir()
    disk.leave(image, disk.root)


@contextmanager
def volatile_disk(image: Path, mountpoint: Path) -> Iterator[None]:
    """Have a disk at *mountpoint* until a power cut; *image* holds what outlives that.

    All who used it must have ended by then, killed or not.
    """
    image.mkdir(exist_ok=True)
    mountpoint.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "support.volatile", str(image), str(mountpoint)],
        cwd=Path(__file__).parents[1],
    )
    try:
        deadline = time.monotonic() + SECONDS
        while not os.path.ismount(mountpoint):
            assert process.poll() is None, "the disk ended"
            assert time.monotonic() < deadline, "the disk did not begin"
            time.sleep(0.02)
        yield
        subprocess.run(["umount", str(mountpoint)], check=True)
        process.terminate()
        assert process.wait(SECONDS) == 0
    finally:
        if process.poll() is None:
            subprocess.run(["umount", "-l", str(mountpoint)], check=False)
            process.kill()
            process.wait(SECONDS)


def settle(mountpoint: Path) -> None:
    """Have all that is on the disk survive, as it is after some quiet time."""
    os.setxattr(mountpoint, SETTLE, b"1")


if __name__ == "__main__":
    main()
