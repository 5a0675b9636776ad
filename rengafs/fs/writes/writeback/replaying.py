"""What mounts that have ended left behind: their journals, sent by the next one.

A journal holds what a tool was told is safe: it is sent until the service has taken or
refused it. Drafts that no journal's entry names were never acknowledged, or their entry was
damaged: `unsaved` sees to them. A draft goes only when its entry has been answered for.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from rengafs.fs.remote import Remote
from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.conflicts import Conflicts
from rengafs.fs.writes.draftfiles import DATA
from rengafs.fs.writes.writeback.journal import Journal, journals
from rengafs.fs.writes.writeback.keeping import keep_all
from rengafs.fs.writes.writeback.outbox import Chain, Entry, Outbox
from rengafs.fs.writes.writeback.records import Done, Owner, Queued, Record
from rengafs.fs.writes.writeback.sending import Sender
from rengafs.fs.writes.writeback.told import Told
from rengafs.fs.writes.writeback.unsaved import Names, payload_of, send_unsaved
from rengafs.protocol.errors import RengafsError, Unavailable
from rengafs.protocol.operations import Commit, Outcome

log = logging.getLogger(__name__)

AT_ONCE = 256
"""Entries that are taken in before others have their turn."""


async def replay(state: Path, owner: Owner, remote: Remote, conflicts: Conflicts) -> None:
    """Send everything of *owner* that lies in directories below *state* and nobody has open.

    :param conflicts: is told of those that come of it: who saved has ended.
    """
    async with trio.open_nursery() as nursery:
        for parent in await trio.to_thread.run_sync(_directories, state):
            nursery.start_soon(_replay_in, parent, owner, remote, conflicts)


def _directories(state: Path) -> list[Path]:
    return sorted(path for path in state.glob("*") if path.is_dir())


async def _replay_in(parent: Path, owner: Owner, remote: Remote, conflicts: Conflicts) -> None:
    named: Names = {}
    told = Told(conflicts, parent)
    try:
        found = await trio.to_thread.run_sync(journals, parent)
    except RengafsError as error:
        log.error("what is left in %s stays there: %s", parent, error)
        return
    async with trio.open_nursery() as nursery:
        for directory in found:
            try:
                adopted = await trio.to_thread.run_sync(Journal.adopt, directory)
            except RengafsError as error:
                log.error("%s is not sent, and stays where it is: %s", directory, error)
                continue
            if adopted is None:
                continue
            journal, records = adopted
            if (journal.owner.catalog, journal.owner.user) != (owner.catalog, owner.user):
                journal.close()
                continue
            replaying = _Replaying(journal, records, parent, remote, told)
            named |= await nursery.start(replaying.run)
        try:
            await send_unsaved(parent, owner, named, remote, told)
        except RengafsError as error:
            log.error("what was not saved in %s stays there: %s", parent, error)


@dataclass(frozen=True, slots=True)
class _Left:
    """A file of a mount that has ended."""

    name: str
    told: Told

    def arrived(self, queued: Queued, outcome: Outcome) -> None:
        if isinstance(queued.operation, Commit) and outcome.version is not None:
            self.told.saved(outcome.version.file, outcome.version, self.name)

    async def finished(self, outcome: Outcome | None) -> None:
        """Nothing is held."""


class _Replaying:
    """One journal, being sent."""

    def __init__(
        self,
        journal: Journal,
        records: list[Record],
        parent: Path,
        remote: Remote,
        told: Told,
    ) -> None:
        self._journal = journal
        self._records = records
        self._parent = parent
        self._remote = remote
        self._told = told
        self._outbox = Outbox(journal)

    async def run(self, *, task_status: trio.TaskStatus[Names]) -> None:
        """Send what it holds, and remove it.

        It is started as soon as nothing of it is left but what the service has no room for, or
        the like: later journals need not wait for that. It is started with what the service
        calls its local versions.
        """
        is_sent = started = False
        try:
            await self._take_in()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Sender(self._outbox, self._remote, self._put_aside).run)
                while len(self._outbox):
                    if not started and all(map(_is_stuck, self._outbox.chains())):
                        task_status.started(self._names())
                        started = True
                    await self._outbox.step()
                nursery.cancel_scope.cancel()
            is_sent = True
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._end if is_sent else self._journal.close)
        if not started:
            task_status.started(self._names())

    async def _take_in(self) -> None:
        moved, waiting = pending(self._records)
        for count, record in enumerate(waiting):
            opener = None
            if record.draft:
                opener = partial(payload_of, self._parent / record.draft / DATA, record)
            chain = self._outbox.add(Entry(record, opener), _Left(record.name, self._told))
            chain.goes_to = moved.get(record.file, record.file)
            if not count % AT_ONCE:
                await trio.lowlevel.checkpoint()
        for done in self._records:
            if isinstance(done, Done):
                self._outbox.know(done)
        if waiting:
            where = self._journal.owner.mountpoint
            log.info("sending what a mount of %s left: %d files", where, len(self._outbox))

    async def _put_aside(self, chain: Chain, error: RengafsError) -> str:
        return await keep_all(self._outbox, chain, self._parent, error)

    def _names(self) -> Names:
        mount = self._journal.owner.mount
        return {(mount, local): version for local, version in self._outbox.versions().items()}

    def _end(self) -> None:
        """Remove the drafts that were sent, and then what tells that they were. Blocks."""
        for record in self._records:
            if isinstance(record, Queued) and record.draft:
                directory = self._parent / record.draft
                about = draftfiles.read_about(directory)
                if about is not None and about.journal == self._journal.name:
                    draftfiles.remove(directory)
        self._journal.remove()


def pending(records: Iterable[Record]) -> tuple[dict[int, int], list[Queued]]:
    """Return which files others have taken the place of, and what is not answered for."""
    moved: dict[int, int] = {}
    queued: dict[int, Queued] = {}
    for record in records:
        if isinstance(record, Queued):
            queued[record.number] = record
            continue
        queued.pop(record.number, None)
        if record.meant is not None and record.file is not None:
            moved[record.meant] = record.file
    return moved, list(queued.values())


def _is_stuck(chain: Chain) -> bool:
    return chain.problem is not None and not isinstance(chain.problem, Unavailable)
