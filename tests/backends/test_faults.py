"""What a store, or the way to it, may do wrong: never short or wrong bytes, never a hang."""

import gc
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial

import anyio
import pytest
from support.backend_contract import go, in_pieces, keys, stream, whole
from support.proxies import Fault, Plan, proxied
from support.rgw import Gateway
from support.scale import scaled
from support.stores import QUICK, backend_of, container, s3_store, swift_store
from support.swift import Swift

from rengafs.backends.base import HASHED_BYTES, Backend, Composition
from rengafs.backends.patience import Patience
from rengafs.backends.remote import RemoteBackend
from rengafs.backends.store import Store
from rengafs.backends.swift.access import AuthV1, KeystoneV3
from rengafs.protocol.errors import BackendRefused, NoSpace, RengafsError, Unavailable

FAULTS: list[Fault] = ["refuse", "cut request", "cut head", "cut answer", "503", "delay"]
LASTING: list[Fault] = ["refuse", "cut request", "cut head", "cut answer", "503"]
POINTS = scaled([0, 100_000], [0, 1, 1000, 100_000, 1 << 20, (8 << 20) - 1, 8 << 20])
LENGTHS = scaled([100, 20 << 20], [0, 100, 8 << 20, (16 << 20) + 1, 40 << 20])
BOUND_SECONDS = 30
"""Patience of the tests' backends, and one silence of the store."""


class Through:
    """A store behind a proxy."""

    def __init__(
        self, kind: str, plan: Plan, open_: Callable[..., Store], direct: Callable[[], Store]
    ) -> None:
        self.kind = kind
        self.plan = plan
        self.open, self.direct = open_, direct


@pytest.fixture(params=["swift", "s3"])
def through(request: pytest.FixtureRequest) -> Iterator[Through]:
    plan, name = Plan(), container()
    if request.param == "swift":
        server: Swift = request.getfixturevalue("swift")
        with proxied(server.url, plan) as url:
            # The storage URL comes with the token, and is made of the address asked: the proxy's.
            yield Through(
                "swift",
                plan,
                partial(swift_store, f"{url}/auth/v1.0", server.user, server.key, name),
                lambda: swift_store(server.auth_url, server.user, server.key, name),
            )
        return
    gateway: Gateway = request.getfixturevalue("gateway")
    with proxied(gateway.url, plan) as url:
        yield Through(
            "s3",
            plan,
            partial(s3_store, url, gateway.access_key, gateway.secret_key, name),
            lambda: s3_store(gateway.url, gateway.access_key, gateway.secret_key, name),
        )


def requests_of(kind: str, call: str, length: int) -> list[str]:
    """The methods of the requests that a call sends."""
    if call in ("read", "delete"):
        return {"read": ["GET"], "delete": ["DELETE"]}[call]
    looks = scaled([], ["HEAD"])  # before a composition; at the end of a long blob
    if call == "compose":
        return ["PUT", "GET", *looks] + (["POST"] if kind == "s3" else [])
    long = kind == "s3" and length > HASHED_BYTES
    return ["PUT", "POST", *looks] if long else ["PUT"]


def lengths_of(call: str) -> list[int]:
    if call == "compose":
        return [length for length in LENGTHS if length > 16 << 20]
    if call == "put":
        return LENGTHS
    return scaled([20 << 20] if call == "read" else [100], [length for length in LENGTHS if length])


def points_of(fault: Fault, call: str) -> list[int]:
    if fault not in ("cut request", "cut answer"):
        return [0]
    return scaled(POINTS if call == "put" else POINTS[-1:], POINTS)


@pytest.mark.parametrize("call", ["put", "read", "compose", "delete"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_at_any_point_is_mended(through: Through, fault: Fault, call: str) -> None:
    backend = backend_of(through.open(), "remote")
    plan = through.plan
    plan.delay_seconds = 0.5

    async def run() -> None:
        for length in lengths_of(call):
            data = os.urandom(length)
            for method in requests_of(through.kind, call, length):
                for point in points_of(fault, call):
                    await one(data, method, point)

    async def one(data: bytes, method: str, point: int) -> None:
        stored = None if call == "put" else await backend.put(in_pieces(data))
        _arm(plan, fault, method, point)
        if stored is None:
            stored = await backend.put(in_pieces(data))
            assert stored.sha256 == hashlib.sha256(data).hexdigest()
        elif call == "compose":
            change = Composition(
                len(data), stored.key, len(data), [(5, 1)], "", stored.sha256, stored.pieces
            )
            stored = await backend.compose(change, stream(b"x"))
            data = data[:5] + b"x" + data[6:]
        elif call == "delete":
            await backend.delete(stored.key)
        read = b"" if call == "delete" else await whole(backend, stored)
        assert plan.hit == 1
        assert read == (b"" if call == "delete" else data)
        assert (stored.key in await keys(backend)) == (call != "delete")
        await backend.delete(stored.key)

    go(backend, run)


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_is_an_error_and_leaves_nothing_that_sweep_does_not_find(
    through: Through, fault: Fault, method: str
) -> None:
    backend = backend_of(through.open(), "remote")
    direct = backend_of(through.direct(), "remote")

    async def run() -> None:
        first = await direct.put(in_pieces(b"there"))
        for length in (100, 20 << 20):
            data = os.urandom(length)
            # An answer to PUT is short: it is cut at once.
            _arm(through.plan, fault, method, 1000 if "request" in fault else 0, times=10**6)
            began = time.monotonic()
            if method == "PUT":
                with pytest.raises(Unavailable):
                    await backend.put(in_pieces(data))
            else:
                _arm(through.plan, "none", "", 0)
                stored = await backend.put(in_pieces(data))
                # Any byte that comes through would be progress.
                _arm(through.plan, fault, method, 0, times=10**6)
                with pytest.raises(Unavailable):
                    await whole(backend, stored)
            assert time.monotonic() - began < BOUND_SECONDS
            assert through.plan.hit
            _arm(through.plan, "none", "", 0)
        for key in await keys(direct):
            if key != first.key:
                await direct.delete(key)
        await direct.sweep_temporaries(-60)
        assert await keys(direct) == [first.key]
        assert await direct.sweep_temporaries(-60) == 0
        await direct.aclose()

    go(backend, run)


def test_one_byte_of_a_long_blob_moves_little(through: Through) -> None:
    backend = backend_of(through.open(), "remote")
    length = scaled(64 << 20, 6 << 30)

    async def run() -> None:
        stored = await backend.put(_zeros(length))
        assert stored.size == length
        through.plan.passed = 0
        plan = Composition(
            length, stored.key, length, [(length // 2, 1)], "", stored.sha256, stored.pieces
        )
        edited = await backend.compose(plan, stream(b"x"))
        assert through.plan.passed < 32 << 20
        middle = length // 2
        pieces = backend.read(edited.key, middle - 1, middle + 2, size=length)
        assert b"".join([piece async for piece in pieces]) == b"\0x\0"

    go(backend, run)


async def _zeros(length: int) -> AsyncIterator[bytes]:
    piece = bytes(1 << 20)
    for _ in range(length >> 20):
        yield piece


def _arm(plan: Plan, fault: Fault, method: str, after: int, times: int = 1) -> None:
    with plan.lock:
        plan.fault, plan.method, plan.after_bytes = fault, method, after
        plan.times, plan.seen, plan.hit = times, 0, 0


@pytest.mark.parametrize(("length", "after"), [(1, 0), (20 << 20, 0), (20 << 20, 100_000)])
def test_a_store_that_falls_silent_is_given_up(through: Through, length: int, after: int) -> None:
    direct = backend_of(through.direct(), "direct")
    go(direct, lambda: _stored(direct, length))
    store = through.open(read_seconds=1)
    backend = RemoteBackend("remote", store, Patience(seconds=1, first=0.1))

    async def run() -> None:
        _arm(through.plan, "silence", "PUT", after, times=10**6)
        with anyio.fail_after(BOUND_SECONDS), pytest.raises(Unavailable):
            await backend.put(in_pieces(bytes(length)))
        assert through.plan.hit

    go(backend, run)
    gc.collect()  # a connection that is left open is told here, not in another test


def test_a_store_that_falls_silent_in_the_middle_of_an_answer_is_asked_again(
    through: Through,
) -> None:
    backend = backend_of(through.open(read_seconds=1), "remote")
    data = os.urandom(3 << 20)

    async def run() -> None:
        stored = await backend.put(in_pieces(data))
        _arm(through.plan, "silent answer", "GET", 100_000)
        assert await whole(backend, stored) == data
        assert through.plan.hit == 1
        _arm(through.plan, "silent answer", "GET", 0, times=10**6)
        with anyio.fail_after(BOUND_SECONDS), pytest.raises(Unavailable):
            await whole(backend, stored)
        assert through.plan.hit > 1

    go(backend, run)


async def _stored(backend: Backend, length: int) -> None:
    """Have what is made with the first blob: the containers."""
    await backend.put(in_pieces(bytes(length)))


def told(store: Store, kind: type[RengafsError]) -> None:
    backend = RemoteBackend("remote", store, QUICK)

    async def run() -> None:
        with pytest.raises(kind):
            await backend.put(stream(b"x"))
        with pytest.raises(kind):
            await backend.space()

    go(backend, run)


def test_a_wrong_key_is_refused(swift: Swift, gateway: Gateway) -> None:
    told(swift_store(swift.auth_url, swift.user, "wrong"), BackendRefused)
    told(s3_store(gateway.url, gateway.access_key, "wrong"), BackendRefused)
    told(s3_store(gateway.url, "nobody", "wrong"), BackendRefused)


def test_a_store_that_is_not_there_is_unavailable() -> None:
    told(swift_store("http://127.0.0.1:9/auth/v1.0", "a", "b"), Unavailable)
    told(s3_store("http://127.0.0.1:9", "a", "b"), Unavailable)


def test_a_quota_that_is_used_up_is_no_space(swift: Swift) -> None:
    from support.swift import swift_command

    name = container()
    swift_command(swift, "post", name, "-m", "quota-bytes:1000")
    backend = backend_of(swift_store(swift.auth_url, swift.user, swift.key, name), "swift")

    async def run() -> None:
        assert (await backend.space()).free == 1000
        await backend.put(stream(bytes(900)))
        with pytest.raises(NoSpace):
            await backend.put(stream(bytes(900)))
        assert len(await keys(backend)) == 1

    go(backend, run)


def test_a_token_that_was_revoked_is_renewed(swift: Swift) -> None:
    store = swift_store(swift.auth_url, swift.user, swift.key)
    backend: Backend = backend_of(store, "swift")

    async def run() -> None:
        stored = await backend.put(stream(b"one"))
        entrance = store._entrance  # type: ignore[attr-defined]
        # Of the kind that this server gives: it looks for others in memcached, and has none.
        assert entrance._access.token.startswith("AUTH_ftk")
        entrance._access = replace(entrance._access, token="AUTH_ftk-ended")
        assert await whole(backend, stored) == b"one"
        entrance._access = replace(entrance._access, token="AUTH_ftk-ended")
        again = await backend.put(in_pieces(bytes(HASHED_BYTES)))
        assert again.size == HASHED_BYTES

    go(backend, run)


def test_secrets_are_not_shown() -> None:
    shown = [
        repr(AuthV1("http://x", "me", "hidden-key")),
        repr(KeystoneV3("http://x/v3", user="me", password="hidden-key")),
    ]
    assert all("hidden" not in text for text in shown)
