"""Drafts of mounts that have ended which no journal counts on.

Nobody was told that they are safe, or the journal that said so is damaged. Such a draft is
saved if nobody has saved the file since, and else left where it is, for people (``rengafs
status`` tells of it).
"""

import fcntl
import logging
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import trio
from msgspec.structs import replace

from rengafs.fs.remote import Remote
from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.draftfiles import About, Leftover, Range
from rengafs.fs.writes.extents import Extents
from rengafs.fs.writes.writeback.journal import in_use
from rengafs.fs.writes.writeback.records import Owner, Queued
from rengafs.fs.writes.writeback.told import Told
from rengafs.protocol.errors import BaseChanged, Corrupt, RengafsError, Unavailable
from rengafs.protocol.operations import Commit

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20

Names = dict[tuple[str, int], int]
"""What the service calls local versions: by the mount that made them, and its name for them."""


async def send_unsaved(
    parent: Path, owner: Owner, named: Names, remote: Remote, told: Told
) -> None:
    """Save the drafts of *owner* in *parent* that nobody has open, and no journal sends."""
    for left in await trio.to_thread.run_sync(draftfiles.leftovers, parent):
        about = left.about
        if (about.catalog, about.user) != (owner.catalog, owner.user):
            continue
        journal = parent / about.journal
        is_sent = await trio.to_thread.run_sync(in_use, journal)
        if about.journal and is_sent:
            continue  # by whoever has the journal
        if not (about.extents or about.length != about.base_size or about.why):
            await trio.to_thread.run_sync(draftfiles.remove, left.path.parent)
            continue
        base = named.get((about.mount, about.base or 0), about.base)
        known = base is None or base >= 0
        if known and not about.why.startswith(BaseChanged.code):
            await _send(Leftover(left.path, replace(about, base=base)), remote, told)


async def payload_of(path: Path, queued: Queued) -> AsyncIterator[bytes]:
    """Yield the payload of a commit whose bytes are in a draft's file, which is locked meanwhile.

    Raises `Corrupt` if it is gone, `Unavailable` if somebody else has it open, and
    `InternalError` for a broken disk.
    """
    assert isinstance(queued.operation, Commit), "nothing else has a payload"
    file = await trio.to_thread.run_sync(_open, path)
    try:
        for offset, length in queued.operation.extents:
            for start in range(offset, offset + length, PIECE_BYTES):
                stop = min(start + PIECE_BYTES, offset + length)
                yield await trio.to_thread.run_sync(_piece, file, start, stop, queued.local)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    with draftfiles.told("read a draft"):
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Corrupt(f"the draft {path} is gone") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise Unavailable(f"the draft {path} is in use by another mount") from None
    return file


def _piece(file: int, start: int, stop: int, local: list[Range]) -> bytes:
    content = bytearray(stop - start)
    with draftfiles.told("read a draft"):
        for first, last in local:
            low, high = max(first, start), min(last, stop)
            if low < high:
                data = os.pread(file, high - low, low)
                content[low - start : low - start + len(data)] = data
    return bytes(content)


async def _send(left: Leftover, remote: Remote, told: Told) -> None:
    about, directory = left.about, left.path.parent
    operation = _commit_of(about, directory.name)
    queued = Queued(number=1, file=about.file, operation=operation, local=about.extents)
    outcome = refusal = None
    try:
        outcome = await remote.commit(operation, partial(payload_of, left.path, queued))
    except Unavailable as error:
        log.warning("%s can't be saved yet: %s", left.path, error)
        return
    except RengafsError as error:
        refusal = error
    if refusal is not None:
        if not left.path.exists():
            return  # another mount has sent it meanwhile
        log.warning("%s is not saved, and stays: %s", left.path, refusal)
        why = f"{refusal.code}: {refusal.message}"
        described = replace(about, why=why, journal="")
        await trio.to_thread.run_sync(draftfiles.rewrite, directory, described)
        return
    name = about.name or f"file {about.file}"
    if outcome is not None and outcome.version is not None:
        told.saved(about.file, outcome.version, name)
    log.warning("saved what a mount had not: %s", name)
    await trio.to_thread.run_sync(draftfiles.remove, directory)


def _commit_of(about: About, key: str) -> Commit:
    """Return the commit of a draft that nobody has saved, for as long as nobody else has."""
    extents = list(about.extents)
    whole = about.base is None or about.base_length == 0 < about.base_size
    grown = (about.base_length, min(about.base_size, about.length))
    if grown[0] < grown[1] and not whole:
        extents = _with_zeros(extents, grown)
    return Commit(
        node=about.file,
        length=about.length,
        base=about.base,
        whole=whole,
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
