"""Readers sent straight to Swift and S3: the same bytes, and without the service's token."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from support.mounts import Home
from support.rgw import Gateway
from support.services import RunningService, running_service
from support.storehome import CONFIGURATION
from support.stores import container
from support.swift import Swift
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.client.trio_driver import TrioDriver
from rengafs.protocol.endpoints import DIRECT_HEADER, FS
from rengafs.protocol.operations import MakeBucket
from rengafs.protocol.records import Version

SIZE = 3 << 20
CONTENT = os.urandom(SIZE)


@dataclass
class Scene:
    service: RunningService
    talk: Talk
    version: Version

    def asked(self, *, direct: bool, headers: dict[str, str] | None = None) -> httpx.Response:
        """Ask for the content as plain HTTP."""
        transport = httpx.HTTPTransport(uds=self.service.endpoint.socket)
        sent = {"authorization": f"Bearer {self.service.token}", **(headers or {})}
        if direct:
            sent[DIRECT_HEADER] = "1"
        with httpx.Client(transport=transport, base_url="http://x", timeout=240) as http:
            return http.get(f"{FS}/version/{self.version.id}/content", headers=sent)

    def served(self) -> float:
        """Return how many contents the service gave itself."""
        return sum(count for line, count in self._counts() if 'status="307"' not in line)

    def sent(self) -> float:
        """Return how often it sent a reader to the store."""
        return sum(count for line, count in self._counts() if 'status="307"' in line)

    def _counts(self) -> list[tuple[str, float]]:
        transport = httpx.HTTPTransport(uds=self.service.endpoint.socket)
        with httpx.Client(transport=transport, base_url="http://x", timeout=240) as http:
            text = http.get("/metrics").text
        return [
            (line, float(line.rpartition(" ")[2]))
            for line in text.splitlines()
            if line.startswith('rengafs_requests_total{endpoint="content"')
        ]


KEY = "tempurl-key"
WRONG = ("swift-here", "another-key")


@pytest.fixture(params=[("s3-here", ""), ("swift-here", KEY)], ids=["s3", "swift"])
def scene(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    swift: Swift,
    gateway: Gateway,
) -> Iterator[Scene]:
    configuration = tmp_path / "backends.toml"
    text = CONFIGURATION.format(
        swift=swift, gateway=gateway, swift_container=container(), bucket=container()
    )
    configuration.write_text(
        text.replace('auth = "v1"', 'auth = "v1"\ntempurl_key = "env:TEST_TEMPURL_KEY"')
    )
    monkeypatch.setenv("TEST_SWIFT_KEY", swift.key)
    monkeypatch.setenv("TEST_S3_KEY", gateway.secret_key)
    backend, key = request.param
    monkeypatch.setenv("TEST_TEMPURL_KEY", key or KEY)
    let_swift_sign(swift)
    with (
        running_service(tmp_path / "data", backends=configuration, presigned=True) as service,
        talking(service) as talk,
    ):
        bucket = talk.do(MakeBucket(name="b", backend=backend)).node
        assert bucket is not None
        yield Scene(service, talk, talk.save(talk.file(bucket, "f"), CONTENT))


def let_swift_sign(swift: Swift) -> None:
    """Give the account its key for addresses, as its owner would."""
    with httpx.Client(trust_env=False) as client:
        headers = {"x-auth-user": swift.user, "x-auth-key": swift.key}
        answer = client.get(swift.auth_url, headers=headers)
        more = {"x-auth-token": answer.headers["x-auth-token"]}
        more["x-account-meta-temp-url-key"] = KEY
        client.post(answer.headers["x-storage-url"], headers=more).raise_for_status()


def test_a_reader_who_can_follow_is_sent_there_and_others_are_not(scene: Scene) -> None:
    sent = scene.asked(direct=True)

    assert sent.status_code == 307
    assert scene.service.token not in sent.headers["location"]
    with httpx.Client(timeout=240) as anybody:
        assert anybody.get(sent.headers["location"]).content == CONTENT
    assert scene.asked(direct=False).content == CONTENT
    small = scene.asked(direct=True, headers={"range": "bytes=5-99"})
    assert (small.status_code, small.content) == (206, CONTENT[5:100])


def test_both_drivers_follow_and_get_the_bytes_asked_for(scene: Scene) -> None:
    before = scene.served()
    assert scene.talk.content(scene.version.id) == CONTENT
    assert scene.talk.content(scene.version.id, 7, SIZE - 7) == CONTENT[7:-7]
    token = scene.talk.run(calls.authorize_read(scene.version.id))
    assert scene.talk.read(calls.io_read(token=token)) == CONTENT
    assert scene.served() == before


async def test_the_trio_driver_follows_too(scene: Scene) -> None:
    driver = TrioDriver(scene.service.endpoint)
    try:
        async with driver.stream(calls.content(scene.version.id, 9)) as pieces:
            assert b"".join([piece async for piece in pieces]) == CONTENT[9:]
    finally:
        await driver.aclose()


@pytest.mark.fuse
def test_a_mount_follows(scene: Scene, home: Home) -> None:
    token = home.path / "token"
    token.write_text(scene.service.token)
    options = ["--endpoint", scene.service.address, "--token-file", str(token)]
    before = scene.served()
    with home.mounted("buckets", *options) as top:
        file = top / "b" / "f"
        assert file.read_bytes() == CONTENT
        assert scene.sent() > 0
        later = os.urandom(SIZE)
        file.write_bytes(later)
        with file.open("rb") as opened:
            opened.seek(SIZE // 2)
            assert opened.read() == later[SIZE // 2 :]
            opened.seek(0)
            assert opened.read() == later
    assert scene.served() == before


@pytest.mark.parametrize("scene", [WRONG], indirect=True, ids=["wrong key"])
def test_an_address_that_does_not_work_costs_nothing_but_time(scene: Scene) -> None:
    before = scene.served()

    for _ in range(2):
        assert scene.talk.content(scene.version.id) == CONTENT

    assert scene.served() == before + 2


@pytest.mark.parametrize("scene", [WRONG], indirect=True, ids=["wrong key"])
async def test_the_trio_driver_asks_the_service_instead_too(scene: Scene) -> None:
    driver = TrioDriver(scene.service.endpoint)
    try:
        async with driver.stream(calls.content(scene.version.id)) as pieces:
            assert b"".join([piece async for piece in pieces]) == CONTENT
    finally:
        await driver.aclose()
