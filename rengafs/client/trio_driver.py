"""`TrioDriver`: carries flows out on trio."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

import httpx
import trio

from rengafs.client import direct, longbodies
from rengafs.client.connection import (
    GATHER_WIDTH,
    LIMITS,
    SLICE_BYTES,
    Endpoint,
    to_reply,
)
from rengafs.client.flow import Effect, Flow, Gather, Send, Sleep
from rengafs.client.lasting import LastingToken
from rengafs.client.patience import Patience, Upload
from rengafs.protocol import digests
from rengafs.protocol.endpoints import check
from rengafs.protocol.errors import NotAuthenticated, RengafsError
from rengafs.protocol.messages import Request

T = TypeVar("T")

HASHED_HERE = 128 << 10
"""Bytes whose hash takes less than a turn of a thread."""
CLOSE_SECONDS = 1.0
"""What closing a connection may take when its user has been cancelled."""
RECEIVERS = 64
"""Threads that take long bodies from the network, each of which may wait."""


class TrioDriver:
    """Runs flows on trio."""

    def __init__(self, endpoint: Endpoint, token: LastingToken | None = None) -> None:
        """*token*: takes the place of the endpoint's, and may be another from time to time."""
        self.endpoint = endpoint
        self._token = token
        self._http = httpx.AsyncClient(
            base_url=endpoint.base_url(),
            headers=endpoint.all_headers(),
            transport=httpx.AsyncHTTPTransport(
                uds=endpoint.socket, verify=endpoint.socket is None, limits=LIMITS
            ),
        )
        self._receivers = trio.CapacityLimiter(RECEIVERS)
        self._elsewhere: httpx.AsyncClient | None = None
        self._elsewhere_from = 0.0
        """When addresses elsewhere are tried again: see `direct`."""

    async def run(self, flow: Flow[T], *, patience_seconds: float | None = None) -> T:
        """Carry *flow* out and return its result, or raise its error.

        :param patience_seconds: how long it may take since more of a request's body was last
            sent (see `patience`); the endpoint's unless given.
        """
        bound = self.endpoint.patience_seconds if patience_seconds is None else patience_seconds
        patience = Patience(bound)
        with patience.scope:
            return await self._run(flow, patience)
        raise self.endpoint.out_of_patience()

    async def _run(self, flow: Flow[T], patience: Patience) -> T:
        try:
            effect = next(flow)
            while True:
                try:
                    outcome = await self._perform(effect, patience)
                except Exception as error:  # noqa: BLE001 - the flow decides what it means
                    effect = flow.throw(error)
                else:
                    effect = flow.send(outcome)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    async def _perform(self, effect: Effect, patience: Patience) -> Any:
        match effect:
            case Send(request):
                response = await self._open(request, patience=patience)
                try:
                    with self.endpoint.translated():
                        return to_reply(response, await response.aread())
                finally:
                    await self._end(response)
            case Sleep(seconds):
                if trio.current_time() + seconds > patience.deadline:
                    raise self.endpoint.out_of_patience()
                await trio.sleep(seconds)
                return None
            case Gather(flows):
                return await self._gather(flows, patience)

    async def _gather(self, flows: Sequence[Flow[Any]], patience: Patience) -> list[Any]:
        results: list[Any] = [None] * len(flows)
        waiting = iter(enumerate(flows))

        async def work() -> None:
            for index, flow in waiting:
                results[index] = await self._run(flow, patience)

        try:
            async with trio.open_nursery() as nursery:
                for _ in range(min(GATHER_WIDTH, len(flows))):
                    nursery.start_soon(work)
        except ExceptionGroup as group:
            # The blocking driver raises the plain error; so must this one. A group with a
            # Cancelled or a KeyboardInterrupt in it is no ExceptionGroup, and passes.
            raise _first(group) from None
        return results

    async def _dispatch(self, built: httpx.Request) -> httpx.Response:
        try:
            with self.endpoint.translated():
                return await self._http.send(built, stream=True)
        finally:
            if isinstance(built.stream, Upload):
                await built.stream.aclose()

    async def _build(
        self, request: Request, wait_seconds: float | None, patience: Patience | None
    ) -> httpx.Request:
        digest = await _digest(request)
        content = request.content
        built = self._http.build_request(
            request.method,
            request.path,
            params=dict(request.query),
            headers={**(self._token.header if self._token else {}), **digest, **request.headers},
            content=content or None,
            timeout=self.endpoint.timeouts(wait_seconds),
        )
        patience = patience or Patience(float("inf"))
        patience.begin(request)
        if isinstance(content, AsyncIterable) or (
            isinstance(content, bytes) and len(content) > SLICE_BYTES
        ):
            built.stream = Upload(content, patience)
        return built

    @asynccontextmanager
    async def stream(
        self, request: Request, *, timeout_seconds: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Send *request* once and give its body as it comes; raise the error it tells of.

        It is not repeated: only who reads a stream knows where to take it up again.

        :param timeout_seconds: the bound on each wait for bytes; the endpoint's unless given.
        """
        response = await self._open(request, wait_seconds=timeout_seconds)
        try:
            if response.status_code >= 300:
                with self.endpoint.translated():
                    check(to_reply(response, await response.aread()))
            pieces = self._pieces(response)
            try:
                yield pieces
            finally:
                await abandon(pieces)
        finally:
            await self._end(response)

    async def _open(
        self,
        request: Request,
        *,
        wait_seconds: float | None = None,
        patience: Patience | None = None,
    ) -> httpx.Response:
        """Send a request, to where the bytes lie if the service says so."""
        if trio.current_time() < self._elsewhere_from:
            request = direct.without(request)
        response = await self._authorized(request, wait_seconds, patience)
        if not direct.leads_elsewhere(request, response):
            return response
        await self._end(response)
        found = await self._fetch_elsewhere(request, direct.address_of(response), wait_seconds)
        if found is not None:
            return found
        self._elsewhere_from = trio.current_time() + direct.GIVE_UP_SECONDS
        return await self._authorized(direct.without(request), wait_seconds, patience)

    async def _authorized(
        self, request: Request, wait_seconds: float | None, patience: Patience | None
    ) -> httpx.Response:
        """Send a request; once more if the token is refused and there is another."""
        used = self._token.token if self._token else ""
        response = await self._dispatch(await self._build(request, wait_seconds, patience))
        if (
            response.status_code != NotAuthenticated.status
            or self._token is None
            or not request.repeatable
            or "authorization" in request.headers
        ):
            return response
        try:
            another = await self._token.replace(used)
        except BaseException:
            await self._end(response)
            raise
        if not another:
            return response
        await self._end(response)
        return await self._dispatch(await self._build(request, wait_seconds, patience))

    async def _fetch_elsewhere(
        self, request: Request, address: str, wait_seconds: float | None
    ) -> httpx.Response | None:
        """Return the answer of an address; None: it did not give what was asked for."""
        if self._elsewhere is None:
            self._elsewhere = httpx.AsyncClient(trust_env=False, limits=LIMITS)
        built = self._elsewhere.build_request(
            "GET",
            address,
            headers=dict(direct.headers_of(request)),
            timeout=self.endpoint.timeouts(wait_seconds),
        )
        try:
            response = await self._elsewhere.send(built, stream=True)
        except httpx.HTTPError:
            return None
        if direct.is_answer(request, response):
            return response
        await self._end(response)
        return None

    async def _end(self, response: httpx.Response) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await response.aclose()

    async def _pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        # Only errors of the stream are translated, not those of the block that reads it.
        with self.endpoint.translated():
            given = response.aiter_bytes()
            try:
                async for piece in given:
                    yield piece
                    if longbodies.is_long(response):
                        rest = longbodies.rest(response, len(piece), self._receivers)
                        async with aclosing(rest):
                            async for further in rest:
                                yield further
                        return
            finally:
                await abandon(given)

    async def keep_token(self) -> None:
        """Replace the token before it ends, if it may be another; until cancelled."""
        if self._token is not None:
            await self._token.keep()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()
        if self._elsewhere is not None:
            await self._elsewhere.aclose()


async def _digest(request: Request) -> dict[str, str]:
    """Return the header with the hash of a body, where one is sent."""
    body = request.hashed
    if body is None:
        return {}
    if len(body) <= HASHED_HERE:
        return digests.header_of(body)
    return await trio.to_thread.run_sync(digests.header_of, body)


async def abandon(pieces: AsyncIterator[bytes]) -> None:
    """End a stream that its reader left early.

    httpx nests generators, and trio warns of each that is left unfinished. A cancelled
    scope ends the innermost where it waits, and with it all that stand around it.
    """
    with trio.CancelScope() as scope, suppress(RengafsError, httpx.HTTPError):
        scope.cancel()
        async for _ in pieces:
            pass


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
