"""What is Swift's own: segments that go, listings that lag, tokens, connections that break."""

import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import anyio
import pytest
from support.backend_contract import go, in_pieces, part, stream, whole
from support.faulty import faulty, silence
from support.mounts import Home
from support.proxies import Plan, proxied
from support.storehome import configured
from support.stores import backend_of, container, swift_store
from support.swift import Swift, swift_command

from rengafs.backends.base import HASHED_BYTES, Composition, Stored
from rengafs.backends.foreign import Foreign
from rengafs.backends.patience import Patience
from rengafs.backends.remote import RemoteBackend
from rengafs.backends.sending import Body
from rengafs.backends.store import Upload
from rengafs.backends.swift.backend import SwiftStore
from rengafs.protocol.errors import Corrupt, Unavailable

MIB = 1 << 20
SOON_SECONDS = 30
LONG = Patience(seconds=300)
"""Whoever tries again is found out by the bound of the test."""


@pytest.fixture
def name() -> str:
    return container()


def opened(swift: Swift, name: str) -> SwiftStore:
    store = swift_store(swift.auth_url, swift.user, swift.key, name)
    assert isinstance(store, SwiftStore)
    return store


def edit(base: Stored, at: int) -> Composition:
    return Composition(base.size, base.key, base.size, [(at, 1)], "", base.sha256, base.pieces)


async def lose(store: SwiftStore, segment: str) -> None:
    await store._account.delete(store._segments, segment)


async def alter(store: SwiftStore, segment: str) -> None:
    await store._account.put(store._segments, segment, {}, Body([os.urandom(16 * MIB)]))


@pytest.mark.parametrize("harm", [lose, alter])
def test_a_segment_that_is_not_what_it_was_is_told_at_once(
    swift: Swift, name: str, harm: Callable[[SwiftStore, str], Awaitable[None]]
) -> None:
    store = opened(swift, name)
    backend = RemoteBackend("swift", store, LONG)

    async def run() -> None:
        data = os.urandom(40 * MIB)
        stored = await backend.put(in_pieces(data))
        await harm(store, f"{stored.key}/{1:08}")
        with anyio.fail_after(SOON_SECONDS):
            # From before, in it, and as a base of which it is kept.
            read = backend.steadily(stored.key, 0, stored.size, stored.size)
            with pytest.raises(Corrupt):
                assert b"".join([piece async for piece in read]) == data
            with pytest.raises(Corrupt):
                await part(backend, stored, 17 * MIB, 18 * MIB)
            with pytest.raises(Corrupt):
                await backend.compose(edit(stored, 0), stream(b"x"))

    go(backend, run)


@pytest.mark.parametrize("taken", [MIB, 16 * MIB - 100, 17 * MIB, 32 * MIB])
def test_whoever_stops_reading_leaves_no_answer_behind(swift: Swift, name: str, taken: int) -> None:
    """Also where the next segment was asked for already."""
    store = opened(swift, name)
    backend = RemoteBackend("swift", store, LONG)

    async def run() -> None:
        data = os.urandom(40 * MIB)
        stored = await backend.put(in_pieces(data))
        assert await part(backend, stored, 5, 40 * MIB - 7) == data[5:-7]
        seen = b""
        async with aclosing(backend.read(stored.key, 0, stored.size, size=stored.size)) as read:
            async for piece in read:
                seen += piece
                if len(seen) >= taken:
                    break
        assert seen == data[: len(seen)]
        assert store._asker._session is not None
        connector = store._asker._session.connector
        assert connector is not None
        assert not connector._acquired

    go(backend, run)


def hiding(store: SwiftStore, hidden: set[str]) -> None:
    """Let listings lag behind: no test can have a real one do so in time."""
    listing = store._account.listing

    async def lagging(container: str, *more: Any, **most: Any) -> AsyncIterator[dict[str, Any]]:
        async for item in listing(container, *more, **most):
            if container != store._container or item["name"] not in hidden:
                yield item

    store._account.listing = lagging  # type: ignore[method-assign, assignment]


async def these(*keys: str) -> Sequence[str]:
    return keys


def test_what_a_listing_does_not_show_yet_keeps_its_segments(swift: Swift, name: str) -> None:
    store = opened(swift, name)
    backend = RemoteBackend("swift", store)

    async def run() -> None:
        data = os.urandom(40 * MIB)
        base = await backend.put(in_pieces(data))
        edited = await backend.compose(edit(base, 0), stream(b"x"))
        await backend.delete(base.key)
        hiding(store, {edited.key})
        # Its second and third are the base's; the base's first is nobody's.
        assert await backend.sweep_temporaries(-60, partial(these, edited.key)) == 0
        assert await whole(backend, edited) == b"x" + data[1:]

    go(backend, run)


def test_while_a_known_manifest_can_not_be_read_no_segment_goes(
    swift: Swift, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(swift, name)
    backend = RemoteBackend("swift", store)

    async def run() -> None:
        stored = await backend.put(in_pieces(os.urandom(20 * MIB)))
        await backend.delete(stored.key)
        assert await backend.sweep_temporaries(-60, partial(these, stored.key)) == 0
        assert stored.key in caplog.text
        assert await backend.sweep_temporaries(-60) == 2

    go(backend, run)


def test_a_base_that_others_change_meanwhile_is_not_copied(swift: Swift, name: str) -> None:
    store = opened(swift, name)
    theirs = container()

    async def run() -> None:
        await store._account.put(theirs, "it", {}, Body([bytes(20 * MIB)]))
        found = [item async for item in store.others(theirs)]
        base = Foreign(theirs, "it", "", found[0].etag).key
        upload = Upload("new", base=base, base_size=20 * MIB)
        await store.begin(upload)
        assert (await store.copy_part(upload, 0, 0, HASHED_BYTES)).size == HASHED_BYTES
        await store._account.put(theirs, "it", {}, Body([os.urandom(20 * MIB)]))
        with pytest.raises(Corrupt):
            await store.copy_part(upload, 1, HASHED_BYTES, 2 * HASHED_BYTES)
        await store.aclose()

    anyio.run(run)


def test_a_container_is_found_over_several_pages_of_its_listing(
    swift: Swift, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rengafs.backends.swift.account.PAGE", 3)
    swift_command(swift, "post", name, "-H", "X-Versions-Enabled:true")
    store = opened(swift, name)

    async def run() -> None:
        for version in range(4):
            for number in range(4):
                await store._account.put(name, f"f{number}", {}, b"x" * (version + 1))
        found = [(item.name, item.size) async for item in store.others(name)]
        assert found == [(f"f{n}", size) for n in range(4) for size in (4, 3, 2, 1)]
        await store.aclose()

    anyio.run(run)


def test_all_who_need_a_token_share_one_attempt() -> None:
    with faulty(silence) as server:
        store = swift_store(f"{server.address}/auth/v1.0", "me", "key", read_seconds=0.5)

        async def one() -> None:
            with pytest.raises(Unavailable):
                await store.space()

        async def run() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(20):
                    group.start_soon(one)
            await store.aclose()

        anyio.run(run)
        assert len(server.seen) == 1


def test_one_who_stops_waiting_for_a_token_does_not_stop_the_others(swift: Swift) -> None:
    store = opened(swift, container())

    async def run() -> None:
        scope, answers = anyio.CancelScope(), []

        async def patient() -> None:
            answers.append(await store.space())

        async def impatient() -> None:
            with scope:
                await store.space()

        async with anyio.create_task_group() as group:
            group.start_soon(impatient)
            group.start_soon(patient)
            while store._entrance._entering is None:
                await anyio.sleep(0)
            scope.cancel()
        assert scope.cancelled_caught
        assert len(answers) == 1
        await store.aclose()

    anyio.run(run)


def test_a_link_that_is_cut_again_and_again_brings_a_blob_in_the_end(
    swift: Swift, name: str
) -> None:
    plan = Plan()
    with proxied(swift.url, plan) as url:
        backend = backend_of(swift_store(f"{url}/auth/v1.0", swift.user, swift.key, name), "swift")

        async def run() -> None:
            data = os.urandom(400_000)
            stored = await backend.put(stream(data))
            plan.fault, plan.method, plan.after_bytes, plan.times = "cut answer", "GET", 100_000, 99
            assert await whole(backend, stored) == data
            assert plan.hit >= 4

        go(backend, run)


@pytest.mark.fuse
def test_a_lost_segment_is_an_error_soon_and_a_check_tells_it_and_goes_on(
    home: Home, swift: Swift
) -> None:
    data = os.urandom(40 * MIB)
    with home.mounted("top", "--backend", "swift-here") as top:
        (top / "data").mkdir()
        (top / "data/long").write_bytes(data)
        (top / "data/other").write_bytes(data[: 20 * MIB])
    segments = f"{configured(home, 'swift-here', 'container')}+segments"
    keys = sorted(name for name in swift_command(swift, "list", segments).split())
    swift_command(swift, "delete", segments, keys[1])
    with home.mounted("other", "--cache-dir", str(home.path / "cache")) as top:
        paths = [top / "data/long", top / "data/other"]
        read = [
            subprocess.run(["cat", path], capture_output=True, check=False, timeout=SOON_SECONDS)
            for path in paths
        ]
        assert sorted(done.returncode for done in read) == [0, 1]
        (failed,) = [done for done in read if done.returncode]
        assert b"Input/output error" in failed.stderr
    checked = home.run("check", "--contents", check=False)
    assert checked.returncode == 1
    assert "2 blobs, 1 damaged" in checked.stdout
    assert keys[1].partition("/")[0] in checked.stdout + checked.stderr
