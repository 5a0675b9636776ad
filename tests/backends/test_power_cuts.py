"""What a power cut may take from the local backend: nothing that a call has returned for.

A disk keeps what was synced, and may lose all else. So each file is synced before it gets its
name, and each directory after a name in it was made.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.backend_contract import in_pieces, stream

from rengafs.backends.base import PIECE_BYTES, Composition
from rengafs.backends.local.backend import open_local


class Disk:
    """Records what is written, named and synced; tells what a power cut would take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unsynced: set[str] = set()
        """Files whose bytes, and directories whose names, would be lost."""
        self.renamed_unsynced: list[str] = []
        """Files that got their name before their bytes were safe."""
        self._safe: set[str] = set()
        for name, record in (
            ("mkdir", self._made),
            ("rename", self._renamed),
            ("replace", self._renamed),
            ("link", self._linked),
            ("open", self._opened),
            ("pwrite", self._written),
            ("fsync", self._synced),
        ):
            monkeypatch.setattr(os, name, self._recording(getattr(os, name), record))

    def _recording(self, call: Callable[..., Any], record: Callable[..., None]) -> Any:
        def recorded(*arguments: Any, **more: Any) -> Any:
            result = call(*arguments, **more)
            record(*arguments)
            return result

        return recorded

    def _made(self, path: Any, *_: Any) -> None:
        self.unsynced.add(os.path.dirname(os.fspath(path)))

    def _renamed(self, source: Any, target: Any) -> None:
        if os.fspath(source) not in self._safe:
            self.renamed_unsynced.append(os.fspath(target))
        self._made(target)

    def _linked(self, _: Any, target: Any) -> None:
        self._made(target)

    def _opened(self, path: Any, flags: int = 0, *_: Any) -> None:
        if flags & os.O_CREAT:
            self.unsynced.add(os.fspath(path))

    def _written(self, file: int, *_: Any) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        self.unsynced.add(path)
        self._safe.discard(path)

    def _synced(self, file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        self.unsynced.discard(path)
        self._safe.add(path)


def test_a_directory_of_blobs_survives_once_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    place = tmp_path / "data" / "blobs"
    open_local(place, owner="me")
    assert disk.unsynced == set()
    assert disk.renamed_unsynced == []


def test_blobs_survive_once_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_local(tmp_path / "blobs", owner="me")
    disk = Disk(monkeypatch)
    # Temporaries may be lost, and so may the names of those that are blobs by now.
    passing = {str(tmp_path / "blobs" / "tmp")}

    def safe() -> None:
        left = {path for path in disk.unsynced if not path.startswith(tuple(passing))}
        assert left == set()
        assert disk.renamed_unsynced == []

    async def run() -> None:
        base = await backend.put(in_pieces(bytes(64 * PIECE_BYTES)))
        safe()
        assert backend.compose_now(Composition(1, extents=((0, 1),)), b"x") is not None
        safe()
        plan = Composition(base.size, base.key, base.size, [(5, 1)], "", base.sha256, base.pieces)
        laid = await backend.compose(plan, stream(b"x"))
        safe()
        await backend.draw_out(laid.key)
        safe()

    anyio.run(run)
