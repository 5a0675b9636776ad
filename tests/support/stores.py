"""Remote backends on the tests' servers, each in a container of its own."""

import uuid
from collections.abc import Callable

import anyio
from support.backend_contract import go

from rengafs.backends.base import Backend
from rengafs.backends.patience import Patience
from rengafs.backends.pieces import hash_pieces
from rengafs.backends.remote import RemoteBackend
from rengafs.backends.s3.backend import S3Settings, S3Store
from rengafs.backends.store import Bytes, Store
from rengafs.backends.swift.access import AuthV1
from rengafs.backends.swift.backend import SwiftSettings, SwiftStore
from rengafs.backends.wrapping import Wrapper, wrapped

QUICK = Patience(seconds=1.5, first=0.02)


def container() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def s3_store(
    url: str, access_key: str, secret_key: str, bucket: str = "", *, read_seconds: float = 10
) -> Store:
    settings = S3Settings(
        bucket=bucket or container(),
        endpoint=url,
        region="us-east-1",
        access_key=access_key,
        secret_key=secret_key,
        addressing="path",
    )
    return S3Store(settings, read_seconds=read_seconds)


def swift_store(
    auth_url: str, user: str, key: str, name: str = "", *, read_seconds: float = 10
) -> Store:
    login = AuthV1(auth_url, user, key)
    settings = SwiftSettings(name or container(), login, "tempurl-key")
    return SwiftStore(settings, read_seconds=read_seconds)


def backend_of(store: Store, name: str) -> Backend:
    return wrapped(RemoteBackend(name, store, QUICK), patience=QUICK)


def store_of(backend: Backend) -> Store:
    while isinstance(backend, Wrapper):
        backend = backend._backend
    assert isinstance(backend, RemoteBackend)
    return backend._store


def shortener(fresh: Callable[[], Store]) -> Callable[[str], None]:
    """Return what makes a blob a short one, behind the backend's back.

    *fresh* gives a store of its own: the backend's belongs to another event loop.
    """

    def shorten(key: str) -> None:
        async def run() -> None:
            store = fresh()
            data = [b"012345678"]
            try:
                await store.put(key, Bytes(data, hash_pieces(data)[1]))
            finally:
                await store.aclose()

        # The caller is within an event loop of its own.
        with anyio.from_thread.start_blocking_portal() as portal:
            portal.call(run)

    return shorten


__all__ = ["backend_of", "container", "go", "s3_store", "shortener", "store_of", "swift_store"]
