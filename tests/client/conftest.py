"""Both drivers behind one face, so that each claim is checked of both."""

from typing import Any, Protocol, TypeVar

import pytest
import trio

from rengafs.client.drivers import BlockingDriver, Endpoint, TrioDriver
from rengafs.client.flow import Flow
from rengafs.protocol.messages import Request

T = TypeVar("T")


def pytest_configure(config: pytest.Config) -> None:
    # httpcore's blocking backend leaves a Unix socket that nobody answered to the collector.
    never_connected = r"ignore:unclosed <socket.socket fd=\d+, family=1, type=1, proto=0>"
    config.addinivalue_line("filterwarnings", f"{never_connected}:ResourceWarning")


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
