"""A directory shown through pyfuse3 and nothing else: what pyfuse3 itself costs.

``python -m support.passthrough SOURCE MOUNTPOINT KEEP`` serves until it is unmounted. It reads
only, answers at once on the trio thread, and keeps one descriptor an open file. If KEEP is
``keep``, what the kernel has of a file outlives its close.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyfuse3
import trio

VALID_SECONDS = 3600


class Passthrough(pyfuse3.Operations):
    """Shows one flat directory."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, source: str, keep_cache: bool) -> None:
        super().__init__()
        self.keep_cache = keep_cache
        self.paths = {pyfuse3.ROOT_INODE: source}

    def attributes(self, path, number):
        status = os.lstat(path)
        answer = pyfuse3.EntryAttributes()
        for name in ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns"):
            setattr(answer, name, getattr(status, name))
        answer.st_ino = number
        answer.entry_timeout = answer.attr_timeout = VALID_SECONDS
        return answer

    async def lookup(self, parent_inode, name, ctx=None):
        path = os.path.join(self.paths[parent_inode], os.fsdecode(name))
        if not os.path.lexists(path):
            raise pyfuse3.FUSEError(2)
        number = os.lstat(path).st_ino
        self.paths[number] = path
        return self.attributes(path, number)

    async def getattr(self, inode, ctx=None):
        return self.attributes(self.paths[inode], inode)

    async def open(self, inode, flags, ctx):
        descriptor = os.open(self.paths[inode], flags & ~os.O_TRUNC)
        return pyfuse3.FileInfo(fh=descriptor, keep_cache=self.keep_cache)

    async def read(self, fh, off, size):
        return os.pread(fh, size, off)

    async def release(self, fh):
        os.close(fh)


def main() -> None:
    source, mountpoint, keep = sys.argv[1:]
    options = {*pyfuse3.default_options, "fsname=passthrough"}
    pyfuse3.init(Passthrough(source, keep == "keep"), mountpoint, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)


@contextmanager
def passthrough(source: Path, mountpoint: Path, *, keep_cache: bool = False) -> Iterator[Path]:
    """Show *source* at *mountpoint*, from a process of its own."""
    words = [str(source), str(mountpoint), "keep" if keep_cache else "drop"]
    mountpoint.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "support.passthrough", *words],
        cwd=Path(__file__).parents[1],
    )
    try:
        deadline = time.monotonic() + 30
        while not os.path.ismount(mountpoint):
            assert process.poll() is None, "the passthrough ended"
            assert time.monotonic() < deadline, "the passthrough did not begin"
            time.sleep(0.02)
        yield mountpoint
    finally:
        subprocess.run(["fusermount3", "-u", str(mountpoint)], check=False)
        with suppress(subprocess.TimeoutExpired):
            process.wait(120)
        if process.poll() is None:
            process.kill()
            process.wait(120)


if __name__ == "__main__":
    main()
