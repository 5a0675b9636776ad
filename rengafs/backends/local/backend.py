"""Blobs as files of a directory on this machine.

    .rengafs-blobs     the mark: this directory is rengafs', and of which catalog
    tmp/KEY            being written
    ab/KEY             a blob; ``ab`` are the first digits of its key
    laid/KEY/          a blob laid over another one, until it is drawn out: see `laid`

A blob is written as a temporary, synced, renamed, and its directory is synced: so it is
whole or absent after a crash. The 256 directories are made once, not on demand: each new
one would cost further syncs, and a commit is mostly syncs.
"""

import errno
import os
import shutil
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Sequence,
)
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from rengafs.backends.base import (
    PIECE_BYTES,
    Backend,
    Composition,
    Growing,
    Listed,
    Needed,
    Space,
    Stored,
    nobody,
)
from rengafs.backends.local.drawing import Drawing, can_share, sync_directory, write_durably
from rengafs.backends.local.laid import DATA, Laid, clear
from rengafs.backends.local.laying import Laying, is_small_edit
from rengafs.backends.local.taking import Taking
from rengafs.protocol.errors import (
    BackendRefused,
    Corrupt,
    NoSpace,
    RengafsError,
    SetupError,
    TooLarge,
    Unavailable,
)

MARK = ".rengafs-blobs"
TEMPORARY, LAID = "tmp", "laid"
THICK_BYTES = 64 << 20
MOST_OVER = 50_000
THREADS = 8
"""Blocking calls at a time. A disk gains nothing from more."""

T = TypeVar("T")
_END = object()


class LocalBackend(Backend):
    """See the module. Made by `open_local`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._directory = directory
        self._limiter = anyio.CapacityLimiter(THREADS)
        self._shares: bool | None = None
        """Whether the file system can share blocks; None: it was not tried yet."""

    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream."""
        return await self._store(lambda path: Drawing.whole(path), stream)

    async def take(self, file: Growing) -> Stored:
        """Make a file a blob, without moving a byte if it is on the same disk."""
        key = uuid.uuid4().hex
        taking = Taking(self._directory / TEMPORARY / key, file.descriptor)
        try:
            await self._in_thread(taking.begin)
            async for length in file.lengths():
                await self._in_thread(partial(taking.reach, length))
                await self._side_by_side(taking.hash_whole, taking.hash_pieces)
            return await self._in_thread(lambda: taking.finish(key, self._path(key)))
        finally:
            if not taking.finished:
                with anyio.CancelScope(shield=True):
                    await self._in_thread(taking.abandon)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says; the base is shared with, or copied inside, the file system."""
        if plan.base is None:
            return await self._store(lambda path: Drawing.over(path, plan, None), payload)
        if is_small_edit(plan) and not await self._can_share():
            file, laid = self._path(plan.base), self._laid(plan.base)
            if await self._in_thread(lambda: _is_thick(laid)):
                await self.draw_out(plan.base)
            return await self._store(
                lambda path: Laying(path, plan, file, laid), payload, self._laid
            )
        base = await self._file_for(plan.base)
        return await self._store(lambda path: Drawing.over(path, plan, base), payload)

    def compose_now(self, plan: Composition, payload: bytes) -> Stored | None:
        """Do the same here and now, unless the base is long, or laid."""
        base = None if plan.base is None else self._path(plan.base)
        if base is not None and (plan.base_size > PIECE_BYTES or not base.exists()):
            return None
        key = uuid.uuid4().hex
        drawing = Drawing.over(self._directory / TEMPORARY / key, plan, base)
        drawing.waiting = [payload]
        with _translated():
            try:
                return drawing.finish(key, self._path(key))
            finally:
                if not drawing.finished:
                    drawing.abandon()

    async def _store(
        self,
        begin: Callable[[Path], Drawing],
        stream: AsyncIterable[bytes],
        place: Callable[[str], Path] | None = None,
    ) -> Stored:
        key = uuid.uuid4().hex
        drawing = begin(self._directory / TEMPORARY / key)
        path = (place or self._path)(key)
        try:
            async for pieces in _gathered(stream):
                # The last pieces wait for `finish`: a small blob is one turn of a thread.
                if drawing.waiting:
                    await self._in_thread(drawing.flush)
                drawing.waiting = pieces
            return await self._in_thread(lambda: drawing.finish(key, path))
        finally:
            if not drawing.finished:
                with anyio.CancelScope(shield=True):
                    await self._in_thread(drawing.abandon)

    async def _can_share(self) -> bool:
        if self._shares is None:
            directory = self._directory / TEMPORARY
            self._shares = await self._in_thread(lambda: can_share(directory))
        return self._shares

    async def _file_for(self, key: str) -> Path:
        """Return the file of a blob, drawn out if need be."""
        path = self._path(key)
        if not await self._in_thread(path.exists):
            await self.draw_out(key)
        return path

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        path, laid = self._path(key), self._laid(key)
        file, piece = await self._in_thread(lambda: _open_and_read(path, laid, size, start, stop))
        try:
            while True:
                yield piece
                start += len(piece)
                if start >= stop:
                    return
                piece = await self._in_thread(partial(_read, file, path, start, stop))
        finally:
            _close(file)

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""
        path, laid = self._path(key), self._laid(key)
        gone = self._directory / TEMPORARY / f"{key}.gone"
        await self._in_thread(lambda: _delete(path, laid, gone))

    async def waiting(self, older_than_seconds: float) -> Sequence[str]:
        """Return the keys of laid blobs."""
        before = time.time() - older_than_seconds
        return await self._in_thread(lambda: _waiting(self._directory / LAID, before))

    async def draw_out(self, key: str) -> None:
        """Give a laid blob a file of its own."""
        path, directory = self._path(key), self._laid(key)
        laid = await self._in_thread(lambda: _to_draw(directory))
        if laid is None:
            return
        try:
            steps = laid.draw_out(path)
            while await self._in_thread(lambda: next(steps, _END)) is not _END:
                pass
        finally:
            laid.close()

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all blobs."""
        for blob in await self._in_thread(partial(_listed_laid, self._directory / LAID)):
            yield blob
        for prefix in _prefixes():
            for blob in await self._in_thread(partial(_listed, self._directory / prefix)):
                yield blob

    async def space(self) -> Space:
        """Return what the file system says."""
        usage = await self._in_thread(lambda: os.statvfs(self._directory))
        return Space(usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize)

    async def sweep_temporaries(self, older_than_seconds: float, needed: Needed = nobody) -> int:
        """Remove old temporaries."""
        before = time.time() - older_than_seconds
        return await self._in_thread(lambda: _sweep(self._directory / TEMPORARY, before))

    def file_of(self, key: str) -> Path:
        """Return the file that is a blob."""
        return self._path(key).absolute()

    def _path(self, key: str) -> Path:
        return self._directory / key[:2] / key

    def _laid(self, key: str) -> Path:
        return self._directory / LAID / key

    async def _side_by_side(self, *calls: Callable[[], None]) -> None:
        """Do several things, each in a thread of its own. Raises what the first to fail raises."""
        errors: list[RengafsError] = []

        async def do(call: Callable[[], None]) -> None:
            try:
                await self._in_thread(call)
            except RengafsError as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for call in calls:
                group.start_soon(do, call)
        if errors:
            raise errors[0]

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
        made = [path for path in (directory, *directory.parents) if not path.exists()]
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
            write_durably(draft, f"{owner}\n".encode())
            draft.replace(mark)
        for name_of in (TEMPORARY, LAID, *_prefixes()):
            (directory / name_of).mkdir(exist_ok=True)
        # A blob is as durable as each name on the way to it.
        for path in (directory, *(new.parent for new in made)):
            sync_directory(path)
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


def _listed_laid(directory: Path) -> list[Listed]:
    found = []
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):  # drawn out just now
            about = os.stat(f"{entry.path}/{DATA}")
            found.append(Listed(entry.name, about.st_size, about.st_mtime))
    return found


def _waiting(directory: Path, before: float) -> list[str]:
    found = []
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):
            if entry.stat(follow_symlinks=False).st_mtime < before:
                found.append(entry.name)
    return found


def _to_draw(directory: Path) -> Laid | None:
    try:
        return Laid.open(directory, to_draw=True)
    except FileNotFoundError:
        clear(directory)
        return None


def _is_thick(directory: Path) -> bool:
    """Whether so much was written over a base by now that it should have a file of its own."""
    try:
        laid = Laid.open(directory)
    except FileNotFoundError:
        return False
    with closing(laid):
        ranges = laid.about.over
        return len(ranges) > MOST_OVER or sum(stop - start for start, stop in ranges) > THICK_BYTES


def _open_and_read(
    path: Path, laid: Path, size: int, start: int, stop: int
) -> tuple[int | Laid, bytes]:
    file = _open(path, laid)
    try:
        found = file.about.length if isinstance(file, Laid) else os.fstat(file).st_size
        if found != size:
            raise Corrupt(f"the blob {path.name} has {found} bytes; it was stored with {size}")
        return file, _read(file, path, start, stop)
    except BaseException:
        _close(file)
        raise


def _open(path: Path, laid: Path) -> int | Laid:
    for _ in range(2):  # it may be drawn out between the two looks
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(FileNotFoundError):
            return Laid.open(laid)
    raise Corrupt(f"the blob {path.name} is missing")


def _close(file: int | Laid) -> None:
    if isinstance(file, Laid):
        file.close()
    else:
        os.close(file)


def _read(file: int | Laid, path: Path, start: int, stop: int) -> bytes:
    if isinstance(file, Laid):
        return file.read(start, min(start + PIECE_BYTES, stop))
    piece = os.pread(file, min(PIECE_BYTES, stop - start), start)
    if not piece and stop > start:
        raise Corrupt(f"the blob {path.name} ended early")
    return piece


def _delete(path: Path, laid: Path, gone: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        # Whole or not at all; and who draws it out in this moment finds nothing to rename.
        laid.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        path.unlink(missing_ok=True)


def _sweep(directory: Path, before: float) -> int:
    gone = 0
    for entry in os.scandir(directory):
        if entry.stat().st_mtime < before:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
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
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise BackendRefused(
                f"the local backend may not write there ({error}); is it mounted read-only, or "
                "another user's?"
            ) from error
        raise Unavailable(f"the local backend fails ({error})") from error
