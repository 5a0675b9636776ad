"""Workers: what waits in an outbox becomes requests, and what comes of them is taken in.

What the service can't be asked, it is asked again, for as long as it takes. What it has no
room for, or no right by this token, is tried again more slowly: that may change. What it
refuses for good is put aside on disk, and told; where the local disk refuses that, the file
waits on.
"""

import logging
import time
from collections.abc import Awaitable, Callable

import trio
from msgspec.structs import replace

from rengafs.fs.remote import Remote
from rengafs.fs.writes.unsent import Unsent
from rengafs.fs.writes.writeback.outbox import Chain, Entry, Outbox
from rengafs.protocol.errors import (
    BackendRefused,
    BodyMismatch,
    Corrupt,
    InternalError,
    NoSpace,
    NotAuthenticated,
    RengafsError,
    Unavailable,
    UnexpectedAnswer,
    from_problem,
)
from rengafs.protocol.operations import Commit, MakeFile, Operation, Outcome

log = logging.getLogger(__name__)

SMALL_WORKERS = 2
LARGE_WORKERS = 2
LINGER_SECONDS = 0.1
"""A request waits for company, unless somebody waits for it, until none came for so long …"""
LONGEST_LINGER_SECONDS = 2.0
"""… and no longer than this: who unpacks an archive has the machine for it meanwhile. Nor does
what has waited so long already, as all but the first of many saves of one file."""
WORTH_SENDING = 2000
"""Files that need no more company."""
FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
SLOW_DELAY = 30.0

_SLOW = (
    NoSpace,
    NotAuthenticated,
    BackendRefused,
    BodyMismatch,
    InternalError,
    UnexpectedAnswer,
)
"""What may pass, but not soon."""

PutAside = Callable[[Chain, RengafsError], Awaitable[str]]
"""Keeps the bytes of a file that the service refuses; returns where."""


class Sender:
    """Sends what waits in an outbox."""

    def __init__(self, outbox: Outbox, remote: Remote, put_aside: PutAside) -> None:
        self._outbox = outbox
        self._remote = remote
        self._put_aside = put_aside

    async def run(self) -> None:
        """Send, until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(SMALL_WORKERS):
                nursery.start_soon(self._work, self._small, lambda: self._outbox.work)
            for _ in range(LARGE_WORKERS):
                nursery.start_soon(self._work, self._large, lambda: self._outbox.large_work)

    async def _work(
        self, one: Callable[[], Awaitable[bool]], change: Callable[[], trio.Event]
    ) -> None:
        while True:
            changed = change()
            if not await one():
                with trio.move_on_at(max(self._outbox.next_try(), trio.current_time() + 0.01)):
                    await changed.wait()

    async def _small(self) -> bool:
        await self._company()
        batch = self._outbox.take_small()
        if not batch:
            return False
        last: dict[int, Outcome] = {}
        failure = None
        try:
            await self._request(batch, last)
            self._outbox.problem = None
        except RengafsError as error:
            failure = error
        if failure is not None:
            await self._all_failed([chain for chain, _ in batch], failure)
        for chain, _ in batch:
            await self._outbox.release(chain, last.get(chain.file))
        return True

    async def _company(self) -> None:
        """Wait while more comes that can go with the next request."""
        until = trio.current_time() + LONGEST_LINGER_SECONDS - self._outbox.waited_seconds()
        if trio.current_time() >= until:
            return
        while not self._outbox.hurried and self._outbox.is_short(WORTH_SENDING):
            last = self._outbox.last_number
            await trio.sleep(LINGER_SECONDS)
            if self._outbox.last_number == last or trio.current_time() >= until:
                return

    async def _large(self) -> bool:
        taken = self._outbox.take_large()
        if taken is None:
            return False
        chain, entry = taken
        assert entry.opener is not None, "that is what makes it large"
        outcome = failure = None
        try:
            operation = self._operation(chain, entry)
            assert isinstance(operation, Commit), "nothing else has a payload"
            outcome = await self._remote.commit(operation, entry.opener)
            self._outbox.problem = None
        except RengafsError as error:
            failure = error
        if outcome is not None:
            self._outbox.answered(chain, entry, outcome)
        elif failure is not None:
            await self._failed(chain, failure)
        await self._outbox.release(chain, outcome)
        return True

    async def _request(
        self, batch: list[tuple[Chain, list[Entry]]], last: dict[int, Outcome]
    ) -> None:
        """Send entries of several files; *last* gets the last good outcome of each."""
        pairs = [(chain, entry) for chain, entries in batch for entry in entries]
        numbers = [entry.queued.number for _, entry in pairs if entry.queued.payload]
        payloads = iter(await self._outbox.journal.read(numbers) if numbers else [])
        sent: list[Operation | tuple[Commit, bytes]] = []
        for chain, entry in pairs:
            operation = self._operation(chain, entry)
            if isinstance(operation, Commit):
                sent.append((operation, next(payloads) if operation.payload else b""))
            else:
                sent.append(operation)
        outcomes = await self._remote.apply(sent)
        for (chain, entry), operation_sent, outcome in zip(pairs, sent, outcomes, strict=True):
            if outcome.problem is None:
                self._outbox.answered(chain, entry, outcome)
                last[chain.file] = outcome
            elif outcome.problem.code != "skipped" and not _went_astray(chain, operation_sent):
                await self._failed(chain, from_problem(outcome.problem))

    def _operation(self, chain: Chain, entry: Entry) -> Operation:
        operation = entry.queued.operation
        if isinstance(operation, MakeFile):
            return operation
        if not isinstance(operation, Commit):
            return replace(operation, node=chain.goes_to)
        base = self._outbox.version(operation.base)
        if base is not None and base < 0:
            if not operation.whole:
                raise Corrupt("the save that this one is based on was refused")
            base = None
        return replace(operation, node=chain.goes_to, base=base)

    async def _all_failed(self, chains: list[Chain], error: RengafsError) -> None:
        """Take in that a whole request was refused or did not get there."""
        if isinstance(error, Unavailable):
            self._outbox.problem = error
            log.warning("what was written can't be sent yet: %s", error)
        elif len(chains) > 1 and not isinstance(error, _SLOW):
            # One of them is to blame: each is sent alone, and tells.
            self._outbox.suspect = len(chains)
            return
        for chain in chains:
            if chain.entries:
                await self._failed(chain, error)

    async def _failed(self, chain: Chain, error: RengafsError) -> None:
        chain.problem = error
        if isinstance(error, (Unavailable, *_SLOW)):
            _try_again(chain, error)
            return
        name = chain.holder.name
        size = sum(entry.queued.payload for entry in chain.entries)
        try:
            kept = await self._put_aside(chain, error)
        except RengafsError as local:
            log.error("%s is refused (%s), and can't be put aside: %s", name, error, local)
            _try_again(chain, local)
            return
        failure = Unsent(
            file=chain.file,
            name=name,
            state=f"failed: {error.message}",
            bytes=size,
            since_ms=_now_ms(),
            kept=kept,
        )
        log.error("%s is not saved: %s; its bytes are in %s", name, error, kept or "no place")
        self._outbox.refused(chain, failure, error)


def _try_again(chain: Chain, error: RengafsError) -> None:
    longest = LONGEST_DELAY if isinstance(error, Unavailable) else SLOW_DELAY
    delay = min(FIRST_DELAY * 2 ** min(chain.tries, 16), longest)
    chain.tries += 1
    chain.retry_at = trio.current_time() + delay
    log.info("%s is tried again in %.1f s: %s", chain.file, delay, error)


def _went_astray(chain: Chain, sent: Operation | tuple[Commit, bytes]) -> bool:
    """Whether an operation was sent to a file that has just turned out to be another one."""
    operation = sent[0] if isinstance(sent, tuple) else sent
    return getattr(operation, "node", chain.goes_to) != chain.goes_to


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
