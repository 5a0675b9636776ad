"""Whether the service is away, and what the mount then says in its place.

A mount does not wait for each request once it knows that nobody answers: what is pinned is
told from this machine, and the rest fails at once when the service has been away for longer
than a request would be waited for. Whoever follows the feed tries on, and says when it is back.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from rengafs.client import calls
from rengafs.client.drivers import TrioDriver
from rengafs.fs.pins.known import Known, read_known
from rengafs.fs.remote import PROBE_SECONDS, Remote
from rengafs.protocol.errors import Away, SetupError, Unavailable
from rengafs.protocol.records import (
    Entry,
    Label,
    Node,
    Page,
    PastName,
    ServiceInfo,
    Usage,
    Version,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


class Absence:
    """Since when the service is away, if it is.

    :param patience_seconds: how long a request waits for a service that has just gone.
    """

    def __init__(self, patience_seconds: float) -> None:
        self.patience = patience_seconds
        self._since: float | None = None
        self._over = trio.Event()
        self.since_ms = 0
        """In milliseconds since 1970; 0: it is there."""
        self.from_start = False
        """Whether it has not been there since the mount began: nothing can be changed then."""

    @property
    def is_on(self) -> bool:
        """Whether the service is away."""
        return self._since is not None

    @property
    def is_long(self) -> bool:
        """Whether it has been away for longer than a request waits."""
        return self._since is not None and trio.current_time() - self._since >= self.patience

    async def over(self) -> None:
        """Wait until the service is there."""
        if self.is_on:
            await self._over.wait()

    def begin(self, *, long: bool = False) -> None:
        """Take in that nobody answers; *long*: nobody has since before the mount began."""
        if self._since is None:
            self._since = float("-inf") if long else trio.current_time()
            self.from_start = long
            self._over = trio.Event()
            self.since_ms = time.time_ns() // 1_000_000
            log.warning("the service is away: what is pinned or cached is read from this machine")

    def end(self) -> None:
        """Take in that somebody answers."""
        if self._since is not None:
            self._since = None
            self.since_ms = 0
            self.from_start = False
            self._over.set()
            log.warning("the service is back")


class EnduringRemote(Remote):
    """The service or, while it is away, what is known of it without asking.

    :param pins: the directory of all pins; None: nothing is known.
    :param cache: that of the block cache.
    """

    def __init__(
        self,
        driver: TrioDriver,
        client: str,
        absence: Absence,
        pins: Path | None,
        cache: Path,
    ) -> None:
        super().__init__(driver, client)
        self.absence = absence
        self._pins = pins
        self._cache = cache
        self.held: Callable[[int], dict[str, Node]] = lambda directory: {}
        """Returns what a mount has open or unsent in a directory; set by whoever mounts."""
        self._whose: tuple[str, str] | None = None
        self._known: Known | None = None
        self._loading = trio.Lock()

    @property
    def patience_seconds(self) -> float | None:
        """Short once the service has been away for long: it was waited for then."""
        return min(PROBE_SECONDS, self.absence.patience) if self.absence.is_long else None

    def serve(self, info: ServiceInfo) -> None:
        """Take in whose pins count."""
        self._whose = (info.catalog, info.user)

    async def begin(self) -> int:
        """Return the last change. Raises `SetupError` where another service answers."""
        info = await self.info()
        if self._whose is not None and self._whose != (info.catalog, info.user):
            raise SetupError("another service answers at this address, or as another user")
        return info.change

    async def known(self) -> Known:
        """Return what is known without asking."""
        async with self._loading:
            if self._known is None:
                if self._pins is None or self._whose is None:
                    self._known = Known([])
                else:
                    self._known = await trio.to_thread.run_sync(
                        read_known, self._pins, *self._whose, self._cache
                    )
            return self._known

    async def _ask(self, ask: Callable[[], Awaitable[T]], known: Callable[[Known], T]) -> T:
        """Return what the service says or, while it is away, what is known."""
        if not self.absence.is_on:
            self._known = None
            try:
                return await ask()
            except Unavailable:
                if not self.absence.is_on:
                    raise
        try:
            return known(await self.known())
        except Away:
            if self.absence.is_long:
                raise
        return await ask()

    async def node(self, number: int, *, at: int | None = None) -> Node:
        """Return a node's attributes. Raises `NotFound`, `Away`."""
        ask = super().node
        return await self._ask(lambda: ask(number, at=at), lambda known: known.node(number, at))

    async def find(self, directory: int, name: str, *, at: int | None = None) -> Entry | None:
        """Return the entry at a shown name, or None. Raises `Away`."""
        ask = super().find

        def known_here(known: Known) -> Entry | None:
            held = None if at is not None else self.held(directory).get(name)
            return Entry(name=name, node=held) if held else known.find(directory, name, at)

        return await self._ask(lambda: ask(directory, name, at=at), known_here)

    async def page(
        self,
        directory: int,
        after: str,
        limit: int,
        *,
        at: int | None = None,
        going_on: calls.GoingOn | None = None,
    ) -> Page:
        """Return a page of a directory; while the service is away, what is at hand of it."""
        ask = super().page

        def known_here(known: Known) -> Page:
            if not self.absence.is_long and not known.is_whole(directory, at):
                raise Away("the service may soon say more than is known here")
            held = {} if at is not None else self.held(directory)
            return known.page(directory, after, limit, at, held)

        return await self._ask(
            lambda: ask(directory, after, limit, at=at, going_on=going_on), known_here
        )

    async def change_at(self, at_ms: int) -> int:
        """Return the last change until a moment. Raises `Away`."""
        ask = super().change_at
        return await self._ask(lambda: ask(at_ms), lambda known: known.change_at(at_ms))

    async def labels(self, node: int) -> list[Label]:
        """Return the labels of the bucket where a node stands."""
        ask = super().labels
        return await self._ask(lambda: ask(node), lambda known: known.labels(node))

    async def find_label(self, node: int, name: str) -> Label | None:
        """Return a label of the bucket where a node stands, or None. Raises `Away`."""
        ask = super().find_label
        return await self._ask(lambda: ask(node, name), lambda known: known.find_label(name))

    async def history(self, directory: int, name: str) -> list[Version]:
        """Return all saves ever current under a name, oldest first."""
        ask = super().history
        return await self._ask(
            lambda: ask(directory, name), lambda known: known.saves(directory, name)
        )

    async def saved_at(self, directory: int, name: str, at_ms: int) -> list[Version]:
        """Return the saves under a name of one millisecond, in order."""
        ask = super().saved_at

        def pinned(known: Known) -> list[Version]:
            saves = known.saves(directory, name)
            return [version for version in saves if version.created_ms == at_ms]

        return await self._ask(lambda: ask(directory, name, at_ms), pinned)

    async def past_name(self, directory: int, name: str) -> PastName:
        """Return one name that a directory has or had. Raises `NotFound`, `Away`."""
        ask = super().past_name
        return await self._ask(
            lambda: ask(directory, name), lambda known: known.past_name(directory, name)
        )

    async def past_names(self, directory: int) -> list[PastName]:
        """Return all names that a directory has or had."""
        ask = super().past_names
        return await self._ask(lambda: ask(directory), lambda known: known.past_names(directory))

    async def version(self, number: int) -> Version:
        """Return one version. Raises `Away`."""
        ask = super().version
        return await self._ask(lambda: ask(number), lambda known: known.version(number))

    async def usage(self) -> Usage:
        """Return how much there is; while the service is away, of what is at hand."""
        ask = super().usage
        return await self._ask(ask, lambda known: known.usage())
