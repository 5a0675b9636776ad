"""``GET /io/backends``: those that work, however the others fail, and in bounded time."""

import socket
import time
from pathlib import Path

import pytest
from support.rgw import Gateway
from support.services import running_service
from support.storehome import CONFIGURATION
from support.stores import container
from support.swift import Swift
from support.talking import talking

from rengafs.client import calls

SILENT = """
[backends.silent]
kind = "s3"
bucket = "b"
endpoint = "http://127.0.0.1:{port}"
region = "us-east-1"
access_key = "k"
secret_key = "env:TEST_S3_KEY"
"""
BOUND_SECONDS = 30


def test_only_backends_that_work_are_listed_and_soon(
    swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SWIFT_KEY", swift.key)
    monkeypatch.setenv("TEST_S3_KEY", "secret")
    file = tmp_path / "backends.toml"
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        # Bound, but nobody listens: the port is refused, and nobody else gets it.
        closed.bind(("127.0.0.1", 0))
        shut = Gateway(f"http://127.0.0.1:{closed.getsockname()[1]}")
        text = CONFIGURATION.format(
            swift=swift, gateway=shut, swift_container=container(), bucket=container()
        )
        file.write_text(text + SILENT.format(port=silent.getsockname()[1]))
        with running_service(backends=file) as service, talking(service) as talk:
            began = time.monotonic()
            assert talk.run(calls.backends()) == ["swift-here", "local"]
            assert time.monotonic() - began < BOUND_SECONDS
            assert "s3-here does not work" in service.log.read_text()
            assert "silent does not work" in service.log.read_text()
