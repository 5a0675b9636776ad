"""Where an S3 is, and who asks: addresses of both styles, a prefix, credentials from all places."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.backend_contract import go, in_pieces, keys, stream, whole
from support.rgw import Gateway
from support.stores import backend_of, container

from rengafs.backends.definitions import S3
from rengafs.backends.opening import open_store
from rengafs.backends.store import Store
from rengafs.protocol.errors import BackendRefused

MIB = 1 << 20
PLACES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's user, and no instance to ask."""
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def opened(gateway: Gateway, **more: Any) -> Store:
    """A store as the backends' file describes it; without keys unless they are given."""
    given = {
        "bucket": container(),
        "endpoint": gateway.url,
        "region": "us-east-1",
        "addressing": "path",
        **more,
    }
    return open_store(S3(**given), lambda text: text)


def works(store: Store) -> None:
    """Store, list, read, compose and sign."""
    backend = backend_of(store, "s3")

    async def run() -> None:
        stored = await backend.put(stream(b"hello"))
        assert await keys(backend) == [stored.key]
        assert await whole(backend, stored) == b"hello"

    go(backend, run)


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have names below localhost mean this machine, as systemd's resolver has it."""
    resolve = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and name.endswith("localhost"):
            host = "127.0.0.1"
        return resolve(host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.mark.usefixtures("named")
@pytest.mark.parametrize("addressing", ["virtual", "auto", "path"])
def test_the_bucket_may_be_part_of_the_hosts_name_or_of_the_path(
    gateway: Gateway, addressing: str
) -> None:
    bucket = container()
    store = opened(
        gateway,
        bucket=bucket,
        endpoint=gateway.named_url,
        addressing=addressing,
        access_key=gateway.access_key,
        secret_key=gateway.secret_key,
    )
    backend = backend_of(store, "s3")

    async def run() -> None:
        data = bytes(20 * MIB)
        stored = await backend.put(in_pieces(data))
        assert await whole(backend, stored) == data
        copied = await backend.copy(
            stored.key, stored.size, sha256=stored.sha256, pieces=stored.pieces
        )
        assert sorted(await keys(backend)) == sorted([stored.key, copied.key])
        url = await backend.presign(stored.key, 60)
        assert url is not None
        assert (f"//{bucket}.localhost:" in url) == (addressing == "virtual")

    go(backend, run)


def test_two_prefixes_of_a_bucket_do_not_see_each_other(gateway: Gateway) -> None:
    bucket = container()

    def at(prefix: str) -> Store:
        return opened(
            gateway,
            bucket=bucket,
            prefix=prefix,
            access_key=gateway.access_key,
            secret_key=gateway.secret_key,
        )

    one, two = backend_of(at("one/"), "one"), backend_of(at("two/"), "two")
    everything = backend_of(at(""), "all")

    async def run() -> None:
        data = bytes(20 * MIB)
        stored = await one.put(in_pieces(data))
        other = await two.put(stream(b"other"))
        assert await whole(one, stored) == data
        assert await keys(one) == [stored.key]
        assert await keys(two) == [other.key]
        assert sorted(await keys(everything)) == sorted([f"one/{stored.key}", f"two/{other.key}"])
        await one.delete(other.key)
        await one.sweep_temporaries(-60)
        assert await whole(two, other) == b"other"
        await two.aclose()
        await everything.aclose()

    go(one, run)


def test_keys_come_from_the_environment(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gateway.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gateway.secret_key)
    works(opened(gateway))


def test_keys_come_from_the_profile_that_is_named(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = other\naws_secret_access_key = wrong\n"
        f"[archive]\naws_access_key_id = {gateway.access_key}\n"
        f"aws_secret_access_key = {gateway.secret_key}\n"
    )
    works(opened(gateway, profile="archive"))
    with pytest.raises(BackendRefused):
        works(opened(gateway))


def test_a_profile_that_is_not_there_is_told(gateway: Gateway) -> None:
    with pytest.raises(BackendRefused, match="nowhere"):
        works(opened(gateway, profile="nowhere"))


def test_without_any_keys_it_is_told_what_is_missing(gateway: Gateway) -> None:
    with pytest.raises(BackendRefused, match="credentials"):
        works(opened(gateway))


@contextmanager
def role(answer: Callable[[], dict[str, str]]) -> Iterator[str]:
    """The address at which a container asks for the credentials of its role."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer()).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/role"
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_keys_come_from_a_role(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer() -> dict[str, str]:
        asked.append(1)
        return {
            "AccessKeyId": gateway.access_key,
            "SecretAccessKey": gateway.secret_key,
            "Token": "",
            "Expiration": "2199-01-01T00:00:00Z",
        }

    with role(answer) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        works(opened(gateway))
    assert asked == [1]


def test_a_session_token_is_sent_with_what_is_signed(gateway: Gateway) -> None:
    store = opened(
        gateway,
        access_key=gateway.access_key,
        secret_key=gateway.secret_key,
        session_token="of-a-session",
    )
    backend = backend_of(store, "s3")

    async def run() -> None:
        # This gateway asks for no session, but a signature without the token would be wrong.
        stored = await backend.put(stream(b"hello"))
        assert await whole(backend, stored) == b"hello"
        url = await backend.presign(stored.key, 60)
        assert url is not None
        assert "X-Amz-Security-Token=of-a-session" in url

    go(backend, run)
