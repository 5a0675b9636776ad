"""Which failures deserve another try, and when.

A request is repeated when the service did not carry it out (nobody listened, or it answered
503 with the detail ``carried_out: false``), or when carrying it out twice is harmless (a
GET, or operations with a key). There is no bound on the number of tries: the driver's
patience bounds the time of all of them together.
"""

from collections.abc import Iterator

from rengafs.client.flow import Flow, send, sleep
from rengafs.protocol.endpoints import check
from rengafs.protocol.errors import Unavailable, Unreachable
from rengafs.protocol.messages import Reply, Request

FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


def delays() -> Iterator[float]:
    """Yield the waits between tries, in seconds: doubling, then level, without end."""
    delay = FIRST_DELAY
    while True:
        yield delay
        delay = min(2 * delay, LONGEST_DELAY)


def ask(request: Request, *, harmless: bool = False) -> Flow[Reply]:
    """Send *request* and return its good reply, repeating it while that may help.

    :param harmless: whether the service may carry the request out twice without harm.
    """
    for delay in delays():
        try:
            return (yield from ask_once(request))
        except Unavailable as error:
            if not request.repeatable or not (harmless or _not_carried_out(error)):
                raise
            failure = error
        yield from _pause(delay, failure)
    raise AssertionError("the pauses have no end")


def ask_once(request: Request) -> Flow[Reply]:
    """Send *request* and return its reply, or raise the error that it tells of."""
    reply = yield from send(request)
    check(reply)
    return reply


def _pause(seconds: float, failure: Unavailable) -> Flow[None]:
    """Wait for the next try; with no patience left, raise what the last one failed of."""
    try:
        yield from sleep(seconds)
    except Unreachable:
        raise failure from None


def _not_carried_out(error: Unavailable) -> bool:
    if isinstance(error, Unreachable):
        return error.details.get("sent") is False
    return error.details.get("carried_out") is False
