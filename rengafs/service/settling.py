"""Parked blobs are put into their backends: soon, some at a time, by whoever serves.

See `rengafs.catalog.parking` for why it may end at any point, and be done by several processes.
A store that does not answer is asked again at the next round; meanwhile small saves go on, until
so much is parked that they have to wait for the store themselves.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import anyio
import anyio.to_thread

from rengafs.backends.base import Backend
from rengafs.backends.flights import Flights
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.parking import AT_ONCE as PAGE
from rengafs.catalog.parking import Parked, settled_key
from rengafs.protocol.errors import RengafsError
from rengafs.service.parking import Parking

ROUND_SECONDS = 5.0
AT_ONCE = 8
"""Blobs that are put at a time."""
MANY = 4096
"""Blobs that are parked, from which on the oldest are settled before their time."""
FULL_BYTES = 256 << 20
"""Bytes that are parked, from which on no more are."""
END_SECONDS = 4.0
"""How long what is parked is put away when the service ends; the next one does the rest."""

log = logging.getLogger(__name__)


class Settler:
    """Settles what is parked, of the backends that park."""

    def __init__(self, catalog: Catalog, backends: Mapping[str, Backend]) -> None:
        self._catalog = catalog
        self._parkings = [one for one in backends.values() if isinstance(one, Parking)]
        self._end = anyio.Event()
        self._scope: anyio.CancelScope | None = None

    async def run(self) -> None:
        """Settle what is old enough, until `end`; then all, as far as that is quick."""
        if not self._parkings:
            return
        with anyio.CancelScope() as self._scope:
            while not self._end.is_set():
                await self._quietly(self._round)
                with anyio.move_on_after(ROUND_SECONDS):
                    await self._end.wait()
            await self._quietly(self.settle_all)

    def end(self) -> None:
        """Have `run` come to its end, soon."""
        self._end.set()
        if self._scope is not None:
            self._scope.deadline = anyio.current_time() + END_SECONDS

    async def settle_all(self) -> int:
        """Settle all that nobody else is settling; return how many."""
        return sum([await self._settle(one, 0) for one in self._parkings])

    async def _quietly(self, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except RengafsError as error:
            log.warning("parked blobs stay in the catalog for now: %s", error.message)

    async def _round(self) -> None:
        count, size = await anyio.to_thread.run_sync(self._catalog.parked_waiting)
        for parking in self._parkings:
            parking.full = size > FULL_BYTES
            if count:
                await self._settle(parking, 0 if count > MANY else parking.seconds)

    async def _settle(self, parking: Parking, seconds: float) -> int:
        settled = 0
        take = partial(self._catalog.take_parked, parking.name, int(seconds * 1000))
        while page := await anyio.to_thread.run_sync(take):
            done = await self._put(parking, page)
            unneeded = await anyio.to_thread.run_sync(self._catalog.settle_parked, done)
            for key in unneeded:
                await parking.delete(key)
            settled += len(done)
            if len(done) < len(page):
                left = {one.id for one in page} - {one.id for one in done}
                await anyio.to_thread.run_sync(self._catalog.release_parked, left)
                break  # the store is not well: the next round tries again
            if len(page) < PAGE or (self._end.is_set() and seconds):
                break
        return settled

    async def _put(self, parking: Parking, page: Sequence[Parked]) -> list[Parked]:
        """Put blobs into the backend; return those that are there."""
        done: list[Parked] = []
        failed: list[Parked] = []

        async def put(one: Parked) -> None:
            if failed:
                return  # each would wait for the store as long as the first
            try:
                await parking.put_as(settled_key(one.key), one.data)
            except RengafsError as error:
                failed.append(one)
                log.warning("a parked blob stays in the catalog for now: %s", error.message)
            else:
                done.append(one)

        flights = Flights(AT_ONCE)
        try:
            for one in page:
                await flights.add(put(one))
            await flights.land()
        finally:
            with anyio.CancelScope(shield=True):
                await flights.cancel()
        return done
