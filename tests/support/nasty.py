"""Random system calls with arguments from the edges of what their types hold. A program.

What each call answers is the kernel's business, and ours elsewhere; here the filesystem must
answer at all, and live on. Nothing outside the given directory's filesystem is touched: no
name is absolute, no link that is made points upwards, and root is confined to the mount.

    python nasty.py DIRECTORY SEED COUNT
"""

import ctypes
import fcntl
import os
import random
import sys
from contextlib import suppress

NAMES = [
    *(b"a", b"b", b"d", b"d/a", b"d/d", b"d/d/a", b"loop", b"loop/a", b"dangling", b"fifo"),
    *(b".", b"..", b"d/..", b"d/../a", b"", b"a/", b"a/b", b"d//a"),
    *(b"x" * 255, b"x" * 256, b"d/" * 2000 + b"a", b"d/" * 2047 + b"a"),
    *(b"\xff\xfe", b"\n", b"%~", b"%00", b"a~1", b"~1", b"\xed\xa0\x80", b"e\xcc\x81"),
    *(b".versions", b".versions/a", b"d/.versions", b".versions/@1970", b".versions/@9999-12-31"),
    *(b".versions/@", b".versions/a/b/c", b".versions/.versions", b".versions/@now/d", b".Trash"),
    *(b"../.x", b"../nobucket/a", b"..", b"../.versions/@2001-01-01", b"a\\b", b"-rf", b" "),
]
NUMBERS = [
    *(0, 1, -1, 2, 7, 511, 512, 4095, 4096, 4097, 131_071, 131_072, 1 << 20),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 50, (1 << 50) + 1),
    *((1 << 63) - 1, -(1 << 63), (1 << 63) - 4096, 999_999_999),
]
MODES = [0, 0o777, 0o7777, 0o1000, 0o100644, 0o10600, 0o140600, 0o20600, 0o60600, 0o170000, -1]
FLAGS = [
    *(os.O_RDONLY, os.O_WRONLY, os.O_RDWR, 3, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND),
    *(os.O_DIRECT, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_PATH, os.O_SYNC, os.O_TMPFILE),
    *(os.O_NONBLOCK, os.O_NOATIME, os.O_ASYNC, os.O_LARGEFILE, os.O_CLOEXEC),
]
ATTRIBUTES = [
    *(b"user.a", b"user.", b"user", b"", b"user." + b"x" * 249, b"user." + b"x" * 251),
    *(b"user.renga.id", b"user.renga.record", b"user.\xff", b"system.posix_acl_access"),
    *(b"security.selinux", b"trusted.x", b"user.xdg.origin.url"),
]
TARGETS = [name for name in NAMES if b".." not in name]
FAR = [(1 << 50) - 1, 1 << 50, (1 << 63) - 1, (1 << 63) - 4096, -1]
"""Offsets that no file reaches. Those between would be holes, which take long to be hashed."""
LIBC = ctypes.CDLL(None, use_errno=True)


class Fuzz:
    """Makes system calls in a directory; what they answer does not matter."""

    def __init__(self, directory: bytes, seed: int) -> None:
        if os.geteuid() == 0:
            os.chroot(os.path.dirname(directory))
            directory = b"/" + os.path.basename(directory)
        os.chdir(directory)
        self.random = random.Random(seed)
        self.open: list[int] = []
        self.calls = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]

    def name(self) -> bytes:
        return self.random.choice(NAMES)

    def number(self) -> int:
        return self.random.choice(NUMBERS)

    def small(self) -> int:
        return self.random.choice(NUMBERS[:13])

    def descriptor(self) -> int:
        return self.random.choice([*self.open, -1])

    def step(self) -> None:
        call = self.random.choice(self.calls)
        with suppress(OSError, ValueError, OverflowError):
            call()

    def system(self, name: str, *arguments: object) -> None:
        wide = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        getattr(LIBC, name)(*wide)

    def do_open(self) -> None:
        # Without a writer or a reader, a FIFO would wait, as it should.
        flags = os.O_NONBLOCK
        for flag in self.random.choices(FLAGS, k=self.random.randrange(4)):
            flags |= flag
        if len(self.open) > 6:
            os.close(self.open.pop(self.random.randrange(len(self.open))))
        self.open.append(os.open(self.name(), flags, self.random.choice(MODES) & 0o7777))

    def do_create(self) -> None:
        self.open.append(os.open(self.name(), os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o644))

    def do_close(self) -> None:
        if self.open:
            os.close(self.open.pop())

    def do_read(self) -> None:
        os.pread(self.descriptor(), max(self.small(), 0), self.number())

    def do_write(self) -> None:
        at = self.random.choice([*NUMBERS[:13], *FAR])
        os.pwrite(self.descriptor(), b"x" * max(self.small(), 0), at)

    def do_write_on(self) -> None:
        os.write(self.descriptor(), b"y" * max(self.small(), 0))

    def do_seek(self) -> None:
        os.lseek(self.descriptor(), self.number(), self.random.randrange(6))

    def do_truncate(self) -> None:
        os.truncate(self.name(), self.small())

    def do_ftruncate(self) -> None:
        os.ftruncate(self.descriptor(), self.random.choice([*NUMBERS[:13], *FAR]))

    def do_too_long(self) -> None:
        os.truncate(self.name(), self.random.choice([(1 << 50) + 1, (1 << 63) - 1]))

    def do_sync(self) -> None:
        self.random.choice([os.fsync, os.fdatasync])(self.descriptor())

    def do_allocate(self) -> None:
        mode = self.random.choice([1, 2, 3, 8, 16, 32, 64, -1])
        self.system("fallocate", self.descriptor(), mode, self.number(), self.number())

    def do_copy_range(self) -> None:
        os.copy_file_range(self.descriptor(), self.descriptor(), max(self.small(), 0))

    def do_send(self) -> None:
        os.sendfile(self.descriptor(), self.descriptor(), 0, max(self.small(), 0))

    def do_lock(self) -> None:
        fcntl.flock(self.descriptor(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def do_lock_range(self) -> None:
        fcntl.lockf(self.descriptor(), fcntl.LOCK_EX | fcntl.LOCK_NB, self.number(), self.number())

    def do_ioctl(self) -> None:
        request = self.random.choice([0x6601, 0x40086602, 0x541B, 0xC020660B, 0, -1])
        fcntl.ioctl(self.descriptor(), request & 0xFFFFFFFF, b"\0" * 64)

    def do_mkdir(self) -> None:
        os.mkdir(self.name(), self.random.choice(MODES) & 0o7777)

    def do_mknod(self) -> None:
        self.system(
            "mknod", self.name(), self.random.choice(MODES) & 0xFFFFFFFF, self.number() & 0xFFFFFFFF
        )

    def do_symlink(self) -> None:
        os.symlink(self.random.choice([*TARGETS, b"y" * 4095, b"y" * 4096]), self.name())

    def do_link(self) -> None:
        os.link(self.name(), self.name(), follow_symlinks=False)

    def do_unlink(self) -> None:
        os.unlink(self.name())

    def do_rmdir(self) -> None:
        os.rmdir(self.name())

    def do_rename(self) -> None:
        flags = self.random.choice([0, 0, 0, 1, 2, 3, 4, 5, -1])
        self.system("renameat2", -100, self.name(), -100, self.name(), flags)

    def do_stat(self) -> None:
        os.stat(self.name(), follow_symlinks=False)

    def do_readlink(self) -> None:
        os.readlink(self.name())

    def do_list(self) -> None:
        os.listdir(self.name())

    def do_list_oddly(self) -> None:
        fd = os.open(self.name(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.lseek(fd, self.number(), os.SEEK_SET)
            os.listdir(fd)
        finally:
            os.close(fd)

    def do_chmod(self) -> None:
        self.system("chmod", self.name(), self.random.choice(MODES) & 0xFFFFFFFF)

    def do_chown(self) -> None:
        self.system("lchown", self.name(), self.number() & 0xFFFFFFFF, self.number() & 0xFFFFFFFF)

    def do_times(self) -> None:
        pair = (self.number(), self.number())
        os.utime(self.name(), ns=pair, follow_symlinks=False)

    def do_times_in_seconds(self) -> None:
        os.utime(self.name(), (self.number(), self.number()), follow_symlinks=False)

    def do_set_attribute(self) -> None:
        value = b"v" * self.random.choice([0, 1, 255, 4096, 65_535, 65_536])
        name, flags = self.random.choice(ATTRIBUTES), self.random.choice([0, 1, 2, 3, -1])
        self.system("lsetxattr", self.name(), name, value, len(value), flags)

    def do_get_attribute(self) -> None:
        room = ctypes.create_string_buffer(256)
        size = self.random.choice([0, 1, 256])
        self.system("lgetxattr", self.name(), self.random.choice(ATTRIBUTES), room, size)

    def do_list_attributes(self) -> None:
        os.listxattr(self.name(), follow_symlinks=False)

    def do_remove_attribute(self) -> None:
        self.system("lremovexattr", self.name(), self.random.choice(ATTRIBUTES))

    def do_statfs(self) -> None:
        os.statvfs(self.name())

    def do_access(self) -> None:
        os.access(self.name(), self.random.randrange(8))


def main(directory: str, seed: str, count: str) -> None:
    """Make *count* calls in *directory*; in a process of its own, to be killed should it hang."""
    fuzz = Fuzz(os.fsencode(directory), int(seed))
    for _ in range(int(count)):
        fuzz.step()
    for descriptor in fuzz.open:
        with suppress(OSError):
            os.close(descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
