"""Blocks as files: what `cache` does on disk, in its worker threads. Everything here blocks.

    DIRECTORY / catalog / last two digits of the version / version / index
                          pins / ID: the versions that a pin needs; no eviction takes them

A file is a header (magic, checksum, version, index, length) and the block; of a block of zeros
the header is all. The checksum covers the header's other fields too, so a block under another
block's name is found out.
Several processes may use one directory: a file is complete when it appears (rename), and
one that has gone is one that was never there. Recency is a file's mtime, so it survives
the process and is shared.
"""

import contextlib
import errno
import fcntl
import heapq
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import Self

from rengafs.fs.reads import directwrite
from rengafs.protocol.errors import Corrupt

HEADER = Struct(">4sIQQQ")
MAGIC = b"RFB1"
NUMBER = Struct(">Q")
PINS = "pins"
UNIT = 4096
"""Disks allocate in units; a million tiny blocks must not look like nothing."""

ABANDONED_SECONDS = 3600
"""A temporary file of this age has no writer any more."""

NAMES = re.compile(r"[0-9a-f]{32}/[0-9a-f]{2}/[0-9a-f]{16}/(\.?)[0-9a-f]{8,}(?:\.\w{32})?")
"""What a file of ours is called below the directory. Nothing else is ever removed there: a
person may have named a directory that holds other things."""

INDEX = re.compile(r"[0-9a-f]{8,}")
CATALOG = re.compile(r"[0-9a-f]{32}")

EVICT_TO = 0.9
"""Eviction goes on to this share of the limit, so that it is not due again at once."""

EVICTED_AT_A_TIME = 32_768
"""Of a walk's files only so many are remembered, half a kilobyte each: the oldest."""

ZEROS = bytes(1 << 20)
"""A whole block of zeros: this one, wherever one is kept in memory."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the directory held when it was walked, after evictions."""

    blocks: int
    bytes: int
    """As allocated on disk, all catalogs together."""
    evicted: int = 0
    pinned_bytes: int = 0
    """Of these bytes, those that a pin needs."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    used_ns: int
    allocated: int


class BlockFiles:
    """The files of one catalog's blocks, in a directory that other catalogs may share."""

    def __init__(self, directory: Path, catalog: str) -> None:
        # A catalog's identity is any text; a digest of it is fit for a file name.
        self._begin(directory, blake2b(catalog.encode(), digest_size=16).hexdigest())

    def _begin(self, directory: Path, digest: str) -> None:
        self._directory = directory
        self._root = directory / digest

    @classmethod
    def found(cls, directory: Path) -> list[Self]:
        """Return those of all catalogs that have blocks in *directory*."""
        found = []
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
                if CATALOG.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    files = cls.__new__(cls)
                    files._begin(directory, entry.name)
                    found.append(files)
        return found

    @property
    def name(self) -> str:
        """What the catalog is called in the directory."""
        return self._root.name

    def _folder(self, version: int) -> Path:
        return self._root / f"{version & 0xFF:02x}" / f"{version:016x}"

    def _path(self, version: int, index: int) -> Path:
        return self._folder(version) / f"{index:08x}"

    def read(self, version: int, index: int, *, touch: bool = True) -> bytes | None:
        """Return a block and mark it used, if *touch*; None if there is none.

        Raises `Corrupt` (after removing it) for one that is not what was stored, OSError.
        """
        path = self._path(version, index)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            header = os.pread(descriptor, HEADER.size, 0)
            # As much as there is: a file that grew is damaged too.
            data = _sound(header, _read_rest(descriptor), version, index)
            if data is None:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                raise Corrupt(
                    f"cached block {index} of version {version} is damaged; it was dropped",
                    version=version,
                    index=index,
                )
            if touch:
                _touch(descriptor)
        finally:
            os.close(descriptor)
        return data

    def write(
        self, version: int, index: int, data: bytes, keep_free_bytes: int, *, direct: bool = False
    ) -> bool:
        """Store a block; return False if that would leave less than *keep_free_bytes*.

        :param direct: past the page cache, where that can be done.

        Raises OSError where the disk refuses.
        """
        path = self._path(version, index)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.free_bytes() < keep_free_bytes + needed(data):
            return False
        try:
            self._write(path, version, index, data, direct=direct)
        except FileNotFoundError:
            # An eviction, maybe another process's, has just removed the empty folder.
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write(path, version, index, data, direct=direct)
        return True

    def write_whole(self, versions: Iterable[tuple[int, bytes]], keep_free_bytes: int) -> int:
        """Store versions of one block each; return how many, up to the first without room."""
        stored = 0
        for version, data in versions:
            if not self.write(version, 0, data, keep_free_bytes):
                break
            stored += 1
        return stored

    def _write(
        self, path: Path, version: int, index: int, data: bytes, *, direct: bool = False
    ) -> None:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        checksum = _checksum(data, version, index)
        header = HEADER.pack(MAGIC, checksum, version, index, len(data))
        if is_zero(data):
            data = b""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode=0o600)
        try:
            try:
                if not (direct and _write_past(descriptor, [header, data])):
                    written = os.writev(descriptor, [header, data])
                    if written != len(header) + len(data):
                        # A disk that fills up ends a write early; the next one says why.
                        os.write(descriptor, (header + data)[written:])
                _touch(descriptor)
            finally:
                os.close(descriptor)
            # No fsync: after a crash the checksum tells a whole block from a torn one.
            temporary.rename(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise

    def missing_run(self, version: int, first: int, stop: int) -> int:
        """Return the first index from *first* on that is stored, or *stop*."""
        stored = self._stored(version)
        return min((index for index in stored if first <= index < stop), default=stop)

    def missing_blocks(self, version: int, blocks: int) -> list[int]:
        """Return the indexes below *blocks* that are not stored."""
        stored = self._stored(version)
        return [index for index in range(blocks) if index not in stored]

    def missing(self, versions: Iterable[int]) -> list[int]:
        """Return those of *versions* whose first block is not stored."""
        return [version for version in versions if not os.path.exists(self._path(version, 0))]

    def _stored(self, version: int) -> set[int]:
        """Return the indexes of a version's blocks. What can't be seen can't be read."""
        try:
            names = os.listdir(self._folder(version))
        except OSError:
            return set()
        return {int(name, 16) for name in names if INDEX.fullmatch(name)}

    def free_bytes(self) -> int:
        """Return what the disk has left for the likes of us."""
        status = os.statvfs(self._directory)
        return status.f_bavail * status.f_frsize

    def discard(self, version: int) -> None:
        """Remove all blocks of a version."""
        shutil.rmtree(self._folder(version), ignore_errors=True)

    def discard_all(self) -> None:
        """Remove all blocks of this catalog, those that a pin needs too."""
        for file in self._files(self._root):
            _remove(Path(file.path))

    def clear(self) -> None:
        """Remove all blocks of all catalogs but those that a pin needs."""
        pinned = Pinned(self._directory)
        for file in self._files():
            if not pinned.needs(file.path):
                _remove(Path(file.path))

    def pin(self, pin: str, versions: Iterable[int]) -> None:
        """Spare the blocks of these versions from eviction, and of no others for this pin."""
        lists = self._root / PINS
        lists.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = lists / f".{pin}.{uuid.uuid4().hex}"
        temporary.write_bytes(b"".join(NUMBER.pack(version) for version in versions))
        temporary.rename(lists / pin)

    def unpin(self, pin: str) -> None:
        """Let the blocks of a pin be evicted like all others."""
        with contextlib.suppress(FileNotFoundError):
            (self._root / PINS / pin).unlink()

    def pinned_bytes(self, *, but: str) -> int:
        """Return what is on disk for the pins of all catalogs, without that of one pin."""
        pinned = Pinned(self._directory, but=but)
        return sum(file.allocated for file in self._files() if pinned.needs(file.path))

    def survey(self, *, whole: bool = True) -> Survey:
        """Walk the directory and return what it holds; of this catalog unless *whole*."""
        pinned = Pinned(self._directory)
        blocks = total = spared = 0
        for file in self._files(None if whole else self._root):
            blocks += 1
            total += file.allocated
            spared += file.allocated if pinned.needs(file.path) else 0
        return Survey(blocks, total, pinned_bytes=spared)

    def evict(
        self, limit_bytes: int, keep_free_bytes: int, in_memory: Set[tuple[int, int]]
    ) -> Survey:
        """Remove blocks, those least recently used first, until both limits are respected.

        :param in_memory: (version, index) of blocks that are being used without being read.
        """
        # With the first block of a small cache nothing is there yet.
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        evicted = 0
        while True:
            oldest, held = self._oldest(in_memory)
            goal = self._goal(held.bytes, limit_bytes, keep_free_bytes)
            total, removed = held.bytes, 0
            for file in oldest:
                if total <= goal:
                    break
                if _remove(Path(file.path)):
                    total -= file.allocated
                    removed += 1
            evicted += removed
            # What one walk remembers may be less than what has to go.
            if total <= goal or len(oldest) < EVICTED_AT_A_TIME or not removed:
                return Survey(held.blocks - removed, total, evicted)

    def _oldest(self, in_memory: Set[tuple[int, int]]) -> tuple[list[_File], Survey]:
        """Return the files that may go, least recently used first, and what there is in all."""
        pinned = Pinned(self._directory)
        blocks = total = 0

        def unpinned() -> Iterator[_File]:
            nonlocal blocks, total
            for file in self._files():
                blocks += 1
                total += file.allocated
                if not pinned.needs(file.path):
                    yield file

        def age(file: _File) -> tuple[bool, int]:
            catalog, _, version, index = file.path.rsplit("/", 3)
            ours = catalog == str(self._root)
            return ours and (int(version, 16), int(index, 16)) in in_memory, file.used_ns

        oldest = heapq.nsmallest(EVICTED_AT_A_TIME, unpinned(), key=age)
        return oldest, Survey(blocks, total)

    def _goal(self, total: int, limit_bytes: int, keep_free_bytes: int) -> int:
        """Return how many bytes are to be left of *total*."""
        goal = total
        if total > limit_bytes:
            goal = int(limit_bytes * EVICT_TO)
        shortage = keep_free_bytes - self.free_bytes()
        if shortage > 0:
            # Some more than needed, so that it is not due again at once.
            goal = min(goal, total - shortage - int(limit_bytes * (1 - EVICT_TO)))
        return goal

    def verify(self) -> Iterator[tuple[int, int, bool]]:
        """Yield (version, index, whether sound) of this catalog's blocks; drop the bad ones."""
        for file in self._files(self._root):
            path = Path(file.path)
            version, index = int(path.parent.name, 16), int(path.name, 16)
            try:
                if self.read(version, index, touch=False) is not None:
                    yield version, index, True
            except Corrupt:
                yield version, index, False

    def _files(self, root: Path | None = None) -> Iterator[_File]:
        now = time.time()
        prefix = f"{self._directory}/"
        for folder, _, names in os.walk(root or self._directory):
            for name in names:
                path = f"{folder}/{name}"
                known = NAMES.fullmatch(path.removeprefix(prefix))
                if known is None:
                    continue
                try:
                    status = os.stat(path, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if not known[1]:
                    yield _File(path, status.st_mtime_ns, allocated(status.st_size))
                elif now - status.st_mtime > ABANDONED_SECONDS:
                    _remove(Path(path))


class Pinned:
    """The versions that pins need, of all catalogs in a directory. As it was when it was made."""

    def __init__(self, directory: Path, *, but: str = "") -> None:
        self._versions: dict[str, set[int]] = {}
        for path in directory.glob(f"*/{PINS}/*"):
            if not path.name.startswith(".") and path.name != but:
                with contextlib.suppress(OSError):
                    content = path.read_bytes()
                    whole = content[: len(content) // NUMBER.size * NUMBER.size]
                    found = self._versions.setdefault(path.parent.parent.name, set())
                    found.update(number for (number,) in NUMBER.iter_unpack(whole))

    def needs(self, path: str) -> bool:
        """Whether a pin needs the block in a file."""
        if not self._versions:
            return False
        catalog, _, version, _ = path.rsplit("/", 3)
        needed = self._versions.get(os.path.basename(catalog), ())
        return int(version, 16) in needed


def allocated(size: int) -> int:
    """Return about what a block of *size* bytes takes on disk."""
    return -(-(size + HEADER.size) // UNIT) * UNIT


def needed(data: bytes) -> int:
    """Return about what storing a block takes on disk."""
    return allocated(0 if is_zero(data) else len(data))


def is_zero(data: bytes) -> bool:
    """Whether a block is nothing but zeros, as in a hole of a sparse file."""
    return data[:1] in (b"", b"\0") and data == ZEROS[: len(data)]


def _write_past(descriptor: int, parts: list[bytes]) -> bool:
    """Write a file past the page cache; return whether this disk can do that."""
    if not directwrite.can_write(sum(map(len, parts))):
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
        directwrite.write(descriptor, parts)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        os.ftruncate(descriptor, 0)
        return False
    return True


def _read_rest(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size - HEADER.size
    return os.pread(descriptor, size, HEADER.size) if size > 0 else b""


def _sound(header: bytes, data: bytes, version: int, index: int) -> bytes | None:
    """Return the block that a file holds, or None if that is not what was stored."""
    if len(header) != HEADER.size:
        return None
    magic, checksum, *named, length = HEADER.unpack(header)
    if not data and length <= len(ZEROS):
        data = ZEROS[:length]  # for a whole block, not a copy
    is_sound = (
        magic == MAGIC
        and [*named, length] == [version, index, len(data)]
        and checksum == _checksum(data, version, index)
    )
    return data if is_sound else None


def _checksum(data: bytes, version: int, index: int) -> int:
    # Against damage, not against malice: who can write here can read the mount's token.
    return zlib.crc32(data, zlib.crc32(b"%x.%x.%x" % (version, index, len(data))))


def _touch(descriptor: int) -> None:
    # The exact time: the kernel's own is some milliseconds coarse, and order matters.
    now = time.time_ns()
    with contextlib.suppress(OSError):  # not ours, or read-only: then it only looks older
        os.utime(descriptor, ns=(now, now))


def _remove(path: Path) -> bool:
    """Remove a file if that can be done; return whether it is gone."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # fails unless that was the last block in it
    return True
