"""Blobs as files of a directory on this machine.

    .rengafs-blobs     the mark: this directory is rengafs', and of which catalog
    tmp/KEY            being written
    ab/KEY             a blob; ``ab`` are the first digits of its key

A blob is written as a temporary, synced, renamed, and its directory is synced: so it is
whole or absent after a crash. The 256 directories are made once, not on demand: each new
one would cost further syncs, and a commit is mostly syncs.
"""

import errno
import os
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from rengafs.backends.base import PIECE_BYTES, Backend, Composition, Listed, Space, Stored
from rengafs.backends.local.drawing import Drawing
from rengafs.protocol.errors import Corrupt, NoSpace, SetupError, TooLarge, Unavailable

MARK = ".rengafs-blobs"
THREADS = 8
"""Blocking calls at a time. A disk gains nothing from more."""

T = TypeVar("T")


class LocalBackend(Backend):
    """See the module. Made by `open_local`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._directory = directory
        self._limiter = anyio.CapacityLimiter(THREADS)

    async def put(self, stream: AsyncIterable[bytes]) -> Stored:
        """Store a stream."""
        return await self._store(lambda path: Drawing.whole(path), stream)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says; the base is shared with, or copied inside, the file system."""
        base = None if plan.base is None else self._path(plan.base)
        return await self._store(lambda path: Drawing.over(path, plan, base), payload)

    async def _store(
        self, begin: Callable[[Path], Drawing], stream: AsyncIterable[bytes]
    ) -> Stored:
        key = uuid.uuid4().hex
        drawing = begin(self._directory / "tmp" / key)
        try:
            async for pieces in _gathered(stream):
                # The last pieces wait for `finish`: a small blob is one turn of a thread.
                if drawing.waiting:
                    await self._in_thread(drawing.flush)
                drawing.waiting = pieces
            return await self._in_thread(lambda: drawing.finish(key, self._path(key)))
        finally:
            if not drawing.finished:
                with anyio.CancelScope(shield=True):
                    await self._in_thread(drawing.abandon)

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        path = self._path(key)
        file, piece = await self._in_thread(lambda: _open_and_read(path, size, start, stop))
        try:
            while True:
                yield piece
                start += len(piece)
                if start >= stop:
                    return
                piece = await self._in_thread(partial(_read, file, path, start, stop))
        finally:
            os.close(file)

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""
        path = self._path(key)
        await self._in_thread(lambda: path.unlink(missing_ok=True))

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all blobs."""
        for prefix in _prefixes():
            for blob in await self._in_thread(partial(_listed, self._directory / prefix)):
                yield blob

    async def space(self) -> Space:
        """Return what the file system says."""
        usage = await self._in_thread(lambda: os.statvfs(self._directory))
        return Space(usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize)

    async def sweep_temporaries(self, older_than_seconds: float) -> int:
        """Remove old temporaries."""
        before = time.time() - older_than_seconds
        return await self._in_thread(lambda: _sweep(self._directory / "tmp", before))

    def file_of(self, key: str) -> Path:
        """Return the file that is a blob."""
        return self._path(key).absolute()

    def _path(self, key: str) -> Path:
        return self._directory / key[:2] / key

    async def _in_thread(self, call: Callable[[], T]) -> T:
        def translated() -> T:
            with _translated():
                return call()

        return await anyio.to_thread.run_sync(translated, limiter=self._limiter)


def open_local(directory: Path, *, owner: str, name: str = "local") -> LocalBackend:
    """Open or make a directory of blobs. *owner* is the catalog whose blobs they are.

    Raises `SetupError` for a directory of something else, or that can't be written.
    """
    mark = directory / MARK
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if mark.exists():
            _check_owner(directory, mark.read_text().strip(), owner)
        elif next(directory.iterdir(), None) is not None:
            raise SetupError(
                f"{directory} is not empty, and not rengafs'; choose another data directory"
            )
        else:
            # First of all, and whole: another process may be at it as well.
            draft = directory.with_name(f".{uuid.uuid4().hex}")
            draft.write_text(f"{owner}\n")
            draft.replace(mark)
        for name_of in ("tmp", *_prefixes()):
            (directory / name_of).mkdir(exist_ok=True)
        return LocalBackend(directory, name)
    except OSError as error:
        raise SetupError(f"blobs can't be kept in {directory}: {error.strerror}") from error


def _check_owner(directory: Path, found: str, owner: str) -> None:
    if found != owner:
        raise SetupError(
            f"{directory} holds the blobs of another catalog ({found}, not {owner}); "
            "catalog and blobs are one: restore both, or choose another data directory"
        )


def _prefixes() -> list[str]:
    return [f"{number:02x}" for number in range(256)]


async def _gathered(stream: AsyncIterable[bytes]) -> AsyncIterator[list[bytes]]:
    """Gather small pieces: a client may send single bytes."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        if not piece:
            continue
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield pieces
            pieces, size = [], 0
        elif len(pieces) >= 4096:
            # A list of single bytes would weigh fifty times what it holds.
            pieces = [b"".join(pieces)]
    if pieces:
        yield pieces


def _listed(directory: Path) -> list[Listed]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                about = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted just now
            found.append(Listed(entry.name, about.st_size, about.st_mtime))
    return found


def _open_and_read(path: Path, size: int, start: int, stop: int) -> tuple[int, bytes]:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Corrupt(f"the blob {path.name} is missing") from None
    try:
        found = os.fstat(file).st_size
        if found != size:
            raise Corrupt(f"the blob {path.name} has {found} bytes; it was stored with {size}")
        return file, _read(file, path, start, stop)
    except BaseException:
        os.close(file)
        raise


def _read(file: int, path: Path, start: int, stop: int) -> bytes:
    piece = os.pread(file, min(PIECE_BYTES, stop - start), start)
    if not piece and stop > start:
        raise Corrupt(f"the blob {path.name} ended early")
    return piece


def _sweep(directory: Path, before: float) -> int:
    gone = 0
    for entry in os.scandir(directory):
        if entry.stat().st_mtime < before:
            os.unlink(entry.path)
            gone += 1
    return gone


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace("the disk of the local backend is full; free some space") from error
        if error.errno == errno.EFBIG:
            raise TooLarge("the disk of the local backend takes no file of this length") from error
        if error.errno == errno.EIO:
            raise Corrupt(f"the disk of the local backend fails ({error})") from error
        raise Unavailable(f"the local backend fails ({error})") from error
