"""Behaviour around any backend: tries again, limits, a log. Each is a backend itself.

`wrapped` puts them around one in the order that makes sense: what is tried again waits for its
turn once, and the log tells what the caller saw.
"""

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from functools import partial

import anyio

from rengafs.backends.base import Backend, Composition, Listed, Needed, Space, Stored, nobody
from rengafs.backends.foreign import Found
from rengafs.backends.patience import Patience, resumed
from rengafs.protocol.errors import Corrupt, RengafsError, Unavailable

TRANSFERS = 32
"""Blobs that are stored or read at a time, of one backend."""
TURN_SECONDS = 30.0
"""Longest wait for a turn."""

log = logging.getLogger(__name__)


def wrapped(backend: Backend, *, patience: Patience | None = None) -> Backend:
    """Return a remote backend as the service uses it."""
    return Logged(Limited(Persistent(backend, patience or Patience()), TRANSFERS))


class Wrapper(Backend):
    """Hands everything on."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.distant = backend.distant
        self._backend = backend

    async def put(self, stream: AsyncIterable[bytes]) -> Stored:
        """Store a stream."""
        return await self._backend.put(stream)

    async def put_as(self, key: str, data: bytes) -> None:
        """Store a small blob under a key."""
        await self._backend.put_as(key, data)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        return await self._backend.compose(plan, payload)

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        async with aclosing(self._backend.read(key, start, stop, size=size)) as pieces:
            async for piece in pieces:
                yield piece

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""
        await self._backend.delete(key)

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all blobs."""
        async for listed in self._backend.list():
            yield listed

    async def space(self) -> Space:
        """Return how much there is room for."""
        return await self._backend.space()

    async def sweep_temporaries(self, older_than_seconds: float, needed: Needed = nobody) -> int:
        """Remove what calls that never ended left behind."""
        return await self._backend.sweep_temporaries(older_than_seconds, needed)

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a URL for reading a blob."""
        return await self._backend.presign(key, seconds)

    async def others(self, container: str) -> AsyncIterator[Found]:
        """Yield what other programs stored in a container."""
        async for found in self._backend.others(container):
            yield found

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._backend.aclose()


class Persistent(Wrapper):
    """Tries again what is temporary and may be repeated.

    Storing is not among it: its stream is gone by then. Backends that send parts try each
    part again by themselves.
    """

    def __init__(self, backend: Backend, patience: Patience) -> None:
        super().__init__(backend)
        self._patience = patience

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob; a stream that breaks is taken up where it broke."""
        if start >= stop:
            async with aclosing(super().read(key, start, stop, size=size)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        begin = partial(self._from, key, stop, size)
        read = resumed(self._patience, begin, start, stop, f"the blob {key}")
        async with aclosing(read) as pieces:
            async for piece in pieces:
                yield piece

    def _from(self, key: str, stop: int, size: int, start: int) -> AsyncGenerator[bytes, None]:
        return self._backend.read(key, start, stop, size=size)

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""
        await self._patience.insist(lambda: self._backend.delete(key), f"deleting {key}")

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all blobs. Begun anew after a break; none is told twice."""
        told: set[str] = set()
        began, wait = time.monotonic(), self._patience.first
        while True:
            try:
                async for listed in self._backend.list():
                    # Only what was told since a break can come again, but when one comes
                    # is not known before: keys are short.
                    if listed.key not in told:
                        told.add(listed.key)
                        yield listed
                return
            except Unavailable as error:
                wait = await self._patience.pause(error, began, wait, "a list of blobs")

    async def space(self) -> Space:
        """Return how much there is room for."""
        return await self._patience.insist(self._backend.space, "asking for room")

    async def sweep_temporaries(self, older_than_seconds: float, needed: Needed = nobody) -> int:
        """Remove what calls that never ended left behind."""
        return await self._patience.insist(
            lambda: self._backend.sweep_temporaries(older_than_seconds, needed), "sweeping"
        )

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a URL for reading a blob."""
        return await self._patience.insist(
            lambda: self._backend.presign(key, seconds), "asking for a signature"
        )


class Limited(Wrapper):
    """Bounds how many blobs are stored or read at a time."""

    def __init__(self, backend: Backend, transfers: int) -> None:
        super().__init__(backend)
        self._turns = anyio.Semaphore(transfers)

    async def put(self, stream: AsyncIterable[bytes]) -> Stored:
        """Store a stream."""
        await self._turn()
        try:
            return await super().put(stream)
        finally:
            self._turns.release()

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        await self._turn()
        try:
            return await super().compose(plan, payload)
        finally:
            self._turns.release()

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        await self._turn()
        try:
            async with aclosing(super().read(key, start, stop, size=size)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._turns.release()

    async def _turn(self) -> None:
        try:
            with anyio.fail_after(TURN_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable(
                f"the backend {self.name} is busy with other blobs; try again"
            ) from None


class Logged(Wrapper):
    """Tells in the log what failed, and at level DEBUG what was done and how long it took."""

    async def put(self, stream: AsyncIterable[bytes]) -> Stored:
        """Store a stream."""
        with self._told("put"):
            return await super().put(stream)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        with self._told("compose"):
            return await super().compose(plan, payload)

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        with self._told("read"):
            async with aclosing(super().read(key, start, stop, size=size)) as pieces:
                async for piece in pieces:
                    yield piece

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""
        with self._told("delete"):
            await super().delete(key)

    @contextmanager
    def _told(self, call: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except RengafsError as error:
            # Of what was asked wrong, the caller is told; the rest is the operator's, too.
            if error.status >= 500 and not isinstance(error, Corrupt):
                log.warning("backend %s: %s: %s", self.name, call, error.message)
            raise
        log.debug("backend %s: %s took %.3f s", self.name, call, time.monotonic() - began)
