"""What carries a flow out: `BlockingDriver` for threads, `TrioDriver` for trio, over httpx.

Both bound every wait: a request by httpx's timeouts, a whole flow with all its retries by
*patience*. When patience ends, the caller gets `Unreachable`, never a hang.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import trio

from rengafs.client.flow import Flow, Gather, Send, Sleep
from rengafs.protocol.endpoints import check
from rengafs.protocol.errors import RengafsError, SetupError, Unreachable
from rengafs.protocol.messages import Reply, Request

T = TypeVar("T")

CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
MAX_CONNECTIONS = 32
CHUNK_BYTES = 1 << 20
"""Streams are read in pieces of about this size: fewer turns of the loop a byte."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens: ``http://…``, ``https://…`` or ``unix:/path``, and the token."""

    address: str
    token: str = ""
    headers: Mapping[str, str] | None = None
    patience_seconds: float = PATIENCE_SECONDS

    def base_url(self) -> str:
        """Return the URL that paths are put behind; a Unix socket has a made-up host."""
        if self.socket is not None:
            return "http://rengafs"
        if not self.address.startswith(("http://", "https://")):
            raise SetupError(
                f"the endpoint {self.address!r} is not an address; write https://HOST, "
                "http://HOST:PORT or unix:PATH"
            )
        return self.address.rstrip("/")

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket, if it is one."""
        return self.address.removeprefix("unix:") if self.address.startswith("unix:") else None

    def all_headers(self) -> dict[str, str]:
        """Return the headers of every request."""
        authorization = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return {**authorization, **(self.headers or {})}

    def timeouts(self) -> httpx.Timeout:
        """Return the bounds of one request: of connecting, and of each wait for bytes."""
        return httpx.Timeout(self.patience_seconds, connect=CONNECT_SECONDS)


LIMITS = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)


@contextmanager
def _told(endpoint: Endpoint) -> Iterator[None]:
    """Turn httpx's errors into ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Unreachable(
            f"nothing answers at {endpoint.address} ({str(error) or type(error).__name__}); "
            "is the service running?",
            sent=False,
        ) from error
    except httpx.TimeoutException as error:
        raise Unreachable(
            f"{endpoint.address} did not answer within {endpoint.patience_seconds:g} s", sent=True
        ) from error
    except httpx.TransportError as error:
        raise Unreachable(
            f"the connection to {endpoint.address} broke ({str(error) or type(error).__name__})",
            sent=True,
        ) from error
    except httpx.InvalidURL as error:
        raise SetupError(f"the endpoint {endpoint.address!r} is not an address: {error}") from error


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.content, dict(response.headers.items()))


def _out_of_patience(endpoint: Endpoint) -> Unreachable:
    return Unreachable(
        f"{endpoint.address} did not answer within {endpoint.patience_seconds:g} s; "
        "is the service running?",
        sent=True,
    )


class BlockingDriver:
    """Runs flows on the calling thread. May be shared by threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = httpx.Client(
            base_url=endpoint.base_url(),
            headers=endpoint.all_headers(),
            timeout=endpoint.timeouts(),
            transport=httpx.HTTPTransport(uds=endpoint.socket, limits=LIMITS),
        )

    def run(self, flow: Flow[T]) -> T:
        """Carry *flow* out and return its result, or raise its error."""
        return self._run(flow, time.monotonic() + self.endpoint.patience_seconds)

    def _run(self, flow: Flow[T], deadline: float) -> T:
        try:
            step: Callable[[], Any] = lambda: next(flow)  # noqa: E731
            while True:
                effect = step()
                step = self._outcome(flow, effect, deadline)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def _outcome(
        self, flow: Flow[T], effect: Send | Sleep | Gather, deadline: float
    ) -> Callable[[], Any]:
        try:
            outcome = self._perform(effect, deadline)
        except Exception as error:  # noqa: BLE001 - the flow decides what it means
            failure = error
            return lambda: flow.throw(failure)
        return lambda: flow.send(outcome)

    def _perform(self, effect: Send | Sleep | Gather, deadline: float) -> Any:
        match effect:
            case Send(request):
                if isinstance(request.body, bytes) and time.monotonic() > deadline:
                    raise _out_of_patience(self.endpoint)
                with _told(self.endpoint):
                    return _reply(self._http.send(self._build(request)))
            case Sleep(seconds):
                if time.monotonic() + seconds > deadline:
                    raise _out_of_patience(self.endpoint)
                time.sleep(seconds)
                return None
            case Gather(flows):
                with ThreadPoolExecutor(max_workers=8) as pool:
                    return list(pool.map(lambda flow: self._run(flow, deadline), flows))

    def _build(self, request: Request) -> httpx.Request:
        return self._http.build_request(
            request.method,
            request.path,
            params=dict(request.query),
            headers=dict(request.headers),
            content=request.content or None,
        )

    @contextmanager
    def stream(self, request: Request) -> Iterator[Iterator[bytes]]:
        """Send *request* and give its body as it comes; raise the error that it tells of."""
        with _told(self.endpoint):
            response = self._http.send(self._build(request), stream=True)
            try:
                if response.status_code >= 300:
                    response.read()
                    check(_reply(response))
                yield response.iter_raw(CHUNK_BYTES)
            finally:
                response.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


class TrioDriver:
    """Runs flows on trio."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._http = httpx.AsyncClient(
            base_url=endpoint.base_url(),
            headers=endpoint.all_headers(),
            timeout=endpoint.timeouts(),
            transport=httpx.AsyncHTTPTransport(uds=endpoint.socket, limits=LIMITS),
        )

    async def run(self, flow: Flow[T], *, patience_seconds: float | None = None) -> T:
        """Carry *flow* out and return its result, or raise its error.

        :param patience_seconds: the bound on all of it; the endpoint's unless given.
            `float("inf")` for long transfers, whose every wait for bytes is still bounded.
        """
        bound = self.endpoint.patience_seconds if patience_seconds is None else patience_seconds
        with trio.move_on_after(bound):
            return await self._run(flow)
        raise _out_of_patience(self.endpoint)

    async def _run(self, flow: Flow[T]) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = await self._perform(effect)
                except Exception as error:  # noqa: BLE001 - the flow decides what it means
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    async def _perform(self, effect: Send | Sleep | Gather) -> Any:
        match effect:
            case Send(request):
                with _told(self.endpoint):
                    return _reply(await self._http.send(self._build(request)))
            case Sleep(seconds):
                await trio.sleep(seconds)
                return None
            case Gather(flows):
                return await self._gather(list(flows))

    async def _gather(self, flows: list[Flow[Any]]) -> list[Any]:
        results: list[Any] = [None] * len(flows)

        async def one(index: int, flow: Flow[Any]) -> None:
            results[index] = await self._run(flow)

        try:
            async with trio.open_nursery() as nursery:
                for index, flow in enumerate(flows):
                    nursery.start_soon(one, index, flow)
        except BaseExceptionGroup as group:
            # The blocking driver raises the plain error; so must this one.
            ours = group.subgroup(RengafsError)
            if ours is None:
                raise
            raise _first(ours) from None
        return results

    def _build(self, request: Request) -> httpx.Request:
        return self._http.build_request(
            request.method,
            request.path,
            params=dict(request.query),
            headers=dict(request.headers),
            content=request.content or None,
        )

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout_seconds: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send *request* and give its body as it comes; raise the error that it tells of.

        :param timeout_seconds: the bound on each wait for bytes; the endpoint's unless given.
        """
        with _told(self.endpoint):
            built = self._build(request)
            if timeout_seconds is not None:
                built.extensions["timeout"] = httpx.Timeout(
                    timeout_seconds, connect=CONNECT_SECONDS
                ).as_dict()
            response = await self._http.send(built, stream=True)
            try:
                if response.status_code >= 300:
                    await response.aread()
                    check(_reply(response))
                yield response.aiter_raw()
            finally:
                with trio.CancelScope(shield=True):
                    await response.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()


def _first(group: BaseExceptionGroup[RengafsError]) -> RengafsError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, RengafsError)
    return error
