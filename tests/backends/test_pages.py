"""Lists and manifests of many pages, made short so that few blobs fill several."""

import os
from collections.abc import Iterator

import anyio
import pytest
from support.backend_contract import go, in_pieces, keys, part, stream, whole
from support.proxies import Plan, proxied
from support.rgw import Gateway
from support.stores import container, s3_store, swift_store
from support.swift import Swift, swift_command

from rengafs.backends.base import HASHED_BYTES, Composition
from rengafs.backends.patience import Patience
from rengafs.backends.pieces import hash_pieces
from rengafs.backends.remote import RemoteBackend
from rengafs.backends.store import Bytes, Store, Upload
from rengafs.backends.swift.backend import SwiftStore
from rengafs.protocol.errors import Corrupt

PATIENCE = Patience(seconds=1.0, first=0.01, longest=0.05)
LISTS = r"GET /\S+\?"
X = Bytes([b"x"], hash_pieces([b"x"])[1])


class Paged:
    """A store whose pages have three items, behind a proxy."""

    def __init__(self, store: Store, plan: Plan, name: str) -> None:
        store.page_items = 3
        self.store, self.plan, self.name = store, plan, name


@pytest.fixture(params=["swift", "swift's s3", "s3"])
def paged(request: pytest.FixtureRequest) -> Iterator[Paged]:
    plan, name = Plan(), container()
    if request.param == "s3":
        gateway: Gateway = request.getfixturevalue("gateway")
        with proxied(gateway.url, plan) as url:
            store = s3_store(url, gateway.access_key, gateway.secret_key, name)
            yield Paged(store, plan, name)
        return
    swift: Swift = request.getfixturevalue("swift")
    with proxied(swift.url, plan) as url:
        if request.param == "swift":
            store = swift_store(f"{url}/auth/v1.0", swift.user, swift.key, name)
        else:
            store = s3_store(url, swift.access_key, swift.secret_key, name)
        yield Paged(store, plan, name)


def falter(plan: Plan) -> None:
    """Have every other request for a page of a list fail."""
    plan.fault, plan.method, plan.every, plan.times = "503", LISTS, 2, 10**6


def test_a_list_of_many_pages_tells_each_blob_once_however_often_a_page_fails(paged: Paged) -> None:
    backend = RemoteBackend("remote", paged.store, PATIENCE)

    async def run() -> None:
        stored = {(await backend.put(stream(b"x"))).key for _ in range(14)}
        falter(paged.plan)
        found = []
        async for listed in backend.list():
            found.append(listed.key)
            await anyio.sleep(0.1)  # all of it takes longer than the patience with any one page
        assert sorted(found) == sorted(stored)
        assert paged.plan.hit >= 4

    go(backend, run)


def test_what_others_stored_is_told_once_however_often_a_page_fails(paged: Paged) -> None:
    backend = RemoteBackend("remote", paged.store, PATIENCE)

    async def run() -> None:
        names = [f"a {number}/ü&+%.txt" for number in range(8)]
        for name in names:
            await paged.store.put(name, X)
        falter(paged.plan)
        assert [found.name async for found in backend.others(paged.name)] == sorted(names)
        assert paged.plan.hit >= 2

    go(backend, run)


def test_a_sweep_finds_uploads_on_every_page(paged: Paged) -> None:
    backend = RemoteBackend("remote", paged.store, PATIENCE)

    async def run() -> None:
        kept = await backend.put(in_pieces(bytes(3 * HASHED_BYTES)))
        for number in range(7):
            upload = Upload(f"{number}" * 32)
            await paged.store.begin(upload)
            await paged.store.send_part(upload, 0, X)
        assert await backend.sweep_temporaries(-60) == 7
        assert await backend.sweep_temporaries(-60) == 0
        assert await whole(backend, kept) == bytes(3 * HASHED_BYTES)

    go(backend, run)


def test_manifests_nest_and_are_read_composed_and_swept(swift: Swift) -> None:
    name = container()
    store = swift_store(swift.auth_url, swift.user, swift.key, name)
    assert isinstance(store, SwiftStore)
    store.page_items, store.max_entries, store.part_bytes = 3, 3, HASHED_BYTES
    backend = RemoteBackend("swift", store, PATIENCE)
    data = os.urandom(10 * HASHED_BYTES + 7)

    def segments() -> list[str]:
        return swift_command(swift, "list", f"{name}+segments").split()

    async def run() -> None:
        first = await backend.put(in_pieces(data))
        # Of 11 segments: 4 manifests above them, and 2 above those.
        assert len([name for name in segments() if "manifest" in name]) == 6
        assert await whole(backend, first) == data
        store._manifests.forget(first.key)
        at = 3 * HASHED_BYTES
        assert await part(backend, first, at - 5, at + 5) == data[at - 5 : at + 5]
        plan = Composition(
            len(data), first.key, len(data), [(at, 1)], "", first.sha256, first.pieces
        )
        second = await backend.compose(plan, stream(b"!"))
        await backend.delete(first.key)
        with pytest.raises(Corrupt):
            await whole(backend, first)
        await backend.sweep_temporaries(-60)
        assert await whole(backend, second) == data[:at] + b"!" + data[at + 1 :]
        await backend.delete(second.key)
        await backend.sweep_temporaries(-60)
        assert await keys(backend) == segments() == []

    go(backend, run)
