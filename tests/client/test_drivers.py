"""Both drivers against a server that misbehaves."""

import gc
import os
import ssl
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
import trio
from client.conftest import Carrier
from support.faulty import answer, cut, faulty, raw, silence, trickle

from rengafs.client.blocking import _Slices
from rengafs.client.connection import SLICE_BYTES
from rengafs.client.drivers import BlockingDriver, Endpoint, TrioDriver
from rengafs.client.flow import Flow, gather, send, sleep
from rengafs.client.retry import ask
from rengafs.protocol.errors import (
    NotFound,
    RengafsError,
    SetupError,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from rengafs.protocol.messages import Fresh, Reply, Request

GET = Request("GET", "/x")
BUSY = answer(503, b"come back later")


def test_a_reply_comes_back_with_status_headers_and_body(carrier: Carrier):
    with faulty(answer(207, b"body", {"X-Name": "value"})) as server:
        reply = carrier.run(Endpoint(server.address), send(GET))

    assert (reply.status, reply.body, reply.headers["x-name"]) == (207, b"body", "value")


def test_a_unix_socket_works_as_a_port_does(carrier: Carrier, tmp_path: Path):
    with faulty(answer(200, b"here"), unix=tmp_path / "s") as server:
        assert carrier.run(Endpoint(server.address), send(GET)).body == b"here"


def test_token_headers_query_and_prefix_are_sent(carrier: Carrier):
    request = Request("PUT", "/x", {"name": "a b&c"}, {"X-One": "1"}, b"body")
    with faulty(answer()) as server:
        endpoint = Endpoint(server.address + "/prefix/", "secret", {"X-All": "2"})
        carrier.run(endpoint, send(request))

    seen = server.seen[0]
    assert (seen.method, seen.target, seen.body) == ("PUT", "/prefix/x?name=a+b%26c", b"body")
    assert seen.headers["authorization"] == "Bearer secret"
    assert (seen.headers["x-one"], seen.headers["x-all"]) == ("1", "2")
    assert seen.headers["accept-encoding"] == "identity"


def test_the_environments_proxy_is_not_used(carrier: Carrier, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with faulty(answer(200, b"direct")) as server:
        assert carrier.run(Endpoint(server.address), send(GET)).body == b"direct"


def test_503_then_200_is_a_success(carrier: Carrier):
    with faulty(BUSY, BUSY, answer(200, b"now")) as server:
        assert carrier.run(Endpoint(server.address), ask(GET, harmless=True)).body == b"now"

    assert len(server.seen) == 3


def test_a_cut_connection_then_200_is_a_success(carrier: Carrier):
    with faulty(cut, raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal"), answer()) as server:
        assert carrier.run(Endpoint(server.address), ask(GET, harmless=True)).status == 200

    assert len(server.seen) == 3


def test_a_body_that_can_begin_again_is_sent_whole_each_time(carrier: Carrier):
    pieces = [b"a" * 100_000, b"b"]

    def fresh() -> object:
        return agen(pieces) if type(carrier).__name__ == "Trio" else iter(pieces)

    request = Request("POST", "/x", body=Fresh(fresh))  # type: ignore[arg-type]
    with faulty(cut, BUSY, answer()) as server:
        carrier.run(Endpoint(server.address), ask(request, harmless=True))

    assert [seen.body for seen in server.seen] == [b"".join(pieces)] * 3


async def agen(pieces: list[bytes]):
    for piece in pieces:
        yield piece


def test_nobody_listening_is_unreachable_and_nothing_was_sent(carrier: Carrier, tmp_path: Path):
    endpoint = Endpoint(f"unix:{tmp_path}/none", patience_seconds=0.3)

    with pytest.raises(Unreachable, match=r"nothing answers at unix:.*is the service") as caught:
        carrier.run(endpoint, ask(GET, harmless=True))

    assert caught.value.details == {"sent": False}


def test_silence_ends_with_patience(carrier: Carrier):
    with faulty(silence) as server, pytest.raises(Unreachable, match="did not answer"):
        carrier.run(Endpoint(server.address, patience_seconds=0.3), ask(GET, harmless=True))


def test_a_reply_that_trickles_in_ends_with_patience(carrier: Carrier):
    with faulty(trickle) as server, pytest.raises(Unreachable, match="did not answer within"):
        carrier.run(Endpoint(server.address, patience_seconds=0.3), send(GET))


def test_patience_may_be_given_for_one_run(carrier: Carrier):
    with faulty(silence) as server, pytest.raises(Unreachable):
        carrier.run(Endpoint(server.address), send(GET), patience_seconds=0.3)


def test_when_patience_ends_the_services_own_reason_is_raised(carrier: Carrier):
    with faulty(BUSY) as server, pytest.raises(Unavailable, match="come back later"):
        carrier.run(Endpoint(server.address, patience_seconds=0.5), ask(GET, harmless=True))

    assert len(server.seen) > 1


def test_a_server_of_something_else_is_told_at_once(carrier: Carrier):
    with (
        faulty(raw(b"220 mail.example.com ESMTP\r\n\r\n")) as server,
        pytest.raises(UnexpectedAnswer, match="not HTTP"),
    ):
        carrier.run(Endpoint(server.address), ask(GET, harmless=True))

    assert len(server.seen) == 1


def test_an_error_page_of_a_proxy_is_an_error_of_the_tree(carrier: Carrier):
    with (
        faulty(answer(418, b"<html>teapot</html>")) as server,
        pytest.raises(UnexpectedAnswer, match=r"418.*teapot"),
    ):
        carrier.run(Endpoint(server.address), ask(GET))


def test_an_untrusted_certificate_is_told_at_once(carrier: Carrier, tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=localhost"],
        check=True, capture_output=True, timeout=240,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    with (
        faulty(answer(), tls=context) as server,
        pytest.raises(UnexpectedAnswer, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"),
    ):
        carrier.run(Endpoint(server.address), ask(GET, harmless=True))


@pytest.mark.parametrize(
    "address",
    ["", "localhost:80", "ftp://host", "http://", "http://host:port", "unix:", "/run/socket"],
)
def test_what_is_no_address_is_refused_when_the_driver_is_made(address: str):
    for driver in BlockingDriver, TrioDriver:
        with pytest.raises(SetupError, match="not an address"):
            driver(Endpoint(address))


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(SetupError) as caught:
        BlockingDriver(Endpoint("http://ada:hunter2@host"))

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "line\n", "ünicode"])
def test_what_is_no_token_is_refused_when_the_driver_is_made(token: str):
    with pytest.raises(SetupError, match="token") as caught:
        BlockingDriver(Endpoint("http://host", token))

    assert token not in str(caught.value)


def test_a_token_is_not_in_what_is_printed():
    assert "secret" not in repr(Endpoint("http://host", "secret"))


# --- gather ---------------------------------------------------------------------------


def test_gather_returns_results_in_order(carrier: Carrier):
    def numbered(number: int) -> Flow[bytes]:
        reply = yield from send(Request("GET", "/x", headers={"x-n": str(number)}))
        return b"%d" % number + reply.body

    with faulty(answer(200, b"!")) as server:
        results = carrier.run(Endpoint(server.address), gather([numbered(n) for n in range(30)]))

    assert results == [b"%d!" % n for n in range(30)]


def test_a_failing_gather_raises_the_plain_error_and_the_flow_may_catch_it(carrier: Carrier):
    def failing() -> Flow[None]:
        raise NotFound("gone")
        yield

    def outer() -> Flow[str]:
        try:
            yield from gather([sleep(0), failing(), sleep(0)])
        except RengafsError as error:
            return f"caught {error}"
        return "nothing"

    with faulty(answer()) as server:
        assert carrier.run(Endpoint(server.address), outer()) == "caught gone"


# --- streams --------------------------------------------------------------------------


def test_a_stream_gives_the_body(carrier: Carrier):
    body = bytes(range(256)) * 4096
    with faulty(answer(200, body)) as server:
        assert carrier.read(Endpoint(server.address), GET) == body


def test_a_stream_raises_the_error_that_the_reply_tells_of(carrier: Carrier):
    problem = b'{"message":"no such version","code":"not_found","status":404}'
    with faulty(answer(404, problem)) as server, pytest.raises(NotFound, match="no such version"):
        carrier.read(Endpoint(server.address), GET)


def test_a_stream_that_ends_early_is_an_error(carrier: Carrier):
    broken = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
    with faulty(broken) as server, pytest.raises(Unreachable, match="broke"):
        carrier.read(Endpoint(server.address), GET)


def test_a_stream_that_goes_silent_ends_with_patience(carrier: Carrier):
    with faulty(silence) as server, pytest.raises(Unreachable, match="in time"):
        carrier.read(Endpoint(server.address, patience_seconds=0.3), GET)


def test_a_stream_may_be_left_early(carrier: Carrier):
    with faulty(answer(200, bytes(5_000_000))) as server:
        data = carrier.read(Endpoint(server.address), GET, pieces=1)
        gc.collect()  # trio would tell of generators left behind

    assert 0 < len(data) < 5_000_000


def test_an_error_in_the_block_that_reads_a_stream_is_left_as_it_is():
    with faulty(answer(200, b"x")) as server:
        driver = BlockingDriver(Endpoint(server.address))
        with pytest.raises(httpx.ConnectError), driver.stream(GET):
            raise httpx.ConnectError("somewhere else")
        driver.close()


# --- closing and cancelling -----------------------------------------------------------


async def test_a_cancelled_run_runs_the_flows_finally():
    ended = []

    def flow() -> Flow[None]:
        try:
            yield from sleep(1000)
        finally:
            ended.append(True)

    driver = TrioDriver(Endpoint("http://127.0.0.1:9", patience_seconds=2000))
    with trio.move_on_after(0.05) as scope:
        await driver.run(flow())
    await driver.aclose()

    assert scope.cancelled_caught
    assert ended == [True]


async def test_a_cancelled_send_leaves_the_driver_usable():
    with faulty(silence, answer(200, b"again")) as server:
        driver = TrioDriver(Endpoint(server.address))
        with trio.move_on_after(0.2):
            await driver.run(send(GET))
        reply = await driver.run(send(GET))
        await driver.aclose()

    assert reply.body == b"again"


async def test_a_stream_that_is_cancelled_leaves_nothing_behind():
    with faulty(trickle) as server:
        driver = TrioDriver(Endpoint(server.address))
        with trio.move_on_after(0.3) as scope:
            async with driver.stream(GET) as pieces:
                async for _ in pieces:
                    pass
        gc.collect()
        await driver.aclose()

    assert scope.cancelled_caught


async def test_a_body_whose_sending_fails_leaves_no_generator_behind():
    async def endless():
        while True:
            yield bytes(100_000)

    with faulty(reading=False) as server:
        driver = TrioDriver(Endpoint(server.address, patience_seconds=1.0))
        with pytest.raises(Unreachable):
            await driver.run(ask(Request("POST", "/x", body=Fresh(endless)), harmless=True))
        gc.collect()
        await driver.aclose()


async def test_cancelling_a_gather_cancels_all_of_it():
    driver = TrioDriver(Endpoint("http://127.0.0.1:9"))
    with trio.move_on_after(0.05) as scope:
        await driver.run(gather([sleep(20), sleep(20)]))
    await driver.aclose()

    assert scope.cancelled_caught


def test_threads_may_share_a_blocking_driver():
    replies: list[Reply] = []
    with faulty(answer(200, b"one")) as server:
        driver = BlockingDriver(Endpoint(server.address))

        def work() -> None:
            replies.extend(driver.run(send(GET)) for _ in range(20))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        driver.close()

    assert [reply.body for reply in replies] == [b"one"] * 160


def test_a_forgotten_driver_closes_its_connections():
    with faulty(answer()) as server:
        BlockingDriver(Endpoint(server.address)).run(send(GET))
        gc.collect()  # an open socket would be told of here


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_long_body_is_sent_whole(carrier: Carrier, in_pieces: bool):
    body = os.urandom(5 * SLICE_BYTES + 17)
    pieces = [body[:7], body[7:]]

    def fresh() -> object:
        return agen(pieces) if type(carrier).__name__ == "Trio" else iter(pieces)

    source = Fresh(fresh) if in_pieces else body  # type: ignore[arg-type]
    with faulty(answer()) as server:
        carrier.run(Endpoint(server.address), send(Request("POST", "/x", body=source)))
    assert server.seen[0].body == body


def test_no_slice_is_too_long_for_a_connection():
    """httpcore's blocking one copies what is left of a piece after each packet."""
    body = os.urandom(3 * SLICE_BYTES + 1)
    slices = list(_Slices([body, b"short"]))
    assert b"".join(slices) == body + b"short"
    assert max(map(len, slices)) == SLICE_BYTES
