"""A conversation with the service, written once: `Flow`.

A flow is a generator that yields *effects* and is sent their outcomes; a driver carries
them out, blocking or on trio (`rengafs.client.drivers`). So the same retry loop, the same
paging and the same resuming serve both kinds of caller, and a test drives a flow by hand:

    flow = ask(Request("GET", "/x"))
    assert next(flow) == Send(Request("GET", "/x"))
    assert flow.send(Reply(503, b"")) == Sleep(0.05)

Rules: an effect is yielded only by the helpers below (``yield from send(...)``), which
give it its type; a driver throws `Exception` into a flow, never a cancellation, and
closes the flow whatever happens, so that its ``finally`` clauses run.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from rengafs.protocol.messages import Reply, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send *request*; the outcome is its `Reply`. Raises `Unreachable` where none comes."""

    request: Request


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait; the outcome is None. Raises `Unreachable` at once where patience would end first."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Gather:
    """Run *flows* side by side where the driver can; the outcome is their results, in order.

    If one fails, its error is raised, and the others may or may not have been carried out.
    """

    flows: "Sequence[Flow[Any]]"


Effect: TypeAlias = Send | Sleep | Gather
Flow: TypeAlias = Generator[Effect, Any, T]


def send(request: Request) -> Flow[Reply]:
    """Send *request* once and return its reply, whatever its status."""
    return cast(Reply, (yield Send(request)))


def sleep(seconds: float) -> Flow[None]:
    """Wait."""
    yield Sleep(seconds)


def gather(flows: "Sequence[Flow[T]]") -> Flow[list[T]]:
    """Run *flows* side by side."""
    return cast(list[T], (yield Gather(flows)))
