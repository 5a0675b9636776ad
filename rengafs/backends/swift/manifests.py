"""Manifests of Swift's static large objects: which segments, and which ranges of them.

A blob never changes, nor do the segments that it names: a manifest that was seen is remembered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from cachetools import LRUCache

T = TypeVar("T")

NESTED = "manifest-"
"""Begins the last part of a nested manifest's name; segments have numbers there."""
REMEMBERED = 50_000
"""Entries, of all manifests that are remembered: some 16 MiB."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment, or a range of one."""

    path: str
    """``/CONTAINER/NAME``."""
    etag: str
    segment_bytes: int
    """Of the whole segment."""
    first: int
    last: int
    """The bytes that are meant; *last* is one of them."""
    nested: bool = False
    """It is a manifest itself."""

    @property
    def size(self) -> int:
        """Bytes that are meant."""
        return self.last - self.first + 1

    @property
    def whole(self) -> bool:
        """Whether all of the segment is meant."""
        return self.size == self.segment_bytes

    def named(self) -> dict[str, object]:
        """Return it as a manifest that is put names it."""
        entry: dict[str, object] = {"path": self.path, "size_bytes": self.segment_bytes}
        if self.etag:
            entry["etag"] = self.etag
        if not self.whole:
            entry["range"] = f"{self.first}-{self.last}"
        return entry


class Manifests:
    """Those seen lately, by the keys of their blobs; no entries for what is no manifest."""

    def __init__(self) -> None:
        self._known: LRUCache[str, Sequence[Entry]] = LRUCache(
            REMEMBERED, getsizeof=lambda entries: len(entries) + 1
        )

    def find(self, key: str) -> Sequence[Entry] | None:
        """Return the entries of a blob, if they are known."""
        return self._known.get(key)

    def remember(self, key: str, entries: Sequence[Entry]) -> None:
        """Take note of a blob's entries, none of them nested."""
        if len(entries) < REMEMBERED:
            self._known[key] = entries

    def forget(self, key: str) -> None:
        """Ask the store again, next time."""
        self._known.pop(key, None)


class _Raw(msgspec.Struct):
    """As a raw manifest is got: the form in which it is put, with the etags found then.

    That an entry is a manifest itself, it does not tell; but the entry's name does.
    """

    path: str
    size_bytes: int
    etag: str | None = None
    range: str | None = None


def entries_of(manifest: bytes) -> list[Entry]:
    """Return the entries of a raw manifest."""
    return _entries(msgspec.json.decode(manifest, type=list[_Raw]))


def entries_named(named: Sequence[dict[str, object]]) -> list[Entry]:
    """Return the entries of a manifest as it is put."""
    return _entries(msgspec.convert(named, type=list[_Raw]))


def _entries(manifest: Sequence["_Raw"]) -> list[Entry]:
    found = []
    for raw in manifest:
        first, last = 0, raw.size_bytes - 1
        if raw.range:
            begin, _, end = raw.range.partition("-")
            first, last = int(begin), int(end)
        nested = raw.path.rpartition("/")[2].startswith(NESTED)
        found.append(Entry(raw.path, raw.etag or "", raw.size_bytes, first, last, nested))
    return found


def cut(entries: Sequence[Entry], start: int, stop: int) -> Iterator[Entry]:
    """Yield what bytes *start* to *stop* of an object consist of."""
    offset = 0
    for entry in entries:
        first, last = max(start, offset), min(stop, offset + entry.size)
        if first < last:
            begin = entry.first + first - offset
            yield Entry(
                entry.path,
                entry.etag,
                entry.segment_bytes,
                begin,
                begin + last - first - 1,
                entry.nested,
            )
        offset += entry.size


def grouped(items: Sequence[T], count: int) -> list[Sequence[T]]:
    """Return *items* in groups of at most *count*."""
    return [items[start : start + count] for start in range(0, len(items), count)]
