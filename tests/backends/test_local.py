"""The local backend, and what is its own."""

import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import pytest
from support.backend_contract import BackendContract, Written, keys, stream, whole

from rengafs.backends.base import PIECE_BYTES, Backend, Composition
from rengafs.backends.local.backend import LocalBackend, open_local
from rengafs.protocol.errors import BackendRefused, BodyMismatch, NoSpace, SetupError, Unavailable


def path_of(backend: Backend, key: str) -> Path:
    assert isinstance(backend, LocalBackend)
    return backend._path(key)


class TestLocal(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Backend:
        return open_local(tmp_path / "blobs", owner="me")

    @pytest.fixture
    def damage(self, backend: Backend) -> Callable[[str], None]:
        def shorten(key: str) -> None:
            path = path_of(backend, key)
            path.chmod(0o600)
            os.truncate(path, path.stat().st_size - 1)

        return shorten

    def test_holes_stay_holes(self, backend: Backend) -> None:
        async def run() -> None:
            plan = Composition(length=64 << 20, extents=[(32 << 20, 1)])
            first = await backend.compose(plan, stream(b"x"))
            plan = Composition(64 << 20, first.key, first.size, [(48 << 20, 1)])
            second = await backend.compose(plan, stream(b"y"))
            await backend.draw_out(second.key)
            for stored in (first, second):
                assert path_of(backend, stored.key).stat().st_blocks * 512 < 1 << 20

        anyio.run(run)

    def test_what_is_small_is_stored_at_once(self, backend: Backend) -> None:
        async def run() -> None:
            first = backend.compose_now(Composition(length=6, extents=((0, 6),)), b"abcdef")
            assert first is not None
            plan = Composition(length=8, base=first.key, base_size=6, extents=((2, 2), (6, 2)))
            second = backend.compose_now(plan, b"CDgh")
            assert second is not None
            for stored, content in ((first, b"abcdef"), (second, b"abCDefgh")):
                assert await whole(backend, stored) == content
                assert stored.sha256 == hashlib.sha256(content).hexdigest()
            with pytest.raises(BodyMismatch):
                backend.compose_now(Composition(length=6, extents=((0, 6),)), b"abc")
            large = await backend.put(stream(bytes(PIECE_BYTES + 1)))
            plan = Composition(length=1, base=large.key, base_size=large.size)
            assert backend.compose_now(plan, b"") is None
            assert set(await keys(backend)) == {first.key, second.key, large.key}

        anyio.run(run)

    def test_a_file_on_its_disk_becomes_the_blob_itself(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        async def run() -> None:
            file = Written(tmp_path / "written", b"one", b"two")
            stored = await backend.take(file)
            status = path_of(backend, stored.key).stat()
            assert status.st_ino == os.fstat(file.descriptor).st_ino
            assert status.st_mode & 0o777 == 0o440
            file.close()

        anyio.run(run)

    def test_a_file_on_another_disk_is_copied(self, backend: Backend, small_disk: Path) -> None:
        async def run() -> None:
            data = os.urandom(3 * PIECE_BYTES)
            file = Written(small_disk / "written", data[:7], data[7:])
            stored = await backend.take(file)
            os.pwrite(file.descriptor, b"changed", 0)
            file.close()
            assert await whole(backend, stored) == data

        anyio.run(run)

    def test_a_file_that_grows_too_far_is_refused_and_stays(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        async def run() -> None:
            file = Written(tmp_path / "written", b"told", behind=b"not told")
            with pytest.raises(Unavailable):
                await backend.take(file)
            file.close()
            assert file.path.read_bytes() == b"toldnot told"
            assert await keys(backend) == []
            assert os.listdir(tmp_path / "blobs" / "tmp") == []

        anyio.run(run)

    def test_a_file_that_is_given_up_leaves_nothing(self, backend: Backend, tmp_path: Path) -> None:
        class Broken(Written):
            async def lengths(self) -> AsyncIterator[int]:
                os.write(self.descriptor, b"begun")
                yield 5
                raise BodyMismatch("the client is gone")

        async def run() -> None:
            file = Broken(tmp_path / "written")
            with pytest.raises(BodyMismatch):
                await backend.take(file)
            file.close()
            assert file.path.read_bytes() == b"begun"
            assert await keys(backend) == []
            assert os.listdir(tmp_path / "blobs" / "tmp") == []

        anyio.run(run)

    def test_a_directory_of_something_else_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("dear")
        with pytest.raises(SetupError):
            open_local(tmp_path, owner="me")

    def test_the_blobs_of_another_catalog_are_refused(self, tmp_path: Path) -> None:
        open_local(tmp_path / "blobs", owner="me")
        open_local(tmp_path / "blobs", owner="me")
        with pytest.raises(SetupError):
            open_local(tmp_path / "blobs", owner="you")

    def test_a_directory_that_cannot_be_made_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(SetupError):
            open_local(tmp_path / "file" / "blobs", owner="me")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_no_space_and_leaves_nothing(small_disk: Path) -> None:
    backend = open_local(small_disk / "blobs", owner="me")

    async def run() -> None:
        kept = await backend.put(stream(b"kept"))
        with pytest.raises(NoSpace):
            await backend.put(stream(*[os.urandom(1 << 20) for _ in range(10)]))
        assert await keys(backend) == [kept.key]
        again = await backend.put(stream(os.urandom(1 << 20)))
        assert len(await whole(backend, again)) == 1 << 20

    anyio.run(run)


def test_a_disk_that_may_not_be_written_refuses_and_is_not_tried_again(small_disk: Path) -> None:
    backend = open_local(small_disk / "blobs", owner="me")

    async def run() -> None:
        kept = await backend.put(stream(b"kept"))
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        with pytest.raises(BackendRefused, match="read-only"):
            await backend.put(stream(b"more"))
        with pytest.raises(BackendRefused):
            backend.compose_now(Composition(1, extents=((0, 1),)), b"x")
        assert await whole(backend, kept) == b"kept"

    anyio.run(run)
