"""`Budget`: what the streams of a mount share: the bytes they hold, the connections they occupy.

Connections are given in the order in which they are asked for. While somebody waits for one,
a stream that has one keeps it for no more than the block at hand, and queues again; a paused
stream gives its own at once, or its bytes, when others need them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from rengafs.protocol.errors import Unreachable

CONNECTIONS = 12
"""At once. The HTTP client has more, for the requests that are not streams."""


class Holder(Protocol):
    """Who holds bytes and a connection: a `Stream`."""

    held_bytes: int

    def cancel(self) -> None:
        """End soon, and hold nothing any more."""

    def give_way(self) -> None:
        """Give the connection back soon. Only asked of who is paused."""


class Budget:
    """What the streams of a mount may hold and occupy together."""

    def __init__(self, limit_bytes: int = 64 << 20, connections: int = CONNECTIONS) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.connections = connections
        self._connected: set[Holder] = set()
        self._waiting: dict[Holder, trio.Event] = {}  # in the order of their coming
        self._paused: dict[Holder, None] = {}  # in the order in which they paused
        self._progressed_at = float("-inf")

    # --- bytes ------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more may be held that nobody waits for yet."""
        return self.used_bytes + size <= self.limit_bytes

    def take(self, size: int) -> None:
        """Hold *size* bytes more. What a reader waits for is never refused."""
        self.used_bytes += size
        excess = self.used_bytes - self.limit_bytes
        while excess > 0 and self._paused:
            holder = next(iter(self._paused))
            del self._paused[holder]
            holder.cancel()
            excess -= holder.held_bytes

    def release(self, size: int) -> None:
        """Hold *size* bytes less."""
        self.used_bytes -= size

    # --- connections ------------------------------------------------------------------

    @property
    def connected(self) -> int:
        """How many have a connection."""
        return len(self._connected)

    @property
    def is_contended(self) -> bool:
        """Whether somebody waits for a connection."""
        return bool(self._waiting)

    def progressed(self) -> None:
        """Note that bytes have come, for whomever."""
        self._progressed_at = trio.current_time()

    @asynccontextmanager
    async def connection(self, holder: Holder, deadline: float) -> AsyncIterator[float]:
        """Give one of the connections; and for how many seconds others were served meanwhile.

        Those do not count towards *deadline*: who waits in a queue that moves goes on waiting.
        Raises `Unreachable` when it does not move.
        """
        try:
            yield await self._turn(holder, deadline)
        finally:
            self._waiting.pop(holder, None)
            self._connected.discard(holder)
            self._hand_out()

    async def _turn(self, holder: Holder, deadline: float) -> float:
        began = trio.current_time()
        turn = self._waiting[holder] = trio.Event()
        self._hand_out()
        while not turn.is_set():
            until = deadline + self._served_since(began)
            if trio.current_time() >= until:
                raise Unreachable(
                    f"{self.connections} files are being read, and no byte comes for any of them; "
                    "try again when the service answers",
                    sent=False,
                )
            with trio.move_on_at(until):
                await turn.wait()
        return self._served_since(began)

    def _served_since(self, began: float) -> float:
        return max(0.0, self._progressed_at - began)

    def _hand_out(self) -> None:
        while self._waiting and len(self._connected) < self.connections:
            holder = next(iter(self._waiting))
            self._connected.add(holder)
            self._waiting.pop(holder).set()
        if self._waiting:
            paused = next((holder for holder in self._paused if holder in self._connected), None)
            if paused is not None:
                paused.give_way()

    # --- pauses -----------------------------------------------------------------------

    def pause(self, holder: Holder) -> None:
        """Note that *holder* can do without its connection and its bytes: nobody waits for them."""
        self._paused[holder] = None
        self._hand_out()

    def resume(self, holder: Holder) -> None:
        """Note that *holder* is wanted again."""
        self._paused.pop(holder, None)
