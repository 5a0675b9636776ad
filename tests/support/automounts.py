"""An ``.automount`` without systemd: the kernel's autofs, with this process as its daemon."""

import ctypes
import fcntl
import os
import select
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

AUTOFS = "autofs" in Path("/proc/filesystems").read_text().split()
MISSING_DIRECT = 5
PACKET = struct.Struct("=iiIIQ")
"""The head of what the kernel asks: protocol, kind, token, device, inode."""
READY, FAIL = 0x9360, 0x9361
SECONDS = 120.0


class Automount:
    """A directory that whoever touches it waits for, unless of this process's group."""

    def __init__(self, requests: int, root: int) -> None:
        self._requests, self._root = requests, root

    @contextmanager
    def touched(self) -> Iterator[None]:
        """Wait for the first touch; the block mounts, and then the touch goes on."""
        ready, _, _ = select.select([self._requests], [], [], SECONDS)
        assert ready, "nobody touched it"
        _, kind, token, _, _ = PACKET.unpack_from(os.read(self._requests, 4096))
        assert kind == MISSING_DIRECT
        answer = FAIL
        try:
            yield
            answer = READY
        finally:
            fcntl.ioctl(self._root, answer, token)


@contextmanager
def automount(directory: Path) -> Iterator[Automount]:
    """Give an automount at *directory*. As root."""
    requests, told = os.pipe()
    options = f"fd={told},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"test", os.fsencode(directory), b"autofs", 0, options):
        raise OSError(ctypes.get_errno(), "autofs can't be mounted")
    os.close(told)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Automount(requests, root)
    finally:
        os.close(root)
        os.close(requests)
        subprocess.run(["umount", "-l", directory], check=True)
