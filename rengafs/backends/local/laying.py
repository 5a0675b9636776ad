"""A laid blob while it is made: see `laid`. All methods block, as `Drawing`'s do."""

import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from rengafs.backends import pieces as hashed
from rengafs.backends.base import HASHED_BYTES, Composition, Stored
from rengafs.backends.local.drawing import (
    Drawing,
    copy_range,
    data_ranges,
    sync_directory,
    write_durably,
)
from rengafs.backends.local.laid import ABOUT, BASE, DATA, About, Laid, without
from rengafs.protocol.errors import Corrupt

LAID_BYTES = 64 << 20
"""A base of less is copied at once: that costs little, and a file is simpler than three."""
LAID_PAYLOAD = 16 << 20
"""So much lies over a base at most, of all edits since; more is drawn out at once."""
LAID_EXTENTS = 10_000
AT_MOST = 8
"""A payload of over an eighth of the whole is no small edit."""


def is_small_edit(plan: Composition) -> bool:
    """Whether a composition gains from being laid."""
    few = len(plan.extents) <= LAID_EXTENTS
    small = plan.payload <= min(LAID_PAYLOAD, plan.length // AT_MOST)
    kept = plan.length >= plan.base_size // AT_MOST
    return plan.base is not None and plan.base_size >= LAID_BYTES and few and small and kept


class Laying(Drawing):
    """Bytes on their way into a laid blob.

    :param path: the temporary, a directory here.
    :param file: where the base's file is, or would be.
    :param laid: the directory that the base is, if it is laid itself.
    """

    def __init__(self, path: Path, plan: Composition, file: Path, laid: Path) -> None:
        super().__init__(path / DATA, plan, None)
        self.plan = plan
        self._directory = path
        self._places = file, laid
        self._source: Laid | None = None
        """What the blob lies over."""

    def _begin(self) -> None:
        self._directory.mkdir()
        try:
            self._take_file()
        except FileNotFoundError:
            try:
                self._take_laid()
            except FileNotFoundError:
                # Drawn out in this moment, or it is gone.
                self._take_again()
        super()._begin()
        self._copy_layer()

    def _take_again(self) -> None:
        file, _ = self._places
        try:
            self._take_file()
        except FileNotFoundError:
            raise Corrupt(f"the blob {file.name} is missing") from None

    def _take_file(self) -> None:
        file, _ = self._places
        os.link(file, self._directory / BASE)
        base = os.open(self._directory / BASE, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(base).st_size
        whole = About(length=size, base_size=size, shown=size, over=[])
        self._source = Laid(self._directory, os.dup(base), base, whole)
        self._expect(size)

    def _take_laid(self) -> None:
        _, directory = self._places
        source = Laid.open(directory)
        try:
            os.link(directory / BASE, self._directory / BASE)
            self._expect(source.about.length)
        except BaseException:
            source.close()
            raise
        self._source = source

    def _expect(self, found: int) -> None:
        name, size = self._places[0].name, self.plan.base_size
        if found != size:
            raise Corrupt(f"the blob {name} has {found} bytes; it was stored with {size}")

    def _copy_layer(self) -> None:
        """Take over what lies over the base already: the new bytes lie over both."""
        source = self._below()
        for start, stop in source.about.over:
            stop = min(stop, self.plan.length)
            for first, last in data_ranges(source.data, stop, start):
                copy_range(source.data, self._file, first, last)

    def _below(self) -> Laid:
        assert self._source is not None, "it has begun"
        return self._source

    def finish(self, key: str, path: Path) -> Stored:
        """Make the blob, durably; *path* is the directory of laid blobs and its name."""
        self.flush()
        self._check()
        plan, below = self.plan, self._below().about
        os.ftruncate(self._file, plan.length)
        about = About(
            length=plan.length,
            base_size=below.base_size,
            shown=min(below.shown, plan.length),
            over=without(below.over, plan.length, list(plan.extents)),
        )
        self._describe(about)
        pieces = self._hash_pieces()
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1
        sync_directory(self._directory)
        self._directory.rename(path)
        self.finished = True
        self._let_go()
        sync_directory(path.parent)
        return Stored(key, plan.length, _mark(plan, pieces), pieces)

    def _describe(self, about: About) -> None:
        write_durably(self._directory / ABOUT, msgspec.json.encode(about))

    def _hash_pieces(self) -> bytes:
        """Return the hashes of all pieces: those that stay are the base's."""
        plan = self.plan
        touched = _touched(plan)
        blob = Laid.open(self._directory)
        try:
            digests = []
            for number in range(hashed.count(plan.length)):
                start, stop = _piece(number, plan.length)
                known = hashed.digest(plan.base_pieces, number)
                if number in touched or (start, stop) != _piece(number, plan.base_size):
                    self._compare(number, known)
                    known = hashlib.sha256(blob.read(start, stop)).digest()
                digests.append(known)
            return b"".join(digests)
        finally:
            blob.close()

    def _compare(self, number: int, known: bytes) -> None:
        """Raise `Corrupt` for a damaged piece of the base: mixed with new bytes, it would pass."""
        start, stop = _piece(number, self.plan.base_size)
        if start >= stop or known == hashed.UNKNOWN:
            return
        if hashlib.sha256(self._below().read(start, stop)).digest() != known:
            name = self._places[0].name
            raise Corrupt(f"the blob {name} is damaged between {start} and {stop}")

    def abandon(self) -> None:
        """Remove the temporary."""
        self._let_go()
        super().abandon()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _let_go(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


def _piece(number: int, size: int) -> tuple[int, int]:
    """Return where a piece of *size* bytes begins and ends."""
    return number * HASHED_BYTES, min((number + 1) * HASHED_BYTES, size)


def _touched(plan: Composition) -> set[int]:
    numbers: set[int] = set()
    for offset, length in plan.extents:
        if length:
            numbers.update(range(offset // HASHED_BYTES, hashed.count(offset + length)))
    return numbers


def _mark(plan: Composition, pieces: bytes) -> str:
    unchanged = plan.length == plan.base_size and pieces == plan.base_pieces
    if plan.base_sha256 and (unchanged or (not plan.payload and plan.length == plan.base_size)):
        return plan.base_sha256
    return hashed.tree_mark(plan.length, pieces, plan.base_sha256)
