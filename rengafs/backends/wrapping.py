"""Behaviour around any backend: tries again, limits, a log. Each is a backend itself.

`wrapped` puts them around one in the order that makes sense: what is tried again has
its place already, and the log tells what the caller saw.
"""

import logging
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import anyio

from rengafs.backends.base import (
    Backend,
    Composition,
    Growing,
    Listed,
    Needed,
    Space,
    Stored,
    nobody,
)
from rengafs.backends.foreign import Found
from rengafs.backends.patience import Patience, resumed
from rengafs.protocol.errors import Corrupt, RengafsError, Unavailable

TRANSFERS = 128
"""Blobs of one backend that are stored or read at a time, also by clients that take their time:
each has a connection, or a part in memory."""
TURNS = 32
"""Those of them that wait for the store rather than for their client."""
BEGIN_SECONDS = 30.0
"""Longest wait for a place among the transfers, and for the first turn."""
GO_ON_SECONDS = 120.0
"""Longest wait for a further turn: much is done already."""

log = logging.getLogger(__name__)


def wrapped(backend: Backend, *, patience: Patience | None = None) -> Backend:
    """Return a backend as the service uses it."""
    if not backend.distant:
        return Logged(backend)  # its threads bound it, and a disk gets no better by waiting
    return Logged(Limited(Persistent(backend, patience or Patience())))


class Wrapper(Backend):
    """Hands everything on."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.distant = backend.distant
        self._backend = backend

    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream."""
        return await self._backend.put(stream, length)

    async def take(self, file: Growing) -> Stored:
        """Store what is written to a file."""
        if self.distant:
            return await self.put(file.stream())  # as every stream that is stored there
        return await self._backend.take(file)

    async def put_as(self, key: str, data: bytes) -> None:
        """Store a small blob under a key."""
        await self._backend.put_as(key, data)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        return await self._backend.compose(plan, payload)

    def compose_now(self, plan: Composition, payload: bytes) -> Stored | None:
        """Store what *plan* says in the calling thread."""
        return self._backend.compose_now(plan, payload)

    async def copy(self, key: str, size: int, *, sha256: str = "", pieces: bytes = b"") -> Stored:
        """Store the bytes of a blob once more."""
        return await self._backend.copy(key, size, sha256=sha256, pieces=pieces)

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

    def file_of(self, key: str) -> Path | None:
        """Return the file that is a blob."""
        return self._backend.file_of(key)

    async def waiting(self, older_than_seconds: float) -> Sequence[str]:
        """Return the keys of blobs that `draw_out` has work with."""
        return await self._backend.waiting(older_than_seconds)

    async def draw_out(self, key: str) -> None:
        """Do what could wait when a blob was stored."""
        await self._backend.draw_out(key)

    async def others(self, container: str) -> AsyncIterator[Found]:
        """Yield what other programs stored in a container."""
        async for found in self._backend.others(container):
            yield found

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._backend.aclose()


class Persistent(Wrapper):
    """Tries again what is temporary and may be repeated.

    Storing is not among it: its stream is gone by then. Nor are lists: what was told would be
    told again. Remote backends try each part and each page again by themselves.
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
    """Bounds how many blobs are stored or read at a time.

    A transfer has a place from its beginning to its end, and a turn only while it waits for
    the store: a client that is slow to send or to take keeps nobody else from the store.
    """

    def __init__(self, backend: Backend, transfers: int = TRANSFERS, turns: int = TURNS) -> None:
        super().__init__(backend)
        self._places = anyio.Semaphore(transfers)
        self._turns = anyio.Semaphore(turns)

    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream."""
        async with self._transfer() as turn:
            return await super().put(_received(stream, turn), length)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        async with self._transfer() as turn:
            return await super().compose(plan, _received(payload, turn))

    async def copy(self, key: str, size: int, *, sha256: str = "", pieces: bytes = b"") -> Stored:
        """Store the bytes of a blob once more."""
        async with self._transfer():
            return await super().copy(key, size, sha256=sha256, pieces=pieces)

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        async with (
            self._transfer() as turn,
            aclosing(super().read(key, start, stop, size=size)) as pieces,
        ):
            async for piece in pieces:
                turn.end()  # who takes the piece may be slow
                yield piece
                await turn.begin(GO_ON_SECONDS)

    @asynccontextmanager
    async def _transfer(self) -> AsyncIterator["_Turn"]:
        await _acquire(self._places, BEGIN_SECONDS, self.name)
        turn = _Turn(self._turns, self.name)
        try:
            await turn.begin(BEGIN_SECONDS)
            yield turn
        finally:
            turn.end()
            self._places.release()


class _Turn:
    """A transfer's turn, which it has or has not."""

    def __init__(self, turns: anyio.Semaphore, name: str) -> None:
        self._turns = turns
        self._name = name
        self._has = False

    async def begin(self, seconds: float) -> None:
        """Wait for it."""
        await _acquire(self._turns, seconds, self._name)
        self._has = True

    def end(self) -> None:
        """Leave it to others."""
        if self._has:
            self._has = False
            self._turns.release()


async def _received(stream: AsyncIterable[bytes], turn: _Turn) -> AsyncIterator[bytes]:
    """Yield a client's stream; the turn is another's while the client is waited for."""
    turn.end()
    async for piece in stream:
        await turn.begin(GO_ON_SECONDS)
        yield piece
        turn.end()
    await turn.begin(GO_ON_SECONDS)


async def _acquire(places: anyio.Semaphore, seconds: float, name: str) -> None:
    try:
        with anyio.fail_after(seconds):
            await places.acquire()
    except TimeoutError:
        raise Unavailable(f"the backend {name} is busy with other blobs; try again") from None


class Logged(Wrapper):
    """Tells in the log what failed, and at level DEBUG what was done and how long it took."""

    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream."""
        with self._told("put"):
            return await super().put(stream, length)

    async def take(self, file: Growing) -> Stored:
        """Store what is written to a file."""
        with self._told("take"):
            return await super().take(file)

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says."""
        with self._told("compose"):
            return await super().compose(plan, payload)

    def compose_now(self, plan: Composition, payload: bytes) -> Stored | None:
        """Store what *plan* says in the calling thread."""
        with self._told("compose"):
            return super().compose_now(plan, payload)

    async def copy(self, key: str, size: int, *, sha256: str = "", pieces: bytes = b"") -> Stored:
        """Store the bytes of a blob once more."""
        with self._told("copy"):
            return await super().copy(key, size, sha256=sha256, pieces=pieces)

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
