"""What mounts that have ended left behind: their journals, and drafts that nobody saved.

A journal holds what a tool was told is safe: it is sent until the service has taken or
refused it. A draft without one was never acknowledged: it is saved if nobody has saved the
file since, and else left where it is, for people (``rengafs status`` tells of it).
"""

import logging
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from rengafs.fs.remote import Remote
from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.draftfiles import DATA, About, Leftover, Range
from rengafs.fs.writes.extents import Extents
from rengafs.fs.writes.writeback.journal import Journal, journals
from rengafs.fs.writes.writeback.outbox import Chain, Entry, Outbox
from rengafs.fs.writes.writeback.records import Done, Owner, Queued
from rengafs.fs.writes.writeback.sending import Sender
from rengafs.fs.writes.writeback.writing import keep_all
from rengafs.protocol.errors import BaseChanged, RengafsError, Unavailable
from rengafs.protocol.operations import Commit

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20


async def replay(state: Path, owner: Owner, remote: Remote) -> None:
    """Send everything of *owner* that lies in directories below *state* and nobody has open."""
    async with trio.open_nursery() as nursery:
        for parent in await trio.to_thread.run_sync(_directories, state):
            nursery.start_soon(_replay_in, parent, owner, remote)


def _directories(state: Path) -> list[Path]:
    return sorted(path for path in state.glob("*") if path.is_dir())


async def _replay_in(parent: Path, owner: Owner, remote: Remote) -> None:
    named: dict[tuple[str, int], int] = {}
    for directory in journals(parent):
        adopted = await trio.to_thread.run_sync(Journal.adopt, directory)
        if adopted is None:
            continue
        journal, records = adopted
        if (journal.owner.catalog, journal.owner.user) != (owner.catalog, owner.user):
            journal.close()
            continue
        sent = await _send_journal(journal, records, parent, remote)
        named |= {(journal.owner.mount, local): version for local, version in sent.items()}
    for left in await trio.to_thread.run_sync(draftfiles.leftovers, parent):
        about = left.about
        if (about.catalog, about.user) != (owner.catalog, owner.user):
            continue
        if about.journaled:
            # Its journal has gone: what it held has been sent.
            await trio.to_thread.run_sync(draftfiles.remove, left.path.parent)
        elif about.extents or about.length != about.base_size:
            base = named.get((about.mount, about.base or 0), about.base)
            known = base is None or base >= 0
            if known and not about.why.startswith(BaseChanged.code):
                await _send_draft(Leftover(left.path, replace(about, base=base)), remote)


async def _send_journal(
    journal: Journal, records: list[tuple[Queued | Done, int]], parent: Path, remote: Remote
) -> dict[int, int]:
    """Send what a journal holds, and remove it; return what its local versions are called."""
    outbox = Outbox(journal)
    done = {record.number for record, _ in records if isinstance(record, Done)}
    for record, at in records:
        if isinstance(record, Done):
            outbox.know(record)
        elif record.number not in done:
            opener = None
            if record.draft:
                opener = partial(payload_of, parent / record.draft / DATA, record)
            chain = outbox.add(Entry(record, at, opener), None)
            moved = _moved(records, record.file)
            chain.goes_to = moved or record.file
    if len(outbox):
        log.info("sending what a mount of %s left: %d files", journal.owner.mountpoint, len(outbox))

    async def put_aside(chain: Chain, error: RengafsError) -> str:
        return await keep_all(outbox, chain, parent, error)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sender(outbox, remote, put_aside).run)
            while len(outbox):
                await outbox.step()
            nursery.cancel_scope.cancel()
    except BaseException:
        journal.close()
        raise
    journal.remove()
    return outbox.versions()


def _moved(records: list[tuple[Queued | Done, int]], file: int) -> int | None:
    """Return the file that took the place of one whose name was taken."""
    numbers = {
        record.number for record, _ in records if isinstance(record, Queued) and record.file == file
    }
    for record, _ in reversed(records):
        if isinstance(record, Done) and record.number in numbers and record.file is not None:
            return record.file
    return None


async def payload_of(path: Path, queued: Queued) -> AsyncIterator[bytes]:
    """Yield the payload of a commit whose bytes are in a draft's file."""
    assert isinstance(queued.operation, Commit), "nothing else has a payload"
    file = await trio.to_thread.run_sync(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for offset, length in queued.operation.extents:
            for start in range(offset, offset + length, PIECE_BYTES):
                stop = min(start + PIECE_BYTES, offset + length)
                yield await trio.to_thread.run_sync(_piece, file, start, stop, queued.local)
    finally:
        os.close(file)


def _piece(file: int, start: int, stop: int, local: list[Range]) -> bytes:
    content = bytearray(stop - start)
    for first, last in local:
        low, high = max(first, start), min(last, stop)
        if low < high:
            data = os.pread(file, high - low, low)
            content[low - start : low - start + len(data)] = data
    return bytes(content)


async def _send_draft(left: Leftover, remote: Remote) -> None:
    about = left.about
    operation = _commit_of(about, left.path.parent.name)
    queued = Queued(number=1, file=about.file, operation=operation, local=about.extents)
    try:
        await remote.commit(operation, partial(payload_of, left.path, queued))
    except Unavailable as error:
        log.warning("%s can't be saved yet: %s", left.path, error)
    except RengafsError as error:
        log.warning("%s is not saved, and stays: %s", left.path, error)
        described = replace(about, why=f"{error.code}: {error.message}")
        await trio.to_thread.run_sync(draftfiles.rewrite, left.path.parent, described)
    else:
        log.warning("saved what a mount had not: %s", about.name or about.file)
        await trio.to_thread.run_sync(draftfiles.remove, left.path.parent)


def _commit_of(about: About, key: str) -> Commit:
    """Return the commit of a draft that nobody has saved, for as long as nobody else has."""
    extents = list(about.extents)
    grown = (about.base_length, min(about.base_size, about.length))
    if grown[0] < grown[1] and about.base_size:
        extents = _with_zeros(extents, grown)
    return Commit(
        node=about.file,
        length=about.length,
        base=about.base,
        whole=about.base is None,
        extents=[(start, stop - start) for start, stop in extents],
        payload=sum(stop - start for start, stop in extents),
        mtime_ns=about.mtime_ns or None,
        only_if_base=True,
        key=key,
    )


def _with_zeros(extents: list[Range], grown: Range) -> list[Range]:
    """Return *extents* with what was cut off the base and grew again: zeros, to be sent."""
    together = Extents(extents)
    together.add(*grown)
    return list(together)
