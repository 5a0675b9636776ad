"""The retry rules, driven by hand: no sockets, no clock."""

import itertools

import pytest

from rengafs.client.flow import Flow, Send, Sleep
from rengafs.client.retry import FIRST_DELAY, LONGEST_DELAY, ask, delays
from rengafs.protocol.errors import NotFound, Unavailable, Unreachable
from rengafs.protocol.messages import Fresh, Reply, Request

GET = Request("GET", "/x")
BUSY = Reply(503, b'{"message":"busy","code":"unavailable","status":503}')
NOT_DONE = Reply(
    503, b'{"message":"busy","code":"unavailable","status":503,"details":{"carried_out":false}}'
)


def result(flow: Flow[Reply], reply: Reply) -> Reply:
    with pytest.raises(StopIteration) as stop:
        flow.send(reply)
    return stop.value.value


def test_a_good_reply_is_the_result():
    flow = ask(GET)

    assert next(flow) == Send(GET)
    assert result(flow, Reply(200, b"yes")) == Reply(200, b"yes")


def test_a_harmless_request_is_repeated_after_a_pause():
    flow = ask(GET, harmless=True)

    assert next(flow) == Send(GET)
    assert flow.send(BUSY) == Sleep(FIRST_DELAY)
    assert next(flow) == Send(GET)
    assert flow.throw(Unreachable("cut", sent=True)) == Sleep(2 * FIRST_DELAY)
    assert next(flow) == Send(GET)
    assert result(flow, Reply(200)) == Reply(200)


def test_a_request_that_may_have_been_carried_out_is_not_repeated():
    flow = ask(GET)
    next(flow)

    with pytest.raises(Unreachable):
        flow.throw(Unreachable("cut", sent=True))


def test_a_503_alone_does_not_say_that_nothing_was_done():
    flow = ask(GET)
    next(flow)

    with pytest.raises(Unavailable):
        flow.send(BUSY)


@pytest.mark.parametrize("failure", [NOT_DONE, Unreachable("refused", sent=False)])
def test_a_request_that_was_not_carried_out_is_repeated(failure: Reply | Unreachable):
    flow = ask(Request("POST", "/x", body=b"1"))
    next(flow)

    effect = flow.send(failure) if isinstance(failure, Reply) else flow.throw(failure)

    assert effect == Sleep(FIRST_DELAY)


def test_a_stream_that_can_be_sent_only_once_is_not_repeated():
    flow = ask(Request("POST", "/x", body=iter([b"1"])), harmless=True)
    next(flow)

    with pytest.raises(Unavailable):
        flow.send(BUSY)


def test_a_stream_that_can_begin_again_is_repeated():
    request = Request("POST", "/x", body=Fresh(lambda: iter([b"1"])))
    flow = ask(request, harmless=True)
    next(flow)

    assert flow.send(BUSY) == Sleep(FIRST_DELAY)
    assert next(flow) == Send(request)


def test_what_another_try_would_not_mend_is_raised_at_once():
    flow = ask(GET, harmless=True)
    next(flow)

    with pytest.raises(NotFound, match="no such thing"):
        flow.send(Reply(404, b'{"message":"no such thing","code":"not_found","status":404}'))


def test_when_patience_ends_the_failure_is_told_that_there_was():
    flow = ask(GET, harmless=True)
    next(flow)
    flow.throw(Unreachable("nobody listens", sent=False))

    with pytest.raises(Unreachable, match="nobody listens"):
        flow.throw(Unreachable("out of patience", sent=True))


def test_pauses_level_out():
    waits = list(itertools.islice(delays(), 100))

    assert waits[0] == FIRST_DELAY
    assert waits[-1] == LONGEST_DELAY
    assert waits == sorted(waits)
