"""The task of a mount that carries pins out: attributes, bytes, leases, and all of it current.

Of the mounts of one user, service and cache, one does this for all: who holds the lock. Pins
come and go as files that commands write; these poke the mounts, and now and then it is looked.
What the feed says outdates a pin; after a moment of quiet, what has changed is asked for again.
"""

import fcntl
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from rengafs.fs.pins import records
from rengafs.fs.pins.fetching import fetch, is_in_place, needed_bytes
from rengafs.fs.pins.gathering import Outdated, gather, renew
from rengafs.fs.pins.records import Pin, PinState, Tree
from rengafs.fs.reads.cache import BlockCache
from rengafs.fs.remote import Remote
from rengafs.protocol.errors import NoSpace, NotFound, RengafsError, TooLarge, Unavailable
from rengafs.protocol.keeping import pin_holder
from rengafs.protocol.records import ROOT, Event

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""How often it is looked whether pins have come or gone, if nobody pokes."""
QUIET_SECONDS = 0.3
"""Changes that follow one another are taken in together."""
AGAIN_SECONDS = 30.0
"""When what could not be done is tried again."""
LEASE_SECONDS = 30 * 86_400
RENEW_MS = 86_400_000
TOLD_SECONDS = 0.5
"""How often it is told how far a fetching is."""
FEW = 2000
"""Versions of a live pin that the service is told of at each change. Of more once an hour: what
was current is safe for a day."""
SELDOM_MS = 3_600_000


@dataclass(slots=True, eq=False)
class Kept:
    """A pin, as this mount carries it out."""

    pin: Pin
    state: PinState
    due: float = float("-inf")
    """When it is to be looked after next, in trio's time; infinity: when something changes."""
    outdated: Outdated | None = None
    """What has changed since its tree was gathered; None: all of it is to be gathered."""
    gathering: bool = False
    """What is in it is being asked for: till that is known, every change may concern it."""
    took: float = 0.0
    """Seconds that it took to bring it up to date the last time."""
    names: set[int] = field(default_factory=set)
    """Directories a change of whose names concerns it."""
    nodes: set[int] = field(default_factory=set)
    """What is in it, and leads to it."""
    complete: frozenset[int] = frozenset()
    """Versions whose bytes were found, or put, on disk."""
    held: frozenset[int] = frozenset()
    """Versions that the service was told of."""


class PinKeeper:
    """Carries out the pins of one service and user.

    :param pins: the directory of all pins; see `records`.
    :param here: whether the service may be on this machine: it is reached by a Unix socket.
    """

    def __init__(
        self,
        remote: Remote,
        cache: BlockCache,
        pins: Path,
        *,
        catalog: str,
        user: str,
        here: bool = False,
    ) -> None:
        self._remote, self._cache, self._pins = remote, cache, pins
        self._catalog, self._user = catalog, user
        self._here = here
        self._kept: dict[str, Kept] = {}
        self._poked = trio.Event()

    def poke(self) -> None:
        """Look at once whether pins have come or gone."""
        self._poked.set()

    def missed(self) -> None:
        """Take in that the service was away: what waited for it is done at once."""
        self.began_anew()

    def began_anew(self) -> None:
        """Take in that anything may have changed."""
        for kept in self._kept.values():
            if kept.pin.is_live:
                kept.outdated, kept.due = None, float("-inf")
        self.poke()

    def heard(self, event: Event) -> None:
        """Take in what the feed says, of changes of this mount's own too."""
        for kept in self._kept.values():
            if kept.pin.is_live and _outdates(event, kept):
                kept.due = min(kept.due, trio.current_time() + max(QUIET_SECONDS, kept.took))
                self.poke()

    async def run(self) -> None:
        """Keep pins, until cancelled; wait for as long as another mount does."""
        while not await trio.to_thread.run_sync(self._pins.is_dir):
            await self._pause(LOOK_SECONDS)
        lock = await self._lock()
        try:
            while True:
                await self._look()
                for kept in list(self._kept.values()):
                    if kept.due <= trio.current_time():
                        await self._look_after(kept)
                await self._pause(self._patience())
        finally:
            os.close(lock)

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(max(0.0, seconds)):
            await self._poked.wait()
        self._poked = trio.Event()

    def _patience(self) -> float:
        soonest = min((kept.due for kept in self._kept.values()), default=float("inf"))
        return min(LOOK_SECONDS, soonest - trio.current_time())

    async def _lock(self) -> int:
        cache = str(self._cache.options.directory)
        path = self._pins / records.shared_name(self._catalog, self._user, cache, ".lock")
        while True:
            lock = await trio.to_thread.run_sync(_try_lock, path)
            if lock is not None:
                return lock
            await self._pause(LOOK_SECONDS)

    async def _look(self) -> None:
        """Take in which pins there are."""
        cache = str(self._cache.options.directory)
        found = {
            pin.id: pin
            for pin in await trio.to_thread.run_sync(records.read_pins, self._pins)
            if (pin.catalog, pin.user, pin.cache) == (self._catalog, self._user, cache)
        }
        for number in self._kept.keys() - found.keys():
            await self._let_go(self._kept.pop(number).pin)
        for number in found.keys() - self._kept.keys():
            state = await trio.to_thread.run_sync(records.read_state, self._pins, number)
            self._kept[number] = Kept(found[number], state)

    # --- one pin ----------------------------------------------------------------------

    async def _look_after(self, kept: Kept) -> None:
        """Bring a pin up to date, and tell what came of it."""
        began = trio.current_time()
        kept.due = began + AGAIN_SECONDS
        try:
            try:
                await self._carry_out(kept)
                kept.took = trio.current_time() - began
                kept.due = trio.current_time() + RENEW_MS / 1000
                if kept.outdated and (kept.outdated.directories or kept.outdated.nodes):
                    kept.due = trio.current_time() + max(QUIET_SECONDS, kept.took)
            except Unavailable as error:
                log.info("the pin of %s waits for the service: %s", kept.pin.name, error)
                kept.outdated = None
                if kept.state.state == records.FETCHING:
                    await self._tell(kept, state=records.INCOMPLETE, problem=error.message)
            except (RengafsError, OSError) as error:
                await self._failed(kept, error)
        except FileNotFoundError:
            await self._let_go(kept.pin)  # meanwhile; what was told of it last was in vain
        except (RengafsError, OSError) as error:
            # On a full disk, say. The pin is looked after again, as is what is still to be told.
            log.warning("how far the pin of %s is can't be told: %s", kept.pin.name, error)

    async def _failed(self, kept: Kept, error: RengafsError | OSError) -> None:
        text = error.message if isinstance(error, RengafsError) else error.strerror or str(error)
        kept.outdated = None
        if kept.pin.is_live and isinstance(error, NotFound):
            # It may come again; until then there is nothing to keep.
            await self._keep_nothing(kept)
            state = records.GONE
        elif isinstance(error, TooLarge | NoSpace) and kept.state.state != records.KEPT:
            state = records.REFUSED
        else:
            state = records.INCOMPLETE
        if kept.state.problem != text:
            log.warning("the pin of %s: %s", kept.pin.name, text)
        await self._tell(kept, state=state, problem=text)

    async def _carry_out(self, kept: Kept) -> None:
        pin = kept.pin
        change = (await self._remote.info()).change
        outdated, kept.outdated = kept.outdated, Outdated()
        kept.gathering = True
        try:
            tree = await self._tree(kept, outdated)
            _watch(kept, tree)
        finally:
            kept.gathering = False
        versions = tree.versions(pin)
        await self._hold(kept, frozenset(versions))
        sized = [(version, size) for version, (size, _) in versions.items()]
        total = sum(size for _, size in sized)
        if kept.state.state not in (records.KEPT, records.INCOMPLETE):
            await self._tell(
                kept, state=records.FETCHING, files=len(sized), bytes=total, fetched=0, problem=""
            )
        in_place = await self._is_in_place(sized)
        if in_place:
            await self._cache.unpin(pin.id)
        else:
            await self._fetch(kept, sized)
        await trio.to_thread.run_sync(records.write_tree, self._pins, pin.id, tree)
        await self._tell(
            kept,
            state=records.KEPT,
            files=len(sized),
            bytes=total,
            fetched=total,
            in_place=in_place,
            problem="",
            change=change,
        )

    async def _tree(self, kept: Kept, outdated: Outdated | None) -> Tree:
        """Return what the pin covers now; of what never changes, what was gathered once."""
        known = None
        if outdated is not None or not kept.pin.is_live:
            known = await trio.to_thread.run_sync(records.read_tree, self._pins, kept.pin.id)
        if known is None:
            return await gather(self._remote, kept.pin)
        if not kept.pin.is_live or outdated is None:
            return known
        return await renew(self._remote, kept.pin, known, outdated)

    async def _hold(self, kept: Kept, versions: frozenset[int]) -> None:
        """Tell the service that no prune is to take these versions, if it is time to."""
        now_ms = time.time_ns() // 1_000_000
        age_ms = now_ms - kept.state.held_ms
        changed = versions != kept.held and (
            not kept.pin.is_live or len(versions) <= FEW or age_ms > SELDOM_MS
        )
        if not changed and age_ms < RENEW_MS:
            return
        holder = pin_holder(kept.pin.host, kept.pin.id)
        await self._remote.hold(sorted(versions), LEASE_SECONDS, holder=holder)
        kept.held = versions
        await self._tell(kept, held_ms=now_ms)

    async def _is_in_place(self, sized: list[tuple[int, int]]) -> bool:
        largest = max(sized, key=lambda one: one[1], default=(0, 0))
        return self._here and largest[1] > 0 and await is_in_place(self._remote, largest[0])

    async def _fetch(self, kept: Kept, sized: list[tuple[int, int]]) -> None:
        pin = kept.pin
        if not self._cache.options.limit_bytes:
            raise NoSpace("this mount keeps no blocks on disk; mount with another --cache-size")
        needed = sum(needed_bytes(size) for _, size in sized)
        room = await self._cache.room_for(pin.id)
        if needed > room:
            raise NoSpace(
                f"it needs {needed} bytes of the cache, and pins may take {room} more; mount with "
                "a larger --cache-size, or let other pins go"
            )
        now = {version for version, _ in sized}
        await self._cache.pin(pin.id, sorted(now | kept.complete))
        new = [one for one in sized if one[0] not in kept.complete]
        done = sum(size for version, size in sized if version in kept.complete)
        progress = _Progress(done)

        async def fetched(count: int) -> None:
            if progress.add(count):
                await self._tell(kept, fetched=progress.done)

        await fetch(self._remote, self._cache, new, fetched)
        kept.complete = frozenset(now)
        await self._cache.pin(pin.id, sorted(now))

    async def _keep_nothing(self, kept: Kept) -> None:
        kept.complete = frozenset()
        root = await self._remote.node(ROOT)
        await self._cache.unpin(kept.pin.id)
        write = partial(records.write_tree, self._pins, kept.pin.id, Tree(root=root))
        await trio.to_thread.run_sync(write)

    async def _let_go(self, pin: Pin) -> None:
        """Undo what may have been done for a pin that is there no more."""
        self._kept.pop(pin.id, None)
        await self._cache.unpin(pin.id)
        with suppress(RengafsError):  # else its lease ends by itself
            await self._remote.hold([], 60, holder=pin_holder(pin.host, pin.id))

    async def _tell(self, kept: Kept, **changes: object) -> None:
        """Write how far a pin is. Raises FileNotFoundError if it was let go."""
        state = replace(kept.state, **changes)
        if state != kept.state:
            await trio.to_thread.run_sync(records.write_state, self._pins, kept.pin.id, state)
            kept.state = state


class _Progress:
    def __init__(self, done: int) -> None:
        self.done = done
        self._told = trio.current_time()

    def add(self, count: int) -> bool:
        """Count bytes; return whether it is time to tell."""
        self.done += count
        now = trio.current_time()
        due = now - self._told > TOLD_SECONDS
        self._told = now if due else self._told
        return due


def _outdates(event: Event, kept: Kept) -> bool:
    """Note what an event outdates of a pin; return whether it does."""
    outdated = kept.outdated
    names, nodes = event.what in ("entered", "left"), event.what in ("saved", "attributes")
    if outdated is None:
        # All of it is to be gathered; sooner, if it was missing and may be there now.
        return event.what == "entered" and event.name in kept.pin.path.split("/")
    if names and (kept.gathering or event.parent in kept.names):
        outdated.directories.add(event.parent)
    elif nodes and (kept.gathering or event.node in kept.nodes):
        outdated.nodes.add(event.node)
    else:
        return False
    return True


def _watch(kept: Kept, tree: Tree) -> None:
    if kept.pin.is_live:
        kept.names = {row.parent for row in tree.live} | set(tree.whole)
        kept.nodes = {row.node.id for row in tree.live}


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
