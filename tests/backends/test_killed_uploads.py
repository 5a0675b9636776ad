"""A service that is killed while it stores: what it leaves in a store is found by a sweep."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.backend_contract import go, keys
from support.proxies import Plan, proxied
from support.rgw import Gateway
from support.services import RunningService, running_service
from support.storehome import CONFIGURATION
from support.stores import backend_of, container, s3_store, swift_store
from support.swift import Swift, swift_command
from support.talking import talking

from rengafs.backends.store import Store
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.operations import MakeBucket
from rengafs.service.run import ServeOptions
from rengafs.service.upkeep import sweep_data

MIB = 1 << 20
BOUND_SECONDS = 120


@dataclass
class Stores:
    """Both stores behind proxies, and the file that names them."""

    swift: Swift
    gateway: Gateway
    names: dict[str, str]
    plans: dict[str, Plan]
    file: Path

    def direct(self, backend: str) -> Store:
        if backend == "swift-here":
            return swift_store(
                self.swift.auth_url, self.swift.user, self.swift.key, self.names[backend]
            )
        gateway = self.gateway
        return s3_store(gateway.url, gateway.access_key, gateway.secret_key, self.names[backend])

    def parts(self, backend: str) -> list[str]:
        """Everything in the store beside its blobs: segments, or uploads under way."""
        name = self.names[backend]
        if backend == "swift-here":
            return swift_command(self.swift, "list", f"{name}+segments").split()
        store = self.direct(backend)
        found: list[str] = []

        async def run() -> None:
            client = await store._client()  # type: ignore[attr-defined]
            page = await client.list_multipart_uploads(Bucket=name)
            found.extend(upload["Key"] for upload in page.get("Uploads", ()))

        go(backend_of(store, "direct"), run)
        return found

    def blobs(self, backend: str) -> list[str]:
        found: list[str] = []
        direct = backend_of(self.direct(backend), "direct")

        async def run() -> None:
            found.extend(await keys(direct))

        go(direct, run)
        return found


@pytest.fixture
def stores(
    swift: Swift, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stores]:
    monkeypatch.setenv("TEST_SWIFT_KEY", swift.key)
    monkeypatch.setenv("TEST_S3_KEY", gateway.secret_key)
    names = {"swift-here": container(), "s3-here": container()}
    plans = {name: Plan() for name in names}
    with ExitStack() as stack:
        swift_url = stack.enter_context(proxied(swift.url, plans["swift-here"]))
        gateway_url = stack.enter_context(proxied(gateway.url, plans["s3-here"]))
        file = tmp_path / "backends.toml"
        file.write_text(
            CONFIGURATION.format(
                swift=replace(swift, url=swift_url),
                gateway=replace(gateway, url=gateway_url),
                swift_container=names["swift-here"],
                bucket=names["s3-here"],
            )
        )
        yield Stores(swift, gateway, names, plans, file)


@pytest.mark.parametrize("backend", ["swift-here", "s3-here"])
def test_what_a_killed_put_left_is_found_by_a_sweep(
    stores: Stores, backend: str, tmp_path: Path
) -> None:
    plan, data = stores.plans[backend], tmp_path / "data"
    with running_service(data, backends=stores.file) as service:
        with talking(service) as talk:
            bucket = talk.do(MakeBucket(name=container(), backend=backend)).node
            assert bucket is not None
            talk.file(bucket, "kept", os.urandom(20 * MIB))
            node = talk.file(bucket, "lost")
        blobs, parts = stores.blobs(backend), stores.parts(backend)
        assert len(blobs) == 1
        assert len(parts) == (2 if backend == "swift-here" else 0)
        # The second part is on its way for ever, when the service is killed.
        plan.fault, plan.method, plan.every, plan.after_bytes = "silence", "PUT", 2, MIB
        saving = threading.Thread(target=_save, args=(service, node))
        saving.start()
        _wait(lambda: plan.hit > 0)
        # The first part may still be on its way, too.
        _wait(lambda: set(stores.parts(backend)) > set(parts))
        service.kill()
        saving.join(BOUND_SECONDS)
    assert set(stores.parts(backend)) > set(parts), "nothing was left: not in the middle"

    swept = sweep_data(ServeOptions("", data, "", backends=stores.file), grace_seconds=-60)

    assert swept.temporaries >= 1
    assert (stores.blobs(backend), stores.parts(backend)) == (blobs, parts)


def _save(service: RunningService, node: object) -> None:
    with talking(service, patience_seconds=1) as talk, suppress(RengafsError):
        talk.save(node, os.urandom(40 * MIB))  # type: ignore[arg-type]


def _wait(until) -> None:
    end = time.monotonic() + BOUND_SECONDS
    while not until():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
