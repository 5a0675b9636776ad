"""A reading, driven by hand against a service that a test plays."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from rengafs.client.flow import Flow, Send
from rengafs.client.sdk import reading
from rengafs.client.sdk.reading import BLOCK_BYTES, READ_AHEAD_BYTES, Reading
from rengafs.protocol.errors import NotFound, UnexpectedAnswer
from rengafs.protocol.messages import Reply, Request

T = TypeVar("T")
DATA = bytes(range(256)) * 40_000  # 10 MB


class Service:
    """Answers ranges of *data*, and counts what it was asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Reply:
        asked = request.headers["range"]
        self.asked.append(asked)
        first, last = map(int, asked.removeprefix("bytes=").split("-"))
        if first >= len(self.data):
            return Reply(416, b'{"message":"beyond","code":"range_not_satisfiable","status":416}')
        part = self.data[first : last + 1]
        end = first + len(part) - 1
        return Reply(206, part, {"content-range": f"bytes {first}-{end}/{len(self.data)}"})


def run(flow: Flow[T], service: Callable[[Request], Reply]) -> T:
    reply: Reply | None = None
    while True:
        try:
            effect = next(flow) if reply is None else flow.send(reply)
        except StopIteration as stop:
            return stop.value
        assert isinstance(effect, Send)
        reply = service(effect.request)


def read(opened: Reading, service: Callable[[Request], Reply], size: int | None = -1) -> bytes:
    return b"".join(run(flow, service) for flow in opened.read(size))


def test_all_is_read_in_blocks_of_bounded_size():
    service = Service(DATA)

    assert read(Reading(1, "t"), service) == DATA
    assert len(service.asked) == -(-len(DATA) // BLOCK_BYTES)


@pytest.mark.parametrize("size", [-1, None])
def test_nothing_is_left_after_all_was_read(size: int | None):
    opened, service = Reading(1, "t"), Service(b"hello")
    read(opened, service)

    assert read(opened, service, size) == b""
    assert len(service.asked) == 1


def test_reads_go_on_from_where_the_last_ended():
    opened, service = Reading(1, "t"), Service(b"hello world")

    assert [read(opened, service, 4) for _ in range(4)] == [b"hell", b"o wo", b"rld", b""]


def test_a_read_of_nothing_asks_for_nothing():
    service = Service(b"hello")

    assert read(Reading(1, "t"), service, 0) == b""
    assert service.asked == []


def test_many_small_reads_are_few_requests():
    opened, service = Reading(1, "t"), Service(DATA[: 2 * READ_AHEAD_BYTES])
    parts = []
    while part := read(opened, service, 1000):
        parts.append(part)

    assert b"".join(parts) == service.data
    assert len(service.asked) == 2


def test_a_read_across_blocks_is_whole():
    opened, service = Reading(1, "t"), Service(DATA)
    read(opened, service, 100)

    assert read(opened, service, 9_000_000) == DATA[100:9_000_100]


def test_an_empty_version_reads_as_nothing():
    service = Service(b"")

    assert read(Reading(1, "t"), service) == b""


def test_an_empty_version_may_be_answered_whole():
    assert read(Reading(1, "t"), lambda _: Reply(200, b"")) == b""


def test_a_service_that_does_not_care_for_ranges_is_understood():
    opened = Reading(1, "t")
    whole = Reply(200, b"hello world")

    assert read(opened, lambda _: whole, 5) == b"hello"
    assert read(opened, lambda _: whole) == b" world"


def test_a_failed_read_has_not_moved_the_position():
    opened, service = Reading(1, "t"), Service(DATA)
    answers = iter(
        [service, lambda _: Reply(404, b'{"message":"","code":"not_found","status":404}')]
    )

    with pytest.raises(NotFound):
        read(opened, lambda request: next(answers)(request))

    assert read(opened, service) == DATA


@pytest.mark.parametrize("told", ["", "bytes 0-4", "bytes 1-5/11", "bytes 0-3/11", "bytes 0-4/*"])
def test_bytes_that_were_not_asked_for_are_refused(told: str):
    with pytest.raises(UnexpectedAnswer, match="other bytes"):
        read(Reading(1, "t"), lambda _: Reply(206, b"hello", {"content-range": told}))


def test_the_access_token_is_sent():
    seen = []

    def service(request: Request) -> Reply:
        seen.append(request.headers["authorization"])
        return Reply(200, b"")

    read(Reading(1, "grant"), service)

    assert seen == ["Bearer grant"]
    assert reading.READ_AHEAD_BYTES <= reading.BLOCK_BYTES
