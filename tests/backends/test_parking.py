"""Small saves on a real Swift: in the catalog first, then in the container, never nowhere."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import httpx
import pytest
from support.mounts import Home
from support.scale import scaled
from support.stores import container
from support.swift import Swift

from rengafs.backends.base import Backend, Composition
from rengafs.backends.configuration import load
from rengafs.catalog.applying import Staged
from rengafs.catalog.catalog import Catalog, open_catalog
from rengafs.catalog.parking import PARKED
from rengafs.catalog.values import Actor, Blob
from rengafs.protocol.operations import Commit, MakeBucket, MakeFile
from rengafs.service.parking import SMALL_BYTES, Parking
from rengafs.service.run import ServeOptions, open_backends
from rengafs.service.settling import Settler
from rengafs.service.upkeep import check_data, sweep_data

ACTOR = Actor(1, "ada", everywhere=True)

FILE = """
default = "swift"

[backends.swift]
kind = "swift"
container = "{container}"
auth = "v1"
auth_url = "{swift.auth_url}"
user = "{swift.user}"
key = "env:TEST_SWIFT_KEY"
"""


class Place:
    """A service's data, worked on without a service."""

    def __init__(self, swift: Swift, path: Path) -> None:
        self.container = container()
        self.swift = swift
        file = path / "backends.toml"
        file.write_text(FILE.format(container=self.container, swift=swift))
        self.options = ServeOptions(listen="", data=path / "data", backends=file)
        (path / "data").mkdir()
        self.catalog: Catalog = open_catalog(
            f"sqlite:///{path / 'data' / 'catalog.sqlite'}", backends=load(file).names
        )
        (path / "data" / "README").write_text("This directory holds the data of rengafs: …\n")

    def files(self, contents: dict[str, bytes], backend: Backend) -> dict[int, bytes]:
        """Save files as the service does; return their contents by version."""
        bucket = self._made(MakeBucket(name=container(), backend="swift"))
        saved = {}
        for name, data in contents.items():
            node = self._made(MakeFile(parent=bucket, name=name))
            stored = anyio.run(backend.put, pieces(data))
            blob = Blob("swift", stored.key, stored.size, stored.sha256, data=stored.data)
            done = self.catalog.apply(ACTOR, [Staged(Commit(node=node, length=len(data)), blob)])
            version = done.outcomes[0].version
            assert version is not None
            saved[version.id] = data
        return saved

    def _made(self, operation: MakeBucket | MakeFile) -> int:
        node = self.catalog.apply(ACTOR, [Staged(operation)]).outcomes[0].node
        assert node is not None
        return node.id

    def objects(self) -> dict[str, bytes]:
        """Return what another program finds in the container."""
        with httpx.Client(timeout=240) as client:
            login = {"x-auth-user": self.swift.user, "x-auth-key": self.swift.key}
            told = client.get(self.swift.auth_url, headers=login)
            url = f"{told.headers['x-storage-url']}/{self.container}"
            client.headers["x-auth-token"] = told.headers["x-auth-token"]
            answer = client.get(url)
            names = answer.text.split() if answer.status_code == 200 else []
            return {name: client.get(f"{url}/{name}").content for name in names}

    def backends(self) -> dict[str, Backend]:
        return open_backends(self.options, self.catalog)


@pytest.fixture
def place(swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("TEST_SWIFT_KEY", swift.key)
    place = Place(swift, tmp_path)
    with closing(place.catalog):
        yield place


async def pieces(*several: bytes) -> AsyncIterator[bytes]:
    for data in several:
        yield data


async def read(backend: Backend, key: str, size: int) -> bytes:
    return b"".join([piece async for piece in backend.read(key, 0, size, size=size)])


def run(place: Place, work) -> object:
    """Carry out *work* with the backends, in one event loop."""

    async def inside() -> object:
        backends = place.backends()
        try:
            return await work(backends)
        finally:
            for backend in backends.values():
                await backend.aclose()

    return anyio.run(inside)


def test_small_blobs_reach_the_container_when_they_are_settled(place: Place) -> None:
    contents = {f"f{number}": os.urandom(4096 + number) for number in range(20)}
    saved = place.files(contents, place.backends()["swift"])
    assert place.objects() == {}
    settled = run(place, lambda backends: Settler(place.catalog, backends).settle_all())
    assert settled == 20
    assert sorted(place.objects().values()) == sorted(contents.values())

    async def contents_of(backends: dict[str, Backend]) -> dict[int, bytes]:
        found = {}
        for version in saved:
            blob = place.catalog.content(version).blob
            assert blob is not None
            found[version] = await read(backends["swift"], blob.key, blob.size)
        return found

    assert run(place, contents_of) == saved
    assert check_data(place.options, contents=True).clean


def test_a_key_from_before_settling_still_leads_to_the_bytes(place: Place) -> None:
    saved = place.files({"f": b"text"}, place.backends()["swift"])
    blob = place.catalog.content(next(iter(saved))).blob
    assert blob is not None
    assert blob.key.startswith(PARKED)

    async def work(backends: dict[str, Backend]) -> list[bytes]:
        before = await read(backends["swift"], blob.key, 4)
        await Settler(place.catalog, backends).settle_all()
        return [before, await read(backends["swift"], blob.key, 4)]

    assert run(place, work) == [b"text", b"text"]


@pytest.mark.parametrize(("size", "parked"), [(SMALL_BYTES, True), (SMALL_BYTES + 1, False)])
def test_only_small_blobs_are_parked(place: Place, size: int, parked: bool) -> None:
    data = os.urandom(size)

    async def work(backends: dict[str, Backend]) -> bool:
        stored = await backends["swift"].put(pieces(data[:1000], data[1000:]))
        assert (stored.size, stored.sha256) == (size, hashlib.sha256(data).hexdigest())
        return stored.key.startswith(PARKED) and stored.data == data

    assert run(place, work) is parked
    assert (list(place.objects().values()) == [data]) is not parked


def test_an_edit_of_a_small_blob_is_parked_wherever_its_base_is(place: Place) -> None:
    saved = place.files({"f": b"one two"}, place.backends()["swift"])
    [version] = saved

    async def edit(backends: dict[str, Backend]) -> bytes:
        blob = place.catalog.content(version).blob
        assert blob is not None
        plan = Composition(9, blob.key, 7, [(4, 5)], base_sha256=blob.sha256)
        stored = await backends["swift"].compose(plan, pieces(b"three"))
        assert stored.key.startswith(PARKED)
        return stored.data

    assert run(place, edit) == b"one three"
    run(place, lambda backends: Settler(place.catalog, backends).settle_all())
    assert run(place, edit) == b"one three"


def test_so_much_may_be_parked_that_saves_wait_for_the_store(place: Place) -> None:
    async def work(backends: dict[str, Backend]) -> str:
        parking = backends["swift"]
        assert isinstance(parking, Parking)
        parking.full = True
        return (await parking.put(pieces(b"text"))).key

    assert not str(run(place, work)).startswith(PARKED)
    assert list(place.objects().values()) == [b"text"]


def test_a_sweep_settles_first_and_removes_nothing_that_is_needed(place: Place) -> None:
    saved = place.files({"f": b"text"}, place.backends()["swift"])
    assert sweep_data(place.options, grace_seconds=0).blobs == 0
    assert list(place.objects().values()) == [b"text"]
    assert sweep_data(place.options, grace_seconds=0).blobs == 0
    assert list(place.objects().values()) == list(saved.values())


KILLED = """
import os, signal, sys
from pathlib import Path
import anyio
from sqlalchemy import Engine, event
from rengafs.backends.configuration import load
from rengafs.catalog.catalog import open_catalog
from rengafs.service.run import ServeOptions, open_backends
from rengafs.service.settling import Settler

data, file, fatal = sys.argv[1:]
steps = 0

def step(*_):
    global steps
    steps += 1
    if steps == int(fatal):
        os.kill(os.getpid(), signal.SIGKILL)

options = ServeOptions(listen="", data=Path(data), backends=Path(file))
catalog = open_catalog(f"sqlite:///{data}/catalog.sqlite", backends=load(options.backends).names)
backends = open_backends(options, catalog)
parking = backends["swift"]
put_as = parking.put_as

async def watched(key, data):
    step()
    await put_as(key, data)
    step()

parking.put_as = watched
event.listen(Engine, "before_cursor_execute", step)
event.listen(Engine, "commit", step)
event.listen(Engine, "checkin", step)
anyio.run(Settler(catalog, backends).settle_all)
"""


def test_whoever_dies_while_settling_leaves_every_byte_where_it_is_found(place: Place) -> None:
    backend = place.backends()["swift"]
    steps = [1, 6, 9, 11, 12, 14, 16, 20, 24, 28]
    for fatal in steps[:: scaled(3, 1)]:
        saved = place.files({name: os.urandom(100) for name in "abc"}, backend)
        command = [sys.executable, "-c", KILLED, str(place.options.data)]
        died = subprocess.run([*command, str(place.options.backends), str(fatal)], check=False)
        assert died.returncode in (0, -signal.SIGKILL)

        async def found(backends: dict[str, Backend], saved: dict[int, bytes] = saved) -> None:
            for version, data in saved.items():
                blob = place.catalog.content(version).blob
                assert blob is not None
                assert await read(backends["swift"], blob.key, blob.size) == data

        run(place, found)
    assert check_data(place.options, contents=True).clean


def test_two_that_settle_share_the_work(place: Place) -> None:
    contents = {f"f{number}": os.urandom(64) for number in range(140)}
    place.files(contents, place.backends()["swift"])
    counts: list[object] = []

    def settle() -> None:
        counts.append(run(place, lambda backends: Settler(place.catalog, backends).settle_all()))

    threads = [threading.Thread(target=settle) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(int, map(str, counts))) == 140
    assert sorted(place.objects().values()) == sorted(contents.values())


@pytest.mark.fuse
def test_a_service_that_ends_leaves_all_in_the_store(home: Home) -> None:
    with home.mounted("first", "--backend", "swift-here") as top:
        (top / "data").mkdir()
        for number in range(10):
            (top / "data" / f"f{number}").write_text(f"content {number}\n")
        (top / "data" / "f0").write_text("edited\n")
    # The same data under a service that has nothing in its catalog's cache.
    with home.mounted("second", "--cache-dir", str(home.path / "cache")) as top:
        assert (top / "data" / "f0").read_text() == "edited\n"
        found = {path.read_text() for path in (top / "data").iterdir()}
        assert len(found) == 10
    assert "11 blobs, 0 damaged" in home.run("check", "--contents").stdout
