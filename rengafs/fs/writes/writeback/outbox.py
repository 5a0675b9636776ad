"""What waits to be sent: file by file, in order. No I/O but the journal's.

One `Chain` a file. Its entries are sent in their order, and an entry goes only when the
service has answered for it. Names of files that the service does not know yet are found
here (`made`). All state changes between awaits.
"""

import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import trio
from cachetools import LRUCache

from rengafs.fs.writes.unsent import Report, Unsent, told
from rengafs.fs.writes.writeback.journal import Journal
from rengafs.fs.writes.writeback.records import Done, Queued
from rengafs.protocol.errors import RengafsError, Unavailable, Unreachable
from rengafs.protocol.operations import Commit, MakeFile, Outcome

log = logging.getLogger(__name__)

SHOWN = 100
"""Files that a report names, of each kind."""
REMEMBERED = 10_000
"""Local versions whose real ids are remembered, and failures."""
ENTRY_BYTES = 1024
"""What an entry without payload counts, so that their number is bounded too."""
AT_ONCE = 256
AT_ONCE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait; writers wait when it is too much."""

    unsent_bytes: int = 1 << 30
    age_seconds: float = 3600.0
    log_bytes: int = 512 << 20
    """Of the journal, which holds small payloads; large ones are in their drafts."""
    patience_seconds: float = 30.0
    """How long a writer waits for room, and fsync for the service."""


class Holder(Protocol):
    """The file in the mount, for as long as something of it waits."""

    def arrived(self, queued: Queued, outcome: Outcome) -> None:
        """Take in what the service answered for an entry."""

    async def finished(self, outcome: Outcome | None) -> None:
        """Let go: nothing waits any more. None: the service has refused it for good."""

    @property
    def name(self) -> str:
        """Where the file was last seen, for people."""


@dataclass(slots=True, eq=False)
class Entry:
    """One thing that the service has yet to do."""

    queued: Queued
    opener: Callable[[], AsyncIterator[bytes]] | None = None
    """Begins a payload that is too large for the journal."""

    @property
    def size(self) -> int:
        """What it counts towards the bound."""
        return ENTRY_BYTES + self.queued.payload


@dataclass(slots=True, eq=False)
class Chain:
    """The entries of one file."""

    file: int
    """As the entries call it."""
    goes_to: int
    """As the service calls it: another, where the name was taken meanwhile."""
    holder: Holder
    entries: deque[Entry] = field(default_factory=deque)
    made_at: tuple[int, str] | None = None
    """Directory and name of a file that the service does not know yet."""
    busy: bool = False
    problem: RengafsError | None = None
    """Why the last try failed."""
    retry_at: float = 0.0
    tries: int = 0


class Outbox:
    """See the module. :param journal: where its entries are, or are to be."""

    def __init__(self, journal: Journal, limits: Limits | None = None) -> None:
        self.journal = journal
        self.limits = limits or Limits()
        self.problem: RengafsError | None = None
        """Why the service can't be asked at present."""
        self.unsent_bytes = 0
        self.failures: LRUCache[int, Unsent] = LRUCache(REMEMBERED)
        self.refusals: LRUCache[int, RengafsError] = LRUCache(REMEMBERED)
        self.suspect = 0
        """So many requests are to be of one file each: one of those before was refused whole."""
        self.hurried = 0
        """How many wait for the service."""
        self.work = trio.Event()
        """Set, and replaced, when something changes."""
        self.large_work = trio.Event()
        """The same, of what has to be sent alone."""
        self._chains: OrderedDict[int, Chain] = OrderedDict()
        self._ready: OrderedDict[int, Chain] = OrderedDict()
        """What can be sent in one request with others, now or when it is tried again."""
        self._large: OrderedDict[int, Chain] = OrderedDict()
        """What begins with a payload that is not in the journal."""
        self._later: dict[int, Chain] = {}
        """Those that are tried again at some time; perhaps some that were already."""
        self._aliases: dict[int, int] = {}
        self._made: dict[tuple[int, str], Chain] = {}
        self._versions: LRUCache[int, int] = LRUCache(REMEMBERED)
        self.last_number = 0
        """Of the entries; negative, it names a version."""
        self._progress = trio.Event()

    def __len__(self) -> int:
        """Files of which something waits."""
        return len(self._chains)

    def __contains__(self, file: int) -> bool:
        return self._meant(file) in self._chains

    def _meant(self, file: int) -> int:
        """Return what a file is called here that took the place of another."""
        return self._aliases.get(file, file)

    # --- what comes in ----------------------------------------------------------------

    def next_number(self) -> int:
        """Return the number of the next entry."""
        self.last_number += 1
        return self.last_number

    def add(self, entry: Entry, holder: Holder) -> Chain:
        """Take an entry that is in the journal, or is noted there."""
        queued = entry.queued
        self.last_number = max(self.last_number, queued.number)
        chain = self.chain(queued.file)
        if chain is None:
            chain = self._chains[queued.file] = Chain(queued.file, queued.file, holder)
        chain.entries.append(entry)
        self.unsent_bytes += entry.size
        self.failures.pop(queued.file, None)
        self.refusals.pop(queued.file, None)
        if isinstance(queued.operation, MakeFile):
            chain.made_at = (queued.operation.parent, queued.operation.name)
            self._made[chain.made_at] = chain
        if not chain.busy:
            self._make_ready(chain)
        self._wake()
        return chain

    async def room(self, size: int, *, inline: bool) -> None:
        """Wait until *size* bytes more may wait. Raises `Unreachable` when patience ends.

        :param inline: whether they go into the journal.
        """
        logged = size if inline else 0
        if self._has_room(size, logged):
            return
        with trio.move_on_after(self.limits.patience_seconds):
            while not self._has_room(size, logged):
                await self.step()
            return
        raise self.problem or Unreachable(
            f"{self.unsent_bytes} bytes wait to be sent, for {self._age():.0f} s: no more may"
        )

    def _has_room(self, size: int, logged: int) -> bool:
        return not self._chains or (
            self.unsent_bytes + size <= self.limits.unsent_bytes
            and self.journal.size + logged <= self.limits.log_bytes
            and self._age() <= self.limits.age_seconds
        )

    def _age(self) -> float:
        """Return for how many seconds the eldest entry waits that the service has no answer for.

        What it has no room for is one file's affair: others do not wait with it.
        """
        waiting = (
            chain.entries[0].queued.at_ms
            for chain in self._chains.values()
            if chain.entries and (chain.problem is None or isinstance(chain.problem, Unavailable))
        )
        eldest = next(waiting, None)
        return 0.0 if eldest is None else time.time() - eldest / 1000

    # --- what is asked ----------------------------------------------------------------

    def chain(self, file: int) -> Chain | None:
        """Return what waits of a file."""
        return self._chains.get(self._meant(file))

    def chains(self) -> list[Chain]:
        """Return all that waits, the eldest first."""
        return list(self._chains.values())

    def made(self, directory: int, name: str) -> Chain | None:
        """Return the file that is to be made at a name."""
        return self._made.get((directory, name))

    def version(self, number: int | None) -> int | None:
        """Return what the service calls a version; a local one that waits stays as it is."""
        return number if number is None or number >= 0 else self._versions.get(number, number)

    def versions(self) -> dict[int, int]:
        """Return what the service calls the local versions, as far as it has named them."""
        return dict(self._versions)

    def state(self, file: int) -> str:
        """Return ``clean``, ``uploading`` or ``failed: …`` of a file."""
        if (chain := self.chain(file)) is not None:
            problem = chain.problem or self.problem
            return "uploading" if problem is None else f"failed: {problem.message}; tried again"
        return told(self.failures[file]) if file in self.failures else "clean"

    def report(self) -> Report:
        """Return what waits and what was refused."""
        chains = [chain for chain in self._chains.values() if chain.entries]
        oldest = min((chain.entries[0].queued.at_ms for chain in chains), default=0)
        return Report(
            write_back=True,
            files=len(chains),
            bytes=sum(entry.queued.payload for chain in chains for entry in chain.entries),
            oldest_ms=oldest,
            problem="" if self.problem is None else self.problem.message,
            unsent=[self._unsent(chain) for chain in chains[:SHOWN]],
            failed=list(self.failures.values())[-SHOWN:],
        )

    def _unsent(self, chain: Chain) -> Unsent:
        return Unsent(
            file=chain.file,
            name=chain.holder.name,
            state=self.state(chain.file),
            entries=len(chain.entries),
            bytes=sum(entry.queued.payload for entry in chain.entries),
            since_ms=chain.entries[0].queued.at_ms,
            kept=str(self.journal.directory),
        )

    async def settle(self, files: Iterable[int], seconds: float | None = None) -> None:
        """Wait until the service has answered for all that waits of *files* now.

        Raises what it refused them with, or `Unreachable` when patience ends.
        """
        last = {
            chain.file: chain.entries[-1]
            for file in files
            if (chain := self.chain(file)) is not None and chain.entries
        }
        if not last:
            return
        for file in last:
            self._chains[file].retry_at = 0.0
            self._chains[file].problem = None
        self.hurried += 1
        self._wake()
        self.large_work.set()
        self.large_work = trio.Event()
        try:
            with trio.move_on_after(self.limits.patience_seconds if seconds is None else seconds):
                while waiting := [f for f, entry in last.items() if self._waits(f, entry)]:
                    await self.step()
                    for file in waiting:
                        chain = self._chains.get(file)
                        if chain is not None and chain.problem is not None:
                            raise chain.problem
                for file in last:
                    if file in self.refusals:
                        raise self.refusals[file]
                return
        finally:
            self.hurried -= 1
        raise self.problem or Unreachable("the service has not answered for what was written")

    async def settle_names(self, directory: int) -> None:
        """Wait until what is to be made in a directory now has been, or can't be."""
        places = {place for place in self._made if place[0] == directory}
        if not places or self.problem is not None:
            return
        self.hurried += 1
        self._wake()
        try:
            with trio.move_on_after(self.limits.patience_seconds):
                while self.problem is None and any(place in self._made for place in places):
                    await self.step()
        finally:
            self.hurried -= 1

    def _waits(self, file: int, entry: Entry) -> bool:
        chain = self._chains.get(file)
        return chain is not None and entry in chain.entries

    async def step(self) -> None:
        """Wait until something changes."""
        await self._progress.wait()

    # --- what goes out ----------------------------------------------------------------

    def take_large(self) -> tuple[Chain, Entry] | None:
        """Return a payload that is not in the journal, to be sent alone; it is under way then."""
        now = trio.current_time()
        for chain in self._large.values():
            if chain.retry_at <= now:
                self._begin(chain)
                return chain, chain.entries[0]
        return None

    def take_small(self) -> list[tuple[Chain, list[Entry]]]:
        """Return what is to be sent next in one request; it is under way then."""
        batch: list[tuple[Chain, list[Entry]]] = []
        count = size = 0
        now = trio.current_time()
        for chain in list(self._ready.values()):
            if chain.retry_at > now:
                continue
            entries = _run(chain)
            count += len(entries)
            size += sum(entry.queued.payload for entry in entries)
            if batch and (self.suspect or count > AT_ONCE or size > AT_ONCE_BYTES):
                break
            self._begin(chain)
            batch.append((chain, entries))
        self.suspect = max(0, self.suspect - 1)
        return batch

    def is_short(self, count: int) -> bool:
        """Whether fewer than *count* files can be sent in one request."""
        return len(self._ready) < count

    def waited_seconds(self) -> float:
        """Return how long ago was saved what is to be sent next; 0: there is nothing."""
        now = trio.current_time()
        first = next((chain for chain in self._ready.values() if chain.retry_at <= now), None)
        return (
            0.0 if first is None else max(0.0, time.time() - first.entries[0].queued.at_ms / 1000)
        )

    def _make_ready(self, chain: Chain) -> None:
        if chain.entries[0].opener is not None:
            self._large[chain.file] = chain
            self.large_work.set()
            self.large_work = trio.Event()
        else:
            self._ready[chain.file] = chain
        if chain.retry_at:
            self._later[chain.file] = chain

    def _begin(self, chain: Chain) -> None:
        chain.busy = True
        self._ready.pop(chain.file, None)
        self._large.pop(chain.file, None)
        self._later.pop(chain.file, None)

    def next_try(self) -> float:
        """Return when something that failed is to be tried again, in trio's time."""
        return min((chain.retry_at for chain in self._later.values()), default=float("inf"))

    def answered(self, chain: Chain, entry: Entry, outcome: Outcome) -> None:
        """Take in that the service has carried out the first entry of a chain."""
        queued = entry.queued
        assert chain.entries[0] is entry, "entries of a file are sent in their order"
        chain.problem, chain.tries, chain.retry_at = None, 0, 0.0
        if isinstance(queued.operation, MakeFile) and outcome.node is not None:
            chain.goes_to = outcome.node.id
            if chain.goes_to != chain.file:
                self._aliases[chain.goes_to] = chain.file
            self._forget_name(chain)
        version = outcome.version.id if outcome.version is not None else None
        if isinstance(queued.operation, Commit) and version is not None:
            self._versions[-queued.number] = version
        chain.holder.arrived(queued, outcome)
        self.journal.note(_done(chain, queued.number, version))
        chain.entries.popleft()
        self.unsent_bytes -= entry.size

    def know(self, done: Done) -> None:
        """Take in a `Done` of a journal that is replayed."""
        if done.version is not None:
            self._versions[-done.number] = done.version

    def refused(self, chain: Chain, failure: Unsent, error: RengafsError) -> list[Entry]:
        """Take in that the service will never take what waits of a file; return it."""
        entries = list(chain.entries)
        for entry in entries:
            self.journal.note(Done(number=entry.queued.number))
            self.unsent_bytes -= entry.size
        chain.entries.clear()
        self.failures[chain.file] = failure
        self.refusals[chain.file] = error
        self._forget_name(chain)
        return entries

    async def release(self, chain: Chain, outcome: Outcome | None) -> None:
        """Take in that a request is over; *outcome* is the last good one of this file."""
        chain.busy = False
        if chain.entries:
            self._make_ready(chain)
        else:
            del self._chains[chain.file]
            self._aliases.pop(chain.goes_to, None)
            await chain.holder.finished(outcome)
        if self.journal.is_wasteful:
            try:
                await self.journal.compact(self._answers)
            except RengafsError as error:
                log.warning("the journal %s stays long: %s", self.journal.name, error)
        self._wake()

    def _answers(self) -> list[Done]:
        """Return what entries to come, and drafts, may refer to."""
        named = [Done(number=-local, version=is_now) for local, is_now in self._versions.items()]
        moved = [_done(chain, 0, None) for chain in self._chains.values()]
        return named + [done for done in moved if done.meant is not None]

    def _forget_name(self, chain: Chain) -> None:
        if chain.made_at is not None:
            self._made.pop(chain.made_at, None)
            chain.made_at = None

    def _wake(self) -> None:
        self.work.set()
        self.work = trio.Event()
        self._progress.set()
        self._progress = trio.Event()


def _done(chain: Chain, number: int, version: int | None) -> Done:
    if chain.goes_to == chain.file:
        return Done(number=number, version=version)
    return Done(number=number, version=version, file=chain.goes_to, meant=chain.file)


def _run(chain: Chain) -> list[Entry]:
    """Return the first entries of a chain that one request can hold.

    A commit names the version before it, which is known when that one has been answered.
    """
    entries: list[Entry] = []
    for entry in chain.entries:
        commits = isinstance(entry.queued.operation, Commit)
        if entries and (entry.opener is not None or (commits and _has_commit(entries))):
            break
        entries.append(entry)
    return entries


def _has_commit(entries: list[Entry]) -> bool:
    return any(isinstance(entry.queued.operation, Commit) for entry in entries)
