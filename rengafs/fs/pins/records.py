"""Pins on disk. Everything here blocks; commands and mounts share it.

    STATE / pins / ID / pin.json       a `Pin`: what was asked for; written once
                        state.json     a `PinState`: how far a mount is with it
                        tree.msgpack   a `Tree`: names and attributes, to be shown without a service

Each file is replaced by a rename, so that whoever reads sees a whole one. A pin is let go by
removing its directory. The bytes are in the block cache, whose eviction reads from there which
versions are pinned.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

from rengafs.protocol.records import Label, Node, Version

PIN, STATE, TREE = "pin.json", "state.json", "tree.msgpack"

KEPT, FETCHING, WAITING = "kept", "fetching", "waiting"
REFUSED, INCOMPLETE, GONE = "refused", "incomplete", "gone"

T = TypeVar("T")


class Served(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which service a mount is of, as it tells commands."""

    catalog: str
    user: str
    cache: str
    """The directory of its block cache."""
    pins: bool = False
    """Whether it looks after pins."""
    away_ms: int = 0
    """Since when its service is away, in milliseconds since 1970; 0: it is there."""


class Pin(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is to be kept."""

    id: str
    catalog: str
    user: str
    endpoint: str
    cache: str
    """The directory of the block cache."""
    host: str = ""
    """The machine, as the service is told."""
    path: str
    """``bucket/dir/file``, shown names."""
    when: str = ""
    """The moment, label or save, as it was written; empty: the path as it is at any time."""
    at: int | None = None
    """The change that *when* stands for."""
    at_ms: int | None = None
    """The moment that *when* names; None for a label."""
    version: int | None = None
    """One save of the file, and nothing else."""
    created_ms: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it is kept current."""
        return self.at is None and self.version is None

    @property
    def name(self) -> str:
        """How it is called where people read it."""
        return f"{self.path}@{self.when}" if self.when else self.path


class PinState(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How far a mount is with a pin."""

    state: str = WAITING
    """``waiting`` (for a mount), ``fetching``, ``kept``; ``incomplete``, ``refused`` or ``gone``
    (nothing is at that path now), each for what *problem* says."""
    files: int = 0
    bytes: int = 0
    """Of their versions."""
    fetched: int = 0
    """Bytes that are at hand."""
    in_place: bool = False
    """The blobs are on this machine anyway, and not copied."""
    problem: str = ""
    change: int = 0
    """As of which change it is whole."""
    held_ms: int = 0
    """When the service was last told that the versions are needed."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A name in a directory."""

    parent: int
    name: str
    node: Node


class Tree(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Names and attributes that a pin keeps."""

    root: Node
    live: list[Row] = []
    """As of now: what leads to the pin and, of one that is kept current, what is in it."""
    whole: list[int] = []
    """Directories of *live* all whose names are there."""
    at: int = 0
    """Of a pin of a moment: its change, and what was there then."""
    at_ms: int | None = None
    past: list[Row] = []
    past_whole: list[int] = []
    label: Label | None = None
    directory: int = 0
    """Of a pin of a save: where its name is, or was."""
    name: str = ""
    save: Version | None = None

    def versions(self, pin: Pin) -> dict[int, tuple[int, str]]:
        """Return size and hash of the versions that the pin covers, by id."""
        if self.save is not None:
            return {self.save.id: (self.save.size, self.save.sha256)}
        inside = set(self.whole if pin.is_live else self.past_whole)
        rows = self.live if pin.is_live else self.past
        found = {
            row.node.version: (row.node.size, row.node.sha256)
            for row in rows
            if row.node.version is not None and (row.parent in inside or not inside)
        }
        return {version: about for version, about in found.items() if version is not None}


def directory_of(state: Path) -> Path:
    """Return where the pins are, below the directory for state."""
    return state / "pins"


def read_pins(pins: Path) -> list[Pin]:
    """Return all pins, eldest first."""
    found = [_read(path / PIN, Pin) for path in _directories(pins)]
    return sorted((pin for pin in found if pin), key=lambda pin: (pin.created_ms, pin.id))


def read_state(pins: Path, pin: str) -> PinState:
    """Return how far a pin is."""
    return _read(pins / pin / STATE, PinState) or PinState()


def read_tree(pins: Path, pin: str) -> Tree | None:
    """Return the names and attributes of a pin, if a mount has written them."""
    try:
        return msgspec.msgpack.decode((pins / pin / TREE).read_bytes(), type=Tree)
    except (OSError, msgspec.DecodeError):
        return None


def write_pin(pins: Path, pin: Pin) -> None:
    """Put a pin there, whole at once."""
    pins.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = pins / f".{pin.id}"
    temporary.mkdir(mode=0o700)
    (temporary / PIN).write_bytes(msgspec.json.encode(pin))
    temporary.rename(pins / pin.id)


def write_state(pins: Path, pin: str, state: PinState) -> None:
    """Tell how far a pin is. Raises FileNotFoundError if it was let go."""
    replace_file(pins / pin / STATE, msgspec.json.encode(state))


def write_tree(pins: Path, pin: str, tree: Tree) -> None:
    """Keep names and attributes of a pin. Raises FileNotFoundError if it was let go."""
    replace_file(pins / pin / TREE, msgspec.msgpack.encode(tree))


def remove_pin(pins: Path, pin: str) -> None:
    """Let a pin go."""
    aside = pins / f".{pin}.{uuid.uuid4().hex}"
    with suppress(FileNotFoundError):
        (pins / pin).rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def shared_name(catalog: str, user: str, cache: str, suffix: str) -> str:
    """Return the name of a file that the mounts of one service, user and cache share."""
    named = blake2b(f"{catalog}\0{user}\0{cache}".encode(), digest_size=8).hexdigest()
    return named + suffix


def _directories(pins: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (
            Path(entry.path)
            for entry in os.scandir(pins)
            if entry.is_dir() and not entry.name.startswith(".")
        )


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that whoever reads it sees whole, as it was or as it is."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_bytes(content)
        temporary.rename(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
