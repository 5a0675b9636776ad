"""How long uploads may take: as long as they move, and one patience when they do not."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from rengafs.client.connection import Endpoint
from rengafs.client.drivers import TrioDriver
from rengafs.client.retry import ask
from rengafs.protocol.errors import Unreachable
from rengafs.protocol.messages import Body, Fresh, Reply, Request

PATIENCE = 0.6
PIECE = 256 << 10
COUNT = 24
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
GENEROUS = 60

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[TrioDriver]:
    """Give a driver for a server that treats its connections in a way of its own."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    for listener in listeners:
        # Small buffers: else all of the body would be on its way at once.
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        driver = TrioDriver(Endpoint(f"http://127.0.0.1:{port}", patience_seconds=PATIENCE))
        try:
            with trio.fail_after(GENEROUS):
                yield driver
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await driver.aclose()


async def take_slowly(stream: trio.SocketStream) -> None:
    """Take a body over a line that takes several patiences for it."""
    got = b""
    while not got.endswith(b"end\r\n0\r\n\r\n") and not got.endswith(b"END"):
        got = got[-20:] + await stream.receive_some(PIECE)
        await trio.sleep(0.01)
    await stream.send_all(GOOD)


async def take_some(stream: trio.SocketStream) -> None:
    """Take the beginning of a body, and then no more, for ever."""
    for _ in range(10):
        await stream.receive_some(PIECE)
    await trio.sleep_forever()


async def hang_up(stream: trio.SocketStream) -> None:
    """Take the beginning of a body, and end the connection."""
    for _ in range(10):
        await stream.receive_some(PIECE)


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(COUNT):
        yield bytes(PIECE)
    yield b"end"


async def with_pauses() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield bytes(10)
        await trio.sleep(PATIENCE * 1.2)
    yield b"end"


async def send(driver: TrioDriver, body: Body) -> Reply:
    return await driver.run(ask(Request("POST", "/x", body=body), harmless=True))


@pytest.mark.parametrize("body", [Fresh(pieces), bytes(COUNT * PIECE) + b"END"])
async def test_an_upload_that_moves_may_take_longer_than_patience(body: Body) -> None:
    async with serving(take_slowly) as driver:
        began = trio.current_time()
        assert (await send(driver, body)).status == 200
        assert trio.current_time() - began > PATIENCE, "the line was too fast to show anything"


async def test_a_source_that_pauses_does_not_use_up_patience() -> None:
    async with serving(take_slowly) as driver:
        assert (await send(driver, Fresh(with_pauses))).status == 200


@pytest.mark.parametrize("serve", [take_some, hang_up])
async def test_an_upload_that_gets_nowhere_fails(serve: Serve) -> None:
    async with serving(serve) as driver:
        with pytest.raises(Unreachable):
            await send(driver, Fresh(pieces))
