"""Both drivers behind one face, so that each claim is checked of both."""

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import pytest
import trio
from support.services import RunningService, running_service

from rengafs.client.drivers import BlockingDriver, Endpoint, TrioDriver
from rengafs.client.flow import Flow
from rengafs.protocol.messages import Request

T = TypeVar("T")


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    """One service for a module: each test makes buckets of its own."""
    with running_service() as running:
        yield running


class Carrier(Protocol):
    """Opens a driver, does one thing with it, and closes it."""

    def run(self, endpoint: Endpoint, flow: Flow[T], **options: Any) -> T: ...

    def read(self, endpoint: Endpoint, request: Request, *, pieces: int = 10**9) -> bytes:
        """Return what a stream holds; stop after so many pieces."""


class Blocking:
    def run(self, endpoint: Endpoint, flow: Flow[T], **options: Any) -> T:
        driver = BlockingDriver(endpoint)
        try:
            return driver.run(flow, **options)
        finally:
            driver.close()

    def read(self, endpoint: Endpoint, request: Request, *, pieces: int = 10**9) -> bytes:
        driver = BlockingDriver(endpoint)
        data = b""
        try:
            with driver.stream(request) as stream:
                for count, piece in enumerate(stream, 1):
                    data += piece
                    if count == pieces:
                        break
        finally:
            driver.close()
        return data


class Trio:
    def run(self, endpoint: Endpoint, flow: Flow[T], **options: Any) -> T:
        async def run() -> T:
            driver = TrioDriver(endpoint)
            try:
                return await driver.run(flow, **options)
            finally:
                await driver.aclose()

        return trio.run(run)

    def read(self, endpoint: Endpoint, request: Request, *, pieces: int = 10**9) -> bytes:
        async def read() -> bytes:
            driver = TrioDriver(endpoint)
            data = b""
            try:
                async with driver.stream(request) as stream:
                    count = 0
                    async for piece in stream:
                        data += piece
                        count += 1
                        if count == pieces:
                            break
            finally:
                await driver.aclose()
            return data

        return trio.run(read)


@pytest.fixture(params=[Blocking, Trio], ids=["blocking", "trio"])
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return request.param()
