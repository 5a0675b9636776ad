"""What is put around any backend: tries again, limits, a log."""

import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from support.backend_contract import BackendContract, part, stream, whole
from support.stores import QUICK

from rengafs.backends.base import PIECE_BYTES, Backend, Composition, Stored
from rengafs.backends.local.backend import LocalBackend, open_local
from rengafs.backends.wrapping import Limited, Logged, Persistent, Wrapper, wrapped
from rengafs.protocol.errors import Unavailable

BOUND_SECONDS = 30


def calls(kind: type) -> set[str]:
    """The public methods that a class itself defines."""
    return {name for name, _ in inspect.getmembers(kind, callable) if name in vars(kind)} - {
        name for name in vars(kind) if name.startswith("_")
    }


@pytest.fixture
def local(tmp_path: Path) -> LocalBackend:
    return open_local(tmp_path / "blobs", owner="me")


class TestWrappedLocal(BackendContract):
    """The suite, through all wrappers: whatever a backend is, they change nothing."""

    @pytest.fixture
    def backend(self, local: LocalBackend) -> Backend:
        return Logged(Limited(Persistent(local, QUICK)))

    @pytest.fixture
    def damage(self, local: LocalBackend):
        def shorten(key: str) -> None:
            path = local.file_of(key)
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data[:-1])

        return shorten


def test_a_wrapper_hands_every_call_on() -> None:
    assert calls(Backend) - calls(Wrapper) == set()


def test_what_only_a_local_backend_does_is_done_through_wrappers(local: LocalBackend) -> None:
    backend = Logged(Limited(Persistent(local, QUICK)))

    async def run() -> None:
        now = backend.compose_now(Composition(3, extents=((0, 3),)), b"now")
        assert now is not None
        path = backend.file_of(now.key)
        assert path is not None
        assert path.read_bytes() == b"now"
        long = await backend.put(stream(*[bytes(PIECE_BYTES)] * 64))
        plan = Composition(long.size, long.key, long.size, [(5, 1)], "", long.sha256, long.pieces)
        laid = await backend.compose(plan, stream(b"x"))
        if await backend.waiting(-60):  # no file system that shares blocks
            assert await backend.waiting(-60) == [laid.key]
            await backend.draw_out(laid.key)
        assert await backend.waiting(-60) == []
        assert await part(backend, laid, 4, 7) == b"\0x\0"

    anyio.run(run)


def test_the_log_tells_what_failed_on_a_local_disk(
    local: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    (local.file_of("00" * 16).parent).rmdir()  # somebody removed one of its directories
    backend = wrapped(local)
    plan = Composition(1, extents=((0, 1),))

    def store_all() -> None:
        for _ in range(10_000):
            backend.compose_now(plan, b"x")

    async def run() -> None:
        with pytest.raises(Unavailable):  # sooner or later: keys are spread by chance
            store_all()

    with caplog.at_level(logging.WARNING):
        anyio.run(run)
    assert "backend local: compose" in caplog.text


def test_clients_that_take_their_time_keep_nobody_from_the_store(local: LocalBackend) -> None:
    backend = Limited(local, turns=1)
    go_on = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield bytes(2 * PIECE_BYTES)
        await go_on.wait()
        yield b"end"

    stored: list[Stored] = []

    async def send() -> None:
        stored.append(await backend.put(slow()))

    async def compose() -> None:
        plan = Composition(2 * PIECE_BYTES + 3, extents=[(0, 2 * PIECE_BYTES + 3)])
        stored.append(await backend.compose(plan, slow()))

    async def take(one: Stored) -> None:
        async with aclosing(backend.read(one.key, 0, one.size, size=one.size)) as pieces:
            got = [await anext(pieces)]
            await go_on.wait()
            got += [piece async for piece in pieces]
            assert b"".join(got) == bytes(one.size)

    async def run() -> None:
        one = await backend.put(stream(bytes(2 * PIECE_BYTES)))
        with anyio.fail_after(BOUND_SECONDS):
            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(send)
                    group.start_soon(compose)
                    group.start_soon(take, one)
                for _ in range(3):
                    other = await backend.put(stream(b"quick"))
                    assert await whole(backend, other) == b"quick"
                assert stored == []
                go_on.set()
        assert len(stored) == 6
        for each in stored:
            assert await whole(backend, each) == bytes(2 * PIECE_BYTES) + b"end"

    anyio.run(run)


def test_transfers_are_bounded_and_each_ends_with_its_place(
    local: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rengafs.backends.wrapping.BEGIN_SECONDS", 0.2)
    backend = Limited(local, transfers=2, turns=2)

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await anyio.sleep_forever()

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionError

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(backend.put, endless())
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Unavailable, match="busy"):
                await backend.put(stream(b"x"))
            group.cancel_scope.cancel()
        for _ in range(5):
            with pytest.raises(ConnectionError):
                await backend.put(broken())
        stored = await backend.put(stream(bytes(3 * PIECE_BYTES)))
        for _ in range(5):
            async with aclosing(backend.read(stored.key, 0, stored.size, size=stored.size)) as read:
                await anext(read)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(backend.put, stream(b"x"))

    anyio.run(run)
