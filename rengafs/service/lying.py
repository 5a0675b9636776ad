"""Content that need not travel: it lies in a file that a client on this machine writes.

Only who runs the service may name one: others could have it read what is not theirs. And lest
one be taken for them who merely speaks through a proxy of theirs, what is named must say itself
that it is meant: see `FileHere`. Nobody far away can put such a file here.
"""

import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio.to_thread
import msgspec
from starlette.requests import Request

from rengafs.backends.base import PIECE_BYTES, Growing
from rengafs.protocol.errors import NotSupported
from rengafs.protocol.operations import SOURCE_ABOUT, SOURCE_DATA, FileHere
from rengafs.service.peers import is_ourselves

MOST_ABOUT = 64 << 20
"""Bytes of a description: it names all ranges that were written."""


class Source(Growing):
    """An open file, of which the client tells how much is there."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._counts: AsyncIterator[int] | None = None

    def feed(self, counts: AsyncIterator[int]) -> None:
        """Take in who tells how many bytes more are there."""
        self._counts = counts

    async def lengths(self) -> AsyncIterator[int]:
        """Yield how much of it is there, until it is whole. Raises `NotSupported`."""
        assert self._counts is not None, "`feed` comes first"
        length = 0
        async for count in self._counts:
            length += count
            if os.fstat(self.descriptor).st_size < length:
                raise NotSupported("the source is shorter than was announced; send its bytes")
            yield length

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield its bytes. Raises `NotSupported`."""
        at = 0
        async for length in self.lengths():
            while at < length:
                wanted = min(PIECE_BYTES, length - at)
                piece = await anyio.to_thread.run_sync(os.pread, self.descriptor, wanted, at)
                if not piece:
                    raise NotSupported("the source became shorter; send its bytes")
                at += len(piece)
                yield piece


@contextmanager
def opened(request: Request, named: FileHere, node: int) -> Iterator[Source]:
    """Give the file that a client names as the new content of *node*.

    Raises `NotSupported`: its bytes must be sent.
    """
    if not is_ourselves(request):
        raise NotSupported("only the service's own user may name a file; send the bytes")
    try:
        descriptor = _open(named.directory, node)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise NotSupported(f"the source can't be read here ({error}); send its bytes") from None
    try:
        status = os.fstat(descriptor)
        same = (status.st_dev, status.st_ino) == (named.device, named.inode)
        if not same or not stat.S_ISREG(status.st_mode):
            raise NotSupported("the source is another file here; send its bytes")
        yield Source(descriptor)
    finally:
        os.close(descriptor)


class _About(msgspec.Struct):
    file: int


def _open(directory: str, node: int) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    place = os.open(directory, flags | os.O_DIRECTORY)
    try:
        about = os.open(SOURCE_ABOUT, flags, dir_fd=place)
        with open(about, "rb") as file:
            meant = msgspec.json.decode(file.read(MOST_ABOUT), type=_About).file
        if meant != node:
            raise ValueError(f"it is the content of {meant}, not of {node}")
        return os.open(SOURCE_DATA, flags, dir_fd=place)
    finally:
        os.close(place)
