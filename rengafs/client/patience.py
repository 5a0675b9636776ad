"""How long a flow may take: so many seconds, and anew whenever more of its request is on its way.

So a request that stalls fails after one patience, whatever is done about it meanwhile, and a
long upload that moves takes as long as it needs. What is sent again after a failure is no news:
it has as much time as was left, between any two of its pieces. Time in which the body's own
source has nothing to send is nobody's fault, and does not count.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import trio

from rengafs.client.connection import SLICE_BYTES
from rengafs.protocol.messages import Request


class Patience:
    """The bound on one flow; it holds while `scope` is entered."""

    def __init__(self, seconds: float) -> None:
        self.scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        self._seconds = self._left = seconds
        self._request: Request | None = None
        self._furthest = 0
        """Bytes of the request's body that some try has got rid of."""
        self._held = 0

    @property
    def deadline(self) -> float:
        """When it ends, in trio's time, unless something moves until then."""
        return self.scope.deadline

    def begin(self, request: Request) -> None:
        """Take in that a request is sent, once more or for the first time."""
        if request is not self._request:
            self._request, self._furthest = request, 0
        self._left = self.deadline - trio.current_time()

    def moved(self, position: int) -> None:
        """Take in how many bytes of the body the connection has taken."""
        if position > self._furthest:
            self._furthest, self._left = position, self._seconds
        if not self._held:
            self.scope.deadline = trio.current_time() + self._left

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the time not count."""
        self._held += 1
        self.scope.deadline = float("inf")
        try:
            yield
        finally:
            self._held -= 1
            if not self._held:
                self.scope.deadline = trio.current_time() + self._left


class Upload(httpx.AsyncByteStream):
    """A body on its way, in slices; it tells when it moves, and ends with its sending.

    httpx would wrap it in a generator, and leave that behind where a sending breaks off.
    """

    def __init__(self, content: bytes | AsyncIterable[bytes], patience: Patience) -> None:
        self._source = None if isinstance(content, bytes) else aiter(content)
        self._patience = patience
        self._rest = memoryview(content if isinstance(content, bytes) else b"")
        self._given = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._given:
            self._patience.moved(self._given)
        if not self._rest:
            if self._source is None:
                raise StopAsyncIteration
            with self._patience.held():
                self._rest = memoryview(await anext(self._source))
        part, self._rest = self._rest[:SLICE_BYTES], self._rest[SLICE_BYTES:]
        self._given += len(part)
        return bytes(part)

    async def aclose(self) -> None:
        """End the source, wherever it is."""
        if isinstance(self._source, AsyncGenerator):
            await self._source.aclose()
