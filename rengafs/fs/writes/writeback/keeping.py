"""Bytes that the service refuses, put aside where people and a later mount find them."""

from collections import deque
from pathlib import Path

import trio
from msgspec.structs import replace

from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.draftfiles import DATA, About, DraftFiles
from rengafs.fs.writes.writeback.outbox import Chain, Outbox
from rengafs.fs.writes.writeback.records import Owner, Queued, Range
from rengafs.protocol.errors import Corrupt, RengafsError
from rengafs.protocol.operations import Commit


async def keep_all(outbox: Outbox, chain: Chain, drafts: Path, error: RengafsError) -> str:
    """Put aside all saves of a file that wait; return where the newest is, empty for none.

    Raises `NoSpace` and the like; then nothing is lost, and it may be called again.
    """
    kept = ""
    for entry in chain.entries:
        queued = entry.queued
        if not isinstance(queued.operation, Commit):
            continue
        why = f"{error.code}: {error.message}"
        payload = b""
        if not queued.draft and queued.payload:
            try:
                (payload,) = await outbox.journal.read([queued.number])
            except Corrupt as damage:
                why = f"{why}; {damage.message}"
                (payload,) = await outbox.journal.read([queued.number], check=False)
        about = _about(outbox.journal.owner, queued, queued.operation, why)
        about = replace(about, file=chain.goes_to, base=outbox.version(queued.operation.base))
        path = await trio.to_thread.run_sync(_put_aside, drafts, queued, about, payload)
        kept = kept if path is None else str(path)
    return kept


def _put_aside(parent: Path, queued: Queued, about: About, payload: bytes) -> Path | None:
    """Keep one commit as a draft in *parent*; return where its bytes are, if they are."""
    if queued.draft:
        return _as_it_is(parent / queued.draft, queued, about)
    operation = queued.operation
    assert isinstance(operation, Commit), "nothing else has bytes"
    files = DraftFiles.create(parent, about)
    try:
        at = 0
        pieces: deque[tuple[int, bytes | bytearray]] = deque()
        for offset, length in operation.extents:
            pieces.append((offset, payload[at : at + length]))
            at += length
        files.write(pieces)
        files.write_about(about, durable=True)
    except RengafsError:
        files.remove()  # a part of it would be taken for all
        raise
    files.close()
    return files.directory / DATA


def _as_it_is(directory: Path, queued: Queued, about: About) -> Path | None:
    """Keep a draft that the journal counted on; None: it is gone."""
    if not (directory / DATA).exists():
        return None
    described = draftfiles.read_about(directory)
    if described is None:
        described = replace(about, extents=queued.local)
    described = replace(
        described, file=about.file, name=about.name, base=about.base, why=about.why, journal=""
    )
    draftfiles.rewrite(directory, described)
    return directory / DATA


def _about(owner: Owner, queued: Queued, operation: Commit, why: str) -> About:
    extents: list[Range] = [(offset, offset + length) for offset, length in operation.extents]
    return About(
        file=queued.file,
        name=queued.name,
        # What shows of the base is not cut: where it was, zeros are among the extents.
        base_size=operation.length,
        base_length=0 if operation.whole else operation.length,
        length=operation.length,
        extents=extents,
        mtime_ns=operation.mtime_ns or 0,
        mount=owner.mount,
        why=why,
        catalog=owner.catalog,
        user=owner.user,
    )
