"""`BlockingDriver`: carries flows out on the calling thread. Knows nothing of trio."""

import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from rengafs.client import direct
from rengafs.client.connection import GATHER_WIDTH, LIMITS, SLICE_BYTES, Endpoint, to_reply
from rengafs.client.flow import Effect, Flow, Gather, Send, Sleep
from rengafs.client.unix_transport import UnixTransport
from rengafs.protocol import digests
from rengafs.protocol.endpoints import check
from rengafs.protocol.messages import Reply, Request

T = TypeVar("T")


class BlockingDriver:
    """Runs flows on the calling thread. May be shared by threads, not across a fork."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        path = endpoint.socket
        http = httpx.Client(
            base_url=endpoint.base_url(),
            headers=endpoint.all_headers(),
            transport=UnixTransport(path) if path else httpx.HTTPTransport(limits=LIMITS),
        )
        self._http = http
        self._elsewhere: list[httpx.Client] = []
        """At most one: most drivers never need it, and it takes a while to make."""
        self._elsewhere_from = 0.0
        """When addresses elsewhere are tried again: see `direct`."""
        # A script that never closes its client leaves no open connection behind either.
        self._close = weakref.finalize(self, _close_all, http, self._elsewhere)

    def run(self, flow: Flow[T], *, patience_seconds: float | None = None) -> T:
        """Carry *flow* out and return its result, or raise its error.

        :param patience_seconds: the bound on all of it; the endpoint's unless given.
            Each single wait for bytes stays bounded by the endpoint's patience.
        """
        bound = self.endpoint.patience_seconds if patience_seconds is None else patience_seconds
        return self._run(flow, time.monotonic() + bound)

    def _run(self, flow: Flow[T], deadline: float) -> T:
        try:
            step: Callable[[], Effect] = flow.__next__
            while True:
                effect = step()
                step = self._outcome(flow, effect, deadline)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            flow.close()

    def _outcome(self, flow: Flow[T], effect: Effect, deadline: float) -> Callable[[], Effect]:
        try:
            outcome = self._perform(effect, deadline)
        except Exception as error:  # noqa: BLE001 - the flow decides what it means
            failure = error
            return lambda: flow.throw(failure)
        return lambda: flow.send(outcome)

    def _perform(self, effect: Effect, deadline: float) -> Any:
        match effect:
            case Send(request):
                return self._send(request, deadline)
            case Sleep(seconds):
                if seconds > self._left(deadline):
                    raise self.endpoint.out_of_patience()
                time.sleep(seconds)
                return None
            case Gather(flows):
                with ThreadPoolExecutor(max_workers=GATHER_WIDTH) as pool:
                    return list(pool.map(lambda flow: self._run(flow, deadline), flows))

    def _send(self, request: Request, deadline: float) -> Reply:
        wait = min(self.endpoint.patience_seconds, self._left(deadline))
        with self.endpoint.translated():
            response = self._open(request, wait)
            try:
                # httpx bounds each wait for bytes; a reply that trickles in ends here.
                body = b"".join(self._until(deadline, response.iter_bytes()))
            finally:
                response.close()
        return to_reply(response, body)

    def _open(self, request: Request, wait_seconds: float) -> httpx.Response:
        """Send a request, to where the bytes lie if the service says so."""
        if time.monotonic() < self._elsewhere_from:
            request = direct.without(request)
        response = self._http.send(self._build(request, wait_seconds), stream=True)
        if not direct.leads_elsewhere(request, response):
            return response
        response.close()
        found = self._fetch_elsewhere(request, direct.address_of(response), wait_seconds)
        if found is not None:
            return found
        self._elsewhere_from = time.monotonic() + direct.GIVE_UP_SECONDS
        again = self._build(direct.without(request), wait_seconds)
        return self._http.send(again, stream=True)

    def _fetch_elsewhere(
        self, request: Request, address: str, wait_seconds: float
    ) -> httpx.Response | None:
        """Return the answer of an address; None: it did not give what was asked for."""
        if not self._elsewhere:
            self._elsewhere.append(httpx.Client(trust_env=False, limits=LIMITS))
        client = self._elsewhere[0]
        built = client.build_request(
            "GET",
            address,
            headers=dict(direct.headers_of(request)),
            timeout=self.endpoint.timeouts(wait_seconds),
        )
        try:
            response = client.send(built, stream=True)
        except httpx.HTTPError:
            return None
        if direct.is_answer(request, response):
            return response
        response.close()
        return None

    def _until(self, deadline: float, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._left(deadline)
            yield piece

    def _left(self, deadline: float) -> float:
        """Return the seconds that are left; raise `Unreachable` if none are."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise self.endpoint.out_of_patience()
        return left

    def _build(self, request: Request, wait_seconds: float) -> httpx.Request:
        digest = {} if request.hashed is None else digests.header_of(request.hashed)
        content = request.content
        built = self._http.build_request(
            request.method,
            request.path,
            params=dict(request.query),
            headers={**digest, **request.headers},
            content=content or None,
            timeout=self.endpoint.timeouts(wait_seconds),
        )
        if isinstance(content, bytes) and len(content) > SLICE_BYTES:
            built.stream = _Slices([content])
        elif isinstance(content, Iterable) and not isinstance(content, bytes):
            built.stream = _Slices(content)
        return built

    @contextmanager
    def stream(
        self, request: Request, *, timeout_seconds: float | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Send *request* once and give its body as it comes; raise the error it tells of.

        It is not repeated: only who reads a stream knows where to take it up again.

        :param timeout_seconds: the bound on each wait for bytes; the endpoint's unless given.
        """
        wait = self.endpoint.patience_seconds if timeout_seconds is None else timeout_seconds
        with self.endpoint.translated():
            response = self._open(request, wait)
        try:
            if response.status_code >= 300:
                with self.endpoint.translated():
                    check(to_reply(response, response.read()))
            yield self._pieces(response)
        finally:
            response.close()

    def _pieces(self, response: httpx.Response) -> Iterator[bytes]:
        # Only errors of the stream are translated, not those of the block that reads it.
        with self.endpoint.translated():
            yield from response.iter_bytes()

    def close(self) -> None:
        """Close all connections."""
        self._close()


class _Slices(httpx.SyncByteStream):
    """A long body, in slices: httpcore copies what is left of a piece after each packet."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if len(piece) <= SLICE_BYTES:
                yield piece
                continue
            with memoryview(piece) as view:
                for start in range(0, len(view), SLICE_BYTES):
                    yield bytes(view[start : start + SLICE_BYTES])


def _close_all(http: httpx.Client, elsewhere: list[httpx.Client]) -> None:
    for client in (http, *elsewhere):
        client.close()
