"""Laid blobs: one byte changed in a large file, without a copy of the file. Everything blocks.

Where the file system can't share blocks, a version of 1 GiB in which one byte is new would
cost a copy of 1 GiB before it is acknowledged. So it is laid over its base first, and drawn
out to a file of its own, like any other blob's, once there is time for it:

    laid/KEY/data       as long as the blob; holes where the base shows through
             base       a hard link to the base's file: it stays, whatever becomes of its blob
             about.json an `About`: which bytes of `data` count

The directory is made as a temporary and renamed when all of it is durable. Drawing out fills
the holes of `data` and renames it to where blobs are: what was read before is read after. It
may end at any point and be begun anew, by several processes at once.
"""

import contextlib
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rengafs.backends.base import Extent
from rengafs.backends.local.drawing import data_ranges, sync_directory
from rengafs.protocol.errors import Corrupt

DATA, BASE, ABOUT = "data", "base", "about.json"
STEP_BYTES = 32 << 20
"""Copied at a time: whoever waits for the end of a step does not wait long."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a laid blob consists of."""

    length: int
    base_size: int
    shown: int
    """So many bytes of the base show, where nothing lies over them; behind are zeros."""
    over: list[tuple[int, int]]
    """(start, stop) of what counts of `data`: ascending, apart from each other."""


class Laid:
    """A laid blob that is open. As a blob it is immutable; so is what it reads as."""

    def __init__(self, directory: Path, data: int, base: int, about: About) -> None:
        self.directory = directory
        self.data = data
        self.base = base
        self.about = about
        self._starts = [start for start, _ in about.over]

    @classmethod
    def open(cls, directory: Path, *, to_draw: bool = False) -> "Laid":
        """Open. Raises FileNotFoundError if it is not there, or no longer; `Corrupt`."""
        mode = os.O_RDWR if to_draw else os.O_RDONLY
        data = os.open(directory / DATA, mode | os.O_CLOEXEC)
        base = -1
        try:
            base = os.open(directory / BASE, os.O_RDONLY | os.O_CLOEXEC)
            try:
                about = msgspec.json.decode((directory / ABOUT).read_bytes(), type=About)
            except msgspec.DecodeError as error:
                raise Corrupt(f"{directory / ABOUT} can't be read: {error}") from error
            _check(directory.name, data, base, about)
            return cls(directory, data, base, about)
        except BaseException:
            os.close(data)
            if base >= 0:
                os.close(base)
            raise

    def close(self) -> None:
        """Close."""
        os.close(self.data)
        os.close(self.base)

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes *start* to *stop* (excluded), which are within its length."""
        about = self.about
        content = bytearray(stop - start)
        position = start
        for first, last in self._over(start, stop):
            self._show(content, start, position, min(first, about.shown))
            _fill(self.data, content, start, first, last)
            position = last
        self._show(content, start, position, min(stop, about.shown))
        return bytes(content)

    def _show(self, content: bytearray, offset: int, start: int, stop: int) -> None:
        if start < stop:
            _fill(self.base, content, offset, start, stop)

    def _over(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        index = max(bisect_right(self._starts, start) - 1, 0)
        for first, last in self.about.over[index:]:
            if first >= stop:
                return
            if last > start:
                yield max(first, start), min(last, stop)

    def draw_out(self, path: Path) -> Iterator[None]:
        """Become the file *path*; each step copies some of the base. Durable at the end."""
        for start, stop in self._holes():
            while start < stop:
                count = min(STEP_BYTES, stop - start)
                copied = os.copy_file_range(self.base, self.data, count, start, start)
                if not copied:
                    raise Corrupt(f"the base of the blob {path.name} ended early")
                start += copied
                yield
        os.fchmod(self.data, 0o440)
        os.fsync(self.data)
        # Another process may have been quicker, or the blob has been deleted.
        with contextlib.suppress(FileNotFoundError):
            (self.directory / DATA).rename(path)
        sync_directory(path.parent)
        clear(self.directory)

    def _holes(self) -> Iterator[tuple[int, int]]:
        """Yield what is to be copied of the base; its own holes stay holes."""
        position, shown = 0, self.about.shown
        for first, last in [*self.about.over, (shown, shown)]:
            stop = min(first, shown)
            if position < stop:
                yield from data_ranges(self.base, stop, position)
            position = max(position, last)


def clear(directory: Path) -> None:
    """Remove what is left of a laid blob that was drawn out."""
    if not (directory / DATA).exists():
        shutil.rmtree(directory, ignore_errors=True)


def without(over: list[tuple[int, int]], length: int, extents: list[Extent]) -> list[Extent]:
    """Return (start, stop) of *over* within *length*, joined with *extents* (offset, length)."""
    ranges = [(start, min(stop, length)) for start, stop in over if start < length]
    ranges += [(offset, offset + count) for offset, count in extents if count]
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _check(key: str, data: int, base: int, about: About) -> None:
    sizes = os.fstat(data).st_size, os.fstat(base).st_size
    if sizes != (about.length, about.base_size):
        raise Corrupt(
            f"the laid blob {key} has files of {sizes} bytes, not of those it was made of"
        )


def _fill(file: int, content: bytearray, offset: int, start: int, stop: int) -> None:
    with memoryview(content) as view:
        while start < stop:
            count = os.preadv(file, [view[start - offset : stop - offset]], start)
            if not count:
                raise Corrupt("a part of a laid blob ended early")
            start += count
