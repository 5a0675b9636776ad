"""Clients of a service that are slow to send and to take, beside others that are not."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.rgw import Gateway
from support.services import RunningService, running_service
from support.storehome import CONFIGURATION
from support.stores import container
from support.swift import Swift
from support.talking import talking

from rengafs.protocol.endpoints import FS
from rengafs.protocol.operations import MakeBucket

MIB = 1 << 20
SLOW = 36
"""More than have a turn at a time."""


@contextmanager
def slow_reader(service: RunningService, version: int) -> Iterator[None]:
    """Ask for a long file, and take nothing but the beginning of the answer."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(service.address.removeprefix("unix:"))
        peer.settimeout(60)
        peer.sendall(
            f"GET {FS}/version/{version}/content HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {service.token}\r\n\r\n".encode()
        )
        assert peer.recv(100).startswith(b"HTTP/1.1 200")
        yield


def test_more_slow_readers_than_turns_keep_nobody_from_the_store(
    swift: Swift, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SWIFT_KEY", swift.key)
    monkeypatch.setenv("TEST_S3_KEY", gateway.secret_key)
    file = tmp_path / "backends.toml"
    file.write_text(
        CONFIGURATION.format(
            swift=swift, gateway=gateway, swift_container=container(), bucket=container()
        )
    )
    with running_service(backends=file) as service, talking(service) as talk, ExitStack() as slow:
        for backend in ("s3-here", "swift-here"):
            bucket = talk.do(MakeBucket(name=container(), backend=backend)).node
            assert bucket is not None
            node = talk.file(bucket, "long")
            version = talk.save(node, os.urandom(24 * MIB))
            for _ in range(SLOW):
                slow.enter_context(slow_reader(service, version.id))
            data = os.urandom(MIB)
            saved = talk.save(talk.file(bucket, "other"), data)
            assert talk.content(saved.id) == data
        assert "busy" not in service.log.read_text()
