"""The service as the mount sees it: the calls it makes, on one trio driver.

It adds nothing to the calls but the mount's own name in each change, so that the mount
knows its own changes in the feed, and None for "no such name", which a file system asks
for all day and which is no error there.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

from rengafs.client import calls
from rengafs.client.drivers import TrioDriver
from rengafs.client.flow import Flow
from rengafs.fs.summing import summed
from rengafs.protocol.errors import NotFound, RengafsError, Unavailable
from rengafs.protocol.operations import Commit, Operation, Outcome, SetAttributes
from rengafs.protocol.records import (
    Entry,
    Label,
    Node,
    Page,
    PastName,
    Read,
    ReadResult,
    Reserved,
    ServiceInfo,
    Usage,
    Version,
    Whereabouts,
)

T = TypeVar("T")

SMALL_BYTES = 1 << 20
"""Payloads up to this are sent as one piece; larger ones are streamed."""

PROBE_SECONDS = 2.0
"""How long it is waited for a service that may be away, or has been for long."""

FEED_TIMEOUT_SECONDS = 15.0
"""Three heartbeats: a feed that is silent for longer is lost."""


class Remote:
    """What the mount asks of the service. Every method may raise `Unavailable`."""

    def __init__(self, driver: TrioDriver, client: str) -> None:
        self._driver = driver
        self.client = client
        """Names this mount in the changes that it makes."""

    @property
    def patience_seconds(self) -> float | None:
        """How long a change waits for the service, at this moment; None: as the driver says."""
        return None

    async def _change(self, flow: Flow[T]) -> T:
        return await self._driver.run(flow, patience_seconds=self.patience_seconds)

    async def info(self) -> ServiceInfo:
        """Return who answers."""
        return await self._driver.run(calls.service())

    async def begin(self) -> int:
        """Return the last change, for a mount that begins to follow the feed only now."""
        return (await self.info()).change

    async def answers(self) -> bool:
        """Return whether anybody answers, soon."""
        try:
            await self._driver.run(calls.service(), patience_seconds=PROBE_SECONDS)
        except Unavailable:
            return False
        except RengafsError:
            pass  # a refusal is an answer
        return True

    async def now_ms(self) -> int:
        """Return the service's time, in milliseconds since 1970."""
        return (await self.info()).now_ms

    async def node(self, number: int, *, at: int | None = None) -> Node:
        """Return a node's attributes, now or as of a change. Raises `NotFound`."""
        return await self._driver.run(calls.node(number, at=at))

    async def find(self, directory: int, name: str, *, at: int | None = None) -> Entry | None:
        """Return the entry at a shown name, now or as of a change; or None."""
        try:
            return await self._driver.run(calls.entry(directory, name, at=at))
        except NotFound:
            return None

    async def page(
        self,
        directory: int,
        after: str,
        limit: int,
        *,
        at: int | None = None,
        going_on: calls.GoingOn | None = None,
    ) -> Page:
        """Return a page of a directory, now or as of a change.

        :param going_on: called with `Page.next` as soon as that is known, if it is before the rest.
        """
        flow = calls.entries(directory, after=after, limit=limit, at=at, going_on=going_on)
        return await self._driver.run(flow)

    async def change_at(self, at_ms: int) -> int:
        """Return the last change until a moment; 0 where there was none."""
        return (await self._driver.run(calls.moment(at_ms))).change

    async def labels(self, node: int) -> list[Label]:
        """Return the labels of the bucket where a node stands."""
        return await self._driver.run(calls.labels(node))

    async def find_label(self, node: int, name: str) -> Label | None:
        """Return a label of the bucket where a node stands, or None."""
        try:
            return await self._driver.run(calls.label(node, name))
        except NotFound:
            return None

    async def history(self, directory: int, name: str) -> list[Version]:
        """Return all saves ever current under a name, oldest first."""
        versions: list[Version] = []
        after = ""
        while True:
            page = await self._driver.run(calls.history(directory, name, after=after, limit=10_000))
            versions += page.versions
            after = page.next
            if not after:
                return versions

    async def saved_at(self, directory: int, name: str, at_ms: int) -> list[Version]:
        """Return the saves under a name of one millisecond, in order. Raises `NotFound`."""
        flow = calls.history(directory, name, limit=10_000, from_ms=at_ms, until_ms=at_ms)
        return (await self._driver.run(flow)).versions

    async def past_name(self, directory: int, name: str) -> PastName:
        """Return one name that a directory has or had. Raises `NotFound`."""
        return await self._driver.run(calls.past_name(directory, name))

    async def past_names(self, directory: int) -> list[PastName]:
        """Return all names that a directory has or had."""
        names: list[PastName] = []
        after = ""
        while True:
            page = await self._driver.run(calls.past_names(directory, after=after, limit=10_000))
            names += page.names
            after = page.next
            if not after:
                return names

    async def version(self, number: int) -> Version:
        """Return one version."""
        return await self._driver.run(calls.version(number))

    async def whereabouts(self, version: int) -> Whereabouts:
        """Return the file on the service's machine that a version's bytes are, if told."""
        return await self._driver.run(calls.whereabouts(version))

    async def read_many(self, reads: Sequence[Read]) -> list[tuple[ReadResult, bytes]]:
        """Return many small reads, in order; each may have a problem instead of bytes."""
        return await self._driver.run(calls.read_many(reads))

    async def hold(self, versions: Sequence[int], seconds: int, *, holder: str = "") -> None:
        """Keep these versions from being pruned, and no others that this mount held before.

        :param holder: who holds them, if it is not this mount.
        """
        await self._driver.run(calls.hold(holder or self.client, versions, seconds))

    async def usage(self) -> Usage:
        """Return how much there is."""
        return await self._driver.run(calls.usage())

    async def change(self, operation: Operation) -> Outcome:
        """Carry out one operation; raise what came of it."""
        return await self._change(calls.apply_one(operation, client=self.client))

    async def apply(self, operations: Sequence[Operation | tuple[Commit, bytes]]) -> list[Outcome]:
        """Carry out operations in order, up to the first that fails; return what came of each."""
        return await self._change(calls.apply(operations, client=self.client))

    async def reserve(self, count: int) -> Reserved:
        """Return ids for files that are made later."""
        return await self._change(calls.reserve(count))

    async def commit(
        self,
        operation: Commit,
        payload: Callable[[], AsyncIterator[bytes]],
        *,
        before: SetAttributes | None = None,
    ) -> Outcome:
        """Commit; a small payload in one piece, a large one streamed. *before*, set attributes.

        A large one may take as long as it needs while it moves; one that stalls is
        `Unreachable` after one patience, as is a small one.
        """
        if operation.payload <= SMALL_BYTES:
            data = b"".join([piece async for piece in payload()])
            first = [] if before is None else [before]
            outcomes = await self.apply([*first, (operation, data)])
            for outcome in outcomes:
                calls.good(outcome)
            return outcomes[-1]
        if before is not None:
            await self.change(before)
        body = partial(summed, self.client, calls.keyed(operation), payload)
        return await self._change(calls.commit_summed(body))

    async def apply_ahead(self, body: AsyncIterator[bytes]) -> list[Outcome]:
        """Send a body that begins with content, and ends with what it is saved as."""
        return await self._change(calls.apply_ahead(body))

    def stream(
        self, version: int, start: int, stop: int
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give bytes *start* to *stop* (excluded) of a version as they come."""
        return self._driver.stream(calls.content(version, start, stop))

    def feed(self, since: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Give the feed's bytes from the change after *since*."""
        return self._driver.stream(calls.feed(since), timeout_seconds=FEED_TIMEOUT_SECONDS)
