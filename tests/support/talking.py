"""A blocking driver with short words for what tests say to a service."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from support.services import RunningService

from rengafs.client import calls
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.flow import Flow
from rengafs.protocol.messages import Request
from rengafs.protocol.operations import Commit, MakeBucket, MakeFile, Operation, Outcome
from rengafs.protocol.records import Change, Heartbeat, Node, Version

T = TypeVar("T")


@dataclass
class Talk:
    """Speaks to one service as one user."""

    driver: BlockingDriver
    service: RunningService

    def run(self, flow: Flow[T]) -> T:
        return self.driver.run(flow)

    def read(self, request: Request) -> bytes:
        with self.driver.stream(request) as pieces:
            return b"".join(pieces)

    def do(self, operation: Operation, payload: bytes = b"") -> Outcome:
        return self.run(calls.apply_one(operation, payload))

    def bucket(self) -> Node:
        node = self.do(MakeBucket(name=uuid.uuid4().hex)).node
        assert node is not None
        return node

    def file(self, parent: Node, name: str, *saves: bytes) -> Node:
        node = self.do(MakeFile(parent=parent.id, name=name)).node
        assert node is not None
        for data in saves:
            self.save(node, data)
        return node

    def save(self, node: Node, data: bytes, **options: object) -> Version:
        extents = [(0, len(data))] if data else []
        commit = Commit(
            node=node.id,
            length=len(data),
            extents=extents,
            payload=len(data),
            **options,  # type: ignore[arg-type]
        )
        version = self.do(commit, data).version
        assert version is not None
        return version

    def content(self, version: int, start: int = 0, stop: int | None = None) -> bytes:
        return self.read(calls.content(version, start, stop))

    def versions(self, parent: Node, name: str) -> list[bytes]:
        found = self.run(calls.history(parent.id, name)).versions
        return [self.content(version.id) for version in found]


@contextmanager
def talking(
    service: RunningService, token: str = "", *, patience_seconds: float = 30
) -> Iterator[Talk]:
    """Give a `Talk` with the service's own token, or another."""
    endpoint = Endpoint(service.address, token or service.token, patience_seconds=patience_seconds)
    driver = BlockingDriver(endpoint)
    try:
        yield Talk(driver, service)
    finally:
        driver.close()


@contextmanager
def following(talk: Talk, since: int) -> Iterator[Iterator[Change | Heartbeat]]:
    """Give the feed, record by record."""
    with talk.driver.stream(calls.feed(since)) as pieces:
        yield _records(pieces)


def _records(pieces: Iterator[bytes]) -> Iterator[Change | Heartbeat]:
    buffer = b""
    for piece in pieces:
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            kind = Heartbeat if line.startswith(b'{"heartbeat"') else Change
            yield msgspec.json.decode(line, type=kind)
