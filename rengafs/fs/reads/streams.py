"""`Stream`: one range of a version on its way from the service, and who waits for it.

A stream is a background task that reads one long answer, keeps the part of it that its
readers are about to want, and pauses when it is far enough ahead of them. It goes on at the
byte where it was: after a lost connection, and when it has given its own to another stream
that waited for one (`budget`). It knows nothing of the cache, nor of why this range:
`reading` decides that.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import trio

from rengafs.client.retry import FIRST_DELAY, LONGEST_DELAY
from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.cache import BLOCK_BYTES
from rengafs.fs.reads.readahead import NEAR_BYTES
from rengafs.protocol.errors import Corrupt, RengafsError, Unavailable, Unreachable

log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
"""A paused stream lets go of its connection after this, and of its bytes after as long again."""


class Source(Protocol):
    """Where bytes of versions come from."""

    def stream(
        self, version: int, start: int, stop: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give bytes *start* to *stop* (excluded) as they come. Raises rengafs errors."""


@dataclass(slots=True, eq=False)
class _Waiter:
    stop: int
    ready: trio.Event


class Stream:
    """Bytes *start* to *stop* of a version. `run` it in a task; `read` from it meanwhile.

    :param whole: whether to fetch it all at once; else as far as readers want it.
    :param deliver: is awaited with (index, bytes) of each block that is complete.
    """

    def __init__(
        self,
        source: Source,
        budget: Budget,
        version: int,
        start: int,
        stop: int,
        *,
        size: int,
        whole: bool,
        patience_seconds: float,
        deliver: Callable[[int, bytes], Awaitable[None]],
    ) -> None:
        self.version, self.start, self.stop = version, start, stop
        self.position = start
        """As far as bytes have come."""
        self.whole = whole
        self.users: set[Hashable] = set()
        """The handles that read on here; for the reader to note."""
        self.held_bytes = 0
        self.over = False
        self.done = trio.Event()
        """Set when the task has ended."""
        self._source, self._budget = source, budget
        self._size = size
        self._patience = patience_seconds
        self._deliver = deliver
        self._blocks: dict[int, bytearray | bytes] = {}
        self._low = start
        """What lies below was let go."""
        self._needed = stop if whole else start
        self._limit = self._needed
        self._read_to = start
        self._waiters: list[_Waiter] = []
        self._wanted = trio.Event()
        self._gives_way = False
        self._error: Exception | None = None
        self._deadline = trio.current_time() + patience_seconds
        self._scope = trio.CancelScope()

    # --- for readers ------------------------------------------------------------------

    def serves(self, offset: int) -> bool:
        """Whether the byte at *offset* is here, or will be soon."""
        if self.over or self._scope.cancel_called or not self._low <= offset < self.stop:
            return False
        return self.whole or offset <= self.position + NEAR_BYTES

    async def read(self, start: int, stop: int, ahead_to: int = 0) -> bytes | None:
        """Return bytes, all of one block; None if they will not come from here any more.

        :param ahead_to: as far as the reader will probably go.

        Raises the error that ended the stream before *stop*.
        """
        assert self.start <= start < stop <= self.stop, "not a range of this stream"
        self._want(stop, ahead_to)
        while self.position < stop:
            if self._error is not None:
                raise _again(self._error)
            if self.over or self._scope.cancel_called:
                return None
            waiter = _Waiter(stop, trio.Event())
            self._waiters.append(waiter)
            try:
                await waiter.ready.wait()
            finally:
                self._waiters.remove(waiter)
        if start < self._low:
            return None
        data = self._slice(start, stop)
        self._read_to = max(self._read_to, stop)
        self._let_go()
        return data

    def cancel(self) -> None:
        """End the task soon. Who still waits is told that nothing comes from here."""
        self._scope.cancel()

    def give_way(self) -> None:
        """End the request that is paused, so that another stream can have the connection."""
        self._gives_way = True
        self._wanted.set()

    def pieces(self, unit: int) -> list[tuple[int, bytes]]:
        """Return (number, bytes) of the aligned pieces of *unit* bytes that are held."""
        found = []
        for number in range(-(-self._low // unit), -(-self.position // unit)):
            end = min((number + 1) * unit, self._size)
            if end <= self.position:
                found.append((number, self._slice(number * unit, end)))
        return found

    def _want(self, stop: int, ahead_to: int) -> None:
        self._needed = max(self._needed, stop)
        self._limit = max(self._limit, stop, min(ahead_to, self.stop))
        self._wanted.set()

    def _slice(self, start: int, stop: int) -> bytes:
        index = start // BLOCK_BYTES
        block = self._blocks[index]
        first = max(index * BLOCK_BYTES, self.start)
        if stop - start == len(block) and isinstance(block, bytes):
            return block
        with memoryview(block) as view:
            return bytes(view[start - first : stop - first])

    def _let_go(self) -> None:
        """Let go of blocks well behind the readers. The kernel asks a little out of order."""
        if self.whole or self.over:
            return  # small, and soon over; or given back already
        for index in list(self._blocks):
            end = (index + 1) * BLOCK_BYTES
            if end > min(self._read_to - NEAR_BYTES, self.position):
                return
            self._drop(index)
            self._low = max(self._low, end)

    def _drop(self, index: int) -> None:
        del self._blocks[index]
        size = self._room_of(index)
        self.held_bytes -= size
        self._budget.release(size)

    def _room_of(self, index: int) -> int:
        start = max(index * BLOCK_BYTES, self.start)
        return min((index + 1) * BLOCK_BYTES, self.stop) - start

    # --- the task ---------------------------------------------------------------------

    async def run(self) -> None:
        """Fetch. Returns when all is read, or nobody wants it, or it failed; never raises."""
        try:
            with self._scope:
                await self._fetch()
                if not self.whole:
                    await self._linger()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
            if isinstance(error, Corrupt):
                log.error("version %d: %s", self.version, error.message)
        finally:
            self._end()

    async def _fetch(self) -> None:
        """Fetch the rest: in one request, or in more where others wait, or it is cut off."""
        delay = FIRST_DELAY
        while self.position < self.stop and await self._is_wanted():
            before = self.position
            try:
                async with self._budget.connection(self, self._deadline) as waited_seconds:
                    self._deadline += waited_seconds
                    await self._fetch_once()
            except Unavailable as error:
                if self.position == self.stop:
                    return
                delay = FIRST_DELAY if self.position > before else delay
                if trio.current_time() + delay >= self._deadline:
                    raise
                log.info("version %d: resuming at byte %d: %s", self.version, self.position, error)
                await trio.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY)

    async def _fetch_once(self) -> None:
        """Fetch the rest, or as much of it as one request may, or as long as it is wanted."""
        # Who waits in a queue comes soon to his turn if each asks for a block only, and such
        # an answer, unlike one that is broken off, leaves a connection that can be used again.
        stop = self._block_end() if self._budget.is_contended else self.stop
        with trio.move_on_after(self._patience / 2) as opening:
            stream = self._source.stream(self.version, self.position, stop)
            async with stream as chunks:
                opening.deadline = float("inf")
                try:
                    await self._take_from(chunks, stop)
                finally:
                    if isinstance(chunks, AsyncGenerator):
                        await chunks.aclose()  # not when it is collected, wherever that is
                return
        raise self._out_of_patience()

    async def _take_from(self, chunks: AsyncIterator[bytes], stop: int) -> None:
        end = self._block_end()
        while await self._is_wanted():
            chunk = await self._next(chunks)
            if chunk is None:
                self._check_end(stop)
                return
            await self._accept(chunk, stop)
            if end <= self.position < stop and self._budget.is_contended:
                return  # it is another one's turn

    def _block_end(self) -> int:
        return min((self.position // BLOCK_BYTES + 1) * BLOCK_BYTES, self.stop)

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        # Half the patience: a connection that went silent leaves time for another one.
        with trio.move_on_after(self._patience / 2):
            return await anext(chunks, None)
        raise self._out_of_patience()

    def _out_of_patience(self) -> Unreachable:
        return Unreachable(
            f"no byte of version {self.version} came within {self._patience / 2:g} s", sent=True
        )

    def _check_end(self, stop: int) -> None:
        if self.position != stop:
            raise Corrupt(
                f"the service sent bytes {self.start} to {self.position} of version "
                f"{self.version}, and should have gone on to {stop}",
                version=self.version,
            )

    async def _accept(self, chunk: bytes, stop: int) -> None:
        if self.position + len(chunk) > stop:
            raise Corrupt(
                f"the service sent more than bytes {self.start} to {stop} of version "
                f"{self.version}",
                version=self.version,
            )
        taken, view = 0, memoryview(chunk)
        while taken < len(chunk):
            index = self.position // BLOCK_BYTES
            end = min((index + 1) * BLOCK_BYTES, self.stop)
            part = view[taken : taken + end - self.position]
            block = self._block(index)
            if not block and len(part) == len(chunk) and self.position + len(part) == end:
                self._blocks[index] = chunk  # all of it at once: nothing to put together
            else:
                block.extend(part)
            taken += len(part)
            self.position += len(part)
            complete = self._completed(index) if self.position == end else None
            self._wake()
            if complete is not None:
                await self._deliver(index, complete)
        self._budget.progressed()
        self._deadline = trio.current_time() + self._patience

    def _block(self, index: int) -> bytearray:
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = bytearray()
            size = self._room_of(index)
            self.held_bytes += size
            self._budget.take(size)
        assert isinstance(block, bytearray)
        return block

    def _completed(self, index: int) -> bytes | None:
        """Return the block if all of it is here, not just this stream's part."""
        data = self._blocks[index] = bytes(self._blocks[index])
        whole = min(BLOCK_BYTES, self._size - index * BLOCK_BYTES)
        return data if len(data) == whole else None

    def _wake(self) -> None:
        for waiter in self._waiters:
            if waiter.stop <= self.position:
                waiter.ready.set()

    async def _is_wanted(self) -> bool:
        """Wait until there is reason to read on; False if that does not come."""
        if self._may_go_on():
            return True
        while not self._may_go_on():
            if not await self._wait_for_wish():
                return False
        self._deadline = trio.current_time() + self._patience
        return True

    def _may_go_on(self) -> bool:
        if self.position < self._needed or self.position == self.stop:
            return True
        if self.position >= self._limit:
            return False
        index = self.position // BLOCK_BYTES
        return index in self._blocks or self._budget.has_room(self._room_of(index))

    async def _wait_for_wish(self) -> bool:
        self._wanted = trio.Event()
        self._gives_way = False
        self._budget.pause(self)
        try:
            with trio.move_on_after(IDLE_SECONDS):
                await self._wanted.wait()
                return not self._gives_way
            return False
        finally:
            self._budget.resume(self)

    async def _linger(self) -> None:
        """Hold what came until it is read: the cache may be too small for it."""
        while self._read_to < self.position == self.stop and await self._wait_for_wish():
            pass

    def _end(self) -> None:
        self.over = True
        self._budget.resume(self)
        self._budget.release(self.held_bytes)
        self.held_bytes = 0
        for waiter in self._waiters:
            waiter.ready.set()
        self.done.set()


def _again(error: Exception) -> Exception:
    """Return a fresh error for each who waits: one traceback for all would only grow."""
    if not isinstance(error, RengafsError):
        return error
    again = type(error)(error.message, **error.details)
    again.__cause__ = error
    return again
