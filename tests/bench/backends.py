"""What the service costs beside the store itself: put and get, with the plain client library."""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from support.rgw import Gateway, running_gateway
from support.services import RunningService, running_service
from support.storehome import CONFIGURATION
from support.stores import container
from support.swift import Swift, running_swift
from support.talking import talking
from swiftclient.client import Connection

from bench.timing import compare, timed
from rengafs.client import calls
from rengafs.protocol import frames
from rengafs.protocol.endpoints import FS
from rengafs.protocol.operations import Apply, Commit, MakeBucket


def in_loop(work: Coroutine[Any, Any, None]) -> float:
    """Return the seconds that *work* took."""

    async def run() -> float:
        with timed() as watch:
            await work
        return watch.seconds

    return asyncio.run(run())


class _OverUnix(HTTPConnection):
    """The standard library's client over a Unix socket: what it costs, it costs the others too."""

    def __init__(self, path: str) -> None:
        super().__init__("service", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Plainly:
    """Asks the service for what it stores, without our own client."""

    def __init__(self, service: RunningService) -> None:
        self._path = service.address.removeprefix("unix:")
        self._headers = {"authorization": f"Bearer {service.token}"}

    def put(self, node: int, data: bytes) -> float:
        commit = Commit(node=node, length=len(data), extents=[(0, len(data))], payload=len(data))
        head = frames.encode(Apply()) + frames.encode(commit)
        headers = {**self._headers, "content-length": str(len(head) + len(data))}
        with timed() as watch, closing(_OverUnix(self._path)) as http:
            http.request("POST", f"{FS}/apply", iter((head, data)), headers)
            answer = http.getresponse()
            (outcome,) = json.loads(answer.read())
        assert outcome["version"]["size"] == len(data), outcome
        return watch.seconds

    def get(self, version: int) -> float:
        buffer = bytearray(1 << 20)
        with timed() as watch, closing(_OverUnix(self._path)) as http:
            http.request("GET", calls.content(version).path, headers=self._headers)
            answer = http.getresponse()
            assert answer.status == 200, answer.read()
            while answer.readinto(buffer):
                pass
        return watch.seconds


class PlainS3:
    """The library alone."""

    library = "aiobotocore"

    def __init__(self, gateway: Gateway, size: int) -> None:
        self.gateway, self.data, self.bucket = gateway, os.urandom(size), container()
        asyncio.run(self.with_store(lambda store: store.create_bucket(Bucket=self.bucket)))

    async def with_store(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
        making = AioSession().create_client(
            "s3",
            endpoint_url=self.gateway.url,
            region_name="us-east-1",
            aws_access_key_id=self.gateway.access_key,
            aws_secret_access_key=self.gateway.secret_key,
            config=AioConfig(s3={"addressing_style": "path"}),
        )
        async with making as store:
            await work(store)

    def put(self) -> float:
        async def work(store: Any) -> None:
            await store.put_object(Bucket=self.bucket, Key="key", Body=self.data)

        return in_loop(self.with_store(work))

    def get(self, bucket: str = "", key: str = "key") -> float:
        async def work(store: Any) -> None:
            answer = await store.get_object(Bucket=bucket or self.bucket, Key=key)
            async with answer["Body"] as body:
                async for _ in body.iter_chunks(1 << 20):
                    pass

        return in_loop(self.with_store(work))


class SwiftLibrary:
    """OpenStack's own library."""

    library = "python-swiftclient"

    def __init__(self, swift: Swift, size: int) -> None:
        self.data, self.container = os.urandom(size), container()
        self.open = partial(Connection, swift.auth_url, swift.user, swift.key, auth_version="1")
        self.open().put_container(self.container)

    def put(self) -> float:
        with timed() as watch, closing(self.open()) as store:
            store.put_object(self.container, "key", self.data)
        return watch.seconds

    def get(self, container: str = "", key: str = "key") -> float:
        with timed() as watch, closing(self.open()) as store:
            where = container or self.container
            _, pieces = store.get_object(where, key, resp_chunk_size=1 << 20)
            for _ in pieces:
                pass
        return watch.seconds


class PlainSwift:
    """The HTTP library alone: what Swift's API needs."""

    library = "httpx"

    def __init__(self, swift: Swift, size: int) -> None:
        self.data = os.urandom(size)
        headers = {"x-auth-user": swift.user, "x-auth-key": swift.key}
        answer = httpx.get(swift.auth_url, headers=headers, trust_env=False)
        self.headers = {"x-auth-token": answer.headers["x-auth-token"]}
        self.account = answer.headers["x-storage-url"]
        self.url = f"{self.account}/{container()}"
        httpx.put(self.url, headers=self.headers, trust_env=False).raise_for_status()

    def put(self) -> float:
        with timed() as watch, httpx.Client(trust_env=False, timeout=60) as client:
            client.put(f"{self.url}/key", headers=self.headers, content=self.data)
        return watch.seconds

    def get(self, container: str = "", key: str = "key") -> float:
        where = f"{self.account}/{container}" if container else self.url
        with (
            timed() as watch,
            httpx.Client(trust_env=False, timeout=60) as client,
            client.stream("GET", f"{where}/{key}", headers=self.headers) as answer,
        ):
            for _ in answer.iter_bytes(1 << 20):
                pass
        return watch.seconds


def rows(scratch: Path, quick: bool):
    size = (32 if quick else 256) << 20
    mib = size >> 20
    with running_swift() as swift, running_gateway() as gateway:
        file, ours = scratch / "backends.toml", container()
        file.write_text(
            CONFIGURATION.format(swift=swift, gateway=gateway, swift_container=ours, bucket=ours)
        )
        os.environ["TEST_SWIFT_KEY"], os.environ["TEST_S3_KEY"] = swift.key, gateway.secret_key
        with (
            running_service(backends=file) as service,
            talking(service, patience_seconds=600) as talk,
        ):
            for name, plain in (
                ("s3-here", PlainS3(gateway, size)),
                ("swift-here", PlainSwift(swift, size)),
                ("swift-here", SwiftLibrary(swift, size)),
            ):
                pair = partial(_pair, talk, Plainly(service), name, plain, ours)
                yield from pair(mib, rounds=3 if quick else 5)


def _pair(talk: Any, plainly: Plainly, name: str, plain: Any, ours: str, mib: int, rounds: int):
    bucket = talk.do(MakeBucket(name=container(), backend=name)).node
    files = iter(range(10**6))
    versions = []

    def put() -> float:
        file = talk.file(bucket, f"f{next(files)}")
        # Other bytes each time: the same would be stored once.
        seconds = plainly.put(file.id, os.urandom(16) + plain.data[16:])
        version = talk.run(calls.node(file.id)).version
        versions.append(version)
        return mib / seconds

    def get() -> float:
        return mib / plainly.get(versions[-1])

    def the_same() -> float:
        return mib / plain.get(ours, talk.run(calls.whereabouts(versions[-1])).blob)

    yield compare(
        f"{name}: put {mib} MiB",
        "MiB/s",
        plain.library,
        0.7,
        put,
        lambda: mib / plain.put(),
        rounds=rounds,
    )
    yield compare(
        f"{name}: get {mib} MiB",
        "MiB/s",
        plain.library,
        0.7,
        get,
        lambda: mib / plain.get(),
        rounds=rounds,
        peer=("it, of what the service has stored", the_same),
    )
