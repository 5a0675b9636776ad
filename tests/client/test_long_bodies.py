"""Long answers, taken past httpx's parser: whole, or told that they are not."""

import os
import socket
import threading
from pathlib import Path

import pytest
from client.conftest import Trio
from support.faulty import answer, faulty, raw, silence

from rengafs.client.connection import Endpoint
from rengafs.client.drivers import TrioDriver
from rengafs.client.longbodies import LONG_BYTES
from rengafs.protocol.errors import Unreachable
from rengafs.protocol.messages import Request

GET = Request("GET", "/x")
BODY = os.urandom(3 * LONG_BYTES + 12345)
HEAD = f"HTTP/1.1 200 OK\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


@pytest.mark.parametrize("size", [LONG_BYTES - 1, LONG_BYTES, len(BODY)])
def test_a_long_body_comes_whole(size: int):
    with faulty(answer(200, BODY[:size])) as server:
        assert Trio().read(Endpoint(server.address), GET) == BODY[:size]


def test_a_long_body_comes_whole_over_a_unix_socket(tmp_path: Path):
    with faulty(answer(200, BODY), unix=tmp_path / "s") as server:
        assert Trio().read(Endpoint(server.address), GET) == BODY


def test_a_long_body_in_chunks_comes_whole():
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with faulty(raw(head + chunks)) as server:
        assert Trio().read(Endpoint(server.address), GET) == BODY


async def test_what_is_asked_after_a_long_body_is_answered():
    with faulty(answer(200, BODY)) as server:
        driver = TrioDriver(Endpoint(server.address))
        try:
            for _ in range(3):
                async with driver.stream(GET) as pieces:
                    assert b"".join([piece async for piece in pieces]) == BODY
        finally:
            await driver.aclose()


def test_a_long_body_can_be_left_early():
    with faulty(answer(200, BODY)) as server:
        begun = Trio().read(Endpoint(server.address), GET, pieces=2)

    assert BODY.startswith(begun)


def test_a_long_body_that_breaks_off_is_never_taken_for_whole():
    with faulty(raw(HEAD + BODY[:-1])) as server, pytest.raises(Unreachable):
        Trio().read(Endpoint(server.address), GET)


def test_a_long_body_that_falls_silent_is_not_waited_for_longer_than_patience():
    def step(peer: socket.socket, closed: threading.Event) -> None:
        peer.sendall(HEAD + BODY[:-1])
        silence(peer, closed)

    with faulty(step) as server, pytest.raises(Unreachable):
        Trio().read(Endpoint(server.address, patience_seconds=0.5), GET)
