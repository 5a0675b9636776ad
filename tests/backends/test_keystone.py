"""Swift whose tokens a real Keystone gives."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.backend_contract import go, in_pieces, stream, whole
from support.keystone import Keystone, running_keystone
from support.servers import free_ports
from support.stores import backend_of, container
from support.swift import running_swift

from rengafs.backends.base import HASHED_BYTES, Backend, Composition
from rengafs.backends.swift.access import KeystoneV3
from rengafs.backends.swift.backend import SwiftSettings, SwiftStore
from rengafs.protocol.errors import BackendRefused


@pytest.fixture(scope="module")
def keystone() -> Iterator[Keystone]:
    (port,) = free_ports(1)
    with running_keystone(port) as server, running_swift(keystone=server, port=port):
        yield server


def by_password(keystone: Keystone) -> KeystoneV3:
    return KeystoneV3(
        keystone.url,
        user=keystone.user,
        password=keystone.key,
        project=keystone.project,
        region="south",
        interface="internal",
    )


def by_credential(keystone: Keystone) -> KeystoneV3:
    number, secret = keystone.credential()
    return KeystoneV3(
        keystone.url,
        credential_id=number,
        credential_secret=secret,
        region="south",
        interface="internal",
    )


def store_of(login: KeystoneV3) -> SwiftStore:
    return SwiftStore(SwiftSettings(container(), login))


@pytest.mark.parametrize("login", [by_password, by_credential])
def test_blobs_are_kept_and_composed(keystone: Keystone, login: object) -> None:
    assert callable(login)
    backend: Backend = backend_of(store_of(login(keystone)), "swift")
    data = os.urandom(3 * HASHED_BYTES)

    async def run() -> None:
        stored = await backend.put(in_pieces(data))
        assert await whole(backend, stored) == data
        plan = Composition(
            len(data), stored.key, len(data), [(5, 1)], "", stored.sha256, stored.pieces
        )
        edited = await backend.compose(plan, stream(b"x"))
        assert await whole(backend, edited) == data[:5] + b"x" + data[6:]
        await backend.delete(stored.key)

    go(backend, run)


def test_a_token_that_ended_is_renewed(keystone: Keystone) -> None:
    store = store_of(by_password(keystone))
    backend: Backend = backend_of(store, "swift")
    entrance = store._entrance

    async def run() -> None:
        stored = await backend.put(stream(b"one"))
        first = entrance._access
        assert first is not None
        assert time.time() < first.until < time.time() + 3601

        keystone.revoke(first.token)
        assert await whole(backend, stored) == b"one"
        second = entrance._access
        assert second is not None
        assert second.token != first.token

        # Its time is over: it is not even tried.
        entrance._access = replace(second, token="ended", until=time.time() + 1)
        assert await whole(backend, stored) == b"one"
        assert entrance._access.token not in ("ended", first.token)

    go(backend, run)


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong"},
        {"project": "none"},
        {"region": "west"},
        {"interface": "admin"},
        {"user_domain": "none"},
    ],
)
def test_what_keystone_does_not_know_is_refused(keystone: Keystone, wrong: dict[str, str]) -> None:
    login = replace(by_password(keystone), **wrong)  # type: ignore[arg-type]
    backend: Backend = backend_of(store_of(login), "swift")

    async def run() -> None:
        with pytest.raises(BackendRefused):
            await backend.put(stream(b"x"))

    go(backend, run)
