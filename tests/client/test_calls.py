"""The calls, driven by hand; and streamed commits on trio."""

import gc
from collections.abc import AsyncIterator

import msgspec
import pytest
from support.faulty import answer, faulty

from rengafs.client import calls
from rengafs.client.drivers import Endpoint, TrioDriver
from rengafs.client.flow import Send, Sleep
from rengafs.protocol import frames
from rengafs.protocol.endpoints import DIRECT_HEADER
from rengafs.protocol.errors import BadRequest, NotEmpty, Problem, UnexpectedAnswer, Unreachable
from rengafs.protocol.messages import Reply
from rengafs.protocol.operations import Apply, Commit, MakeDirectory, Outcome, RemoveDirectory


def frames_in(body: bytes) -> list[dict[str, object] | bytes]:
    parser = frames.Parser()
    found = [
        msgspec.json.decode(item.json) if isinstance(item, frames.Line) else item.data
        for item in parser.feed(body)
    ]
    parser.finish()
    return found


def outcomes(*given: Outcome) -> Reply:
    return Reply(200, msgspec.json.encode(list(given)))


def test_an_access_token_takes_the_place_of_the_users():
    request = calls.io_read(token="grant", start=5, stop=10)

    wanted = {"authorization": "Bearer grant", "range": "bytes=5-9", DIRECT_HEADER: "1"}
    assert request.headers == wanted


def test_a_whole_version_is_asked_for_without_a_range():
    assert "range" not in calls.content(7).headers
    assert calls.content(7, 3).headers["range"] == "bytes=3-"


def test_operations_travel_as_frames_with_their_payloads():
    commit = Commit(node=9, length=3, extents=[(0, 3)], payload=3)
    flow = calls.apply([MakeDirectory(parent=1, name="d"), (commit, b"abc")], client="me")
    effect = next(flow)

    assert isinstance(effect, Send)
    assert isinstance(effect.request.body, bytes)
    head, made, committed, payload = frames_in(effect.request.body)
    assert head == msgspec.to_builtins(Apply(client="me"))
    assert isinstance(made, dict)
    assert isinstance(committed, dict)
    assert (made["op"], committed["op"], payload) == ("make_directory", "commit", b"abc")
    assert made["key"] != committed["key"]


def test_a_repeated_operation_has_the_same_key():
    flow = calls.apply_one(MakeDirectory(parent=1, name="d"))
    first = next(flow)
    assert isinstance(flow.throw(Unreachable("cut", sent=True)), Sleep)

    assert next(flow) == first


def test_the_problem_of_one_operation_is_raised():
    flow = calls.apply_one(RemoveDirectory(parent=1, name="d"))
    next(flow)
    problem = Problem("full", "not_empty", 409)

    with pytest.raises(NotEmpty, match="full"):
        flow.send(outcomes(Outcome(problem=problem)))


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_or_too_many_outcomes_are_not_the_protocol(count: int):
    flow = calls.apply_one(RemoveDirectory(parent=1, name="d"))
    next(flow)

    with pytest.raises(UnexpectedAnswer):
        flow.send(outcomes(*[Outcome()] * count))


async def test_a_commit_is_streamed_and_streamed_again_with_the_same_key():
    begun = []

    async def payload() -> AsyncIterator[bytes]:
        begun.append(True)
        yield b"abc"
        yield b"defg"

    commit = Commit(node=9, length=7, extents=[(0, 7)], payload=7)
    good = msgspec.json.encode([Outcome(change=3)])
    with faulty(answer(503, b"later"), answer(200, good)) as server:
        driver = TrioDriver(Endpoint(server.address))
        outcome = await driver.run(calls.commit(commit, payload))
        await driver.aclose()

    first, second = (seen.body for seen in server.seen)
    assert outcome.change == 3
    assert first == second
    assert b"".join(item for item in frames_in(first) if isinstance(item, bytes)) == b"abcdefg"
    assert begun == [True, True]


async def test_a_commit_that_breaks_off_ends_the_generator_of_its_payload():
    ended = []

    async def payload() -> AsyncIterator[bytes]:
        try:
            for _ in range(10_000):
                yield bytes(100_000)
        finally:
            ended.append(True)

    commit = Commit(node=9, length=10**9, extents=[(0, 10**9)], payload=10**9)
    with faulty(reading=False) as server:
        driver = TrioDriver(Endpoint(server.address, patience_seconds=0.5))
        with pytest.raises(Unreachable):
            await driver.run(calls.commit(commit, payload))
        await driver.aclose()
    gc.collect()

    assert ended
    assert len(ended) >= len(server.seen)


async def test_an_error_of_the_payload_reaches_the_caller():
    async def payload() -> AsyncIterator[bytes]:
        yield b"abc"
        raise BadRequest("the source broke")

    commit = Commit(node=9, length=7, extents=[(0, 7)], payload=7)
    with faulty(answer(200)) as server:
        driver = TrioDriver(Endpoint(server.address))
        with pytest.raises(BadRequest, match="source broke"):
            await driver.run(calls.commit(commit, payload))
        await driver.aclose()
