"""Bytes that the service refuses, put aside where people and a later mount find them. Blocks."""

from collections import deque
from pathlib import Path

from msgspec.structs import replace

from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.draftfiles import DATA, About, DraftFiles
from rengafs.fs.writes.writeback.records import Owner, Queued, Range
from rengafs.protocol.operations import Commit


def put_aside(parent: Path, owner: Owner, queued: Queued, payload: bytes, why: str) -> Path:
    """Keep one commit as a draft in *parent*; return where its bytes are."""
    operation = queued.operation
    assert isinstance(operation, Commit), "nothing else has bytes"
    about = _about(owner, queued, operation, why)
    if queued.draft:
        directory = parent / queued.draft
        described = draftfiles.read_about(directory)
        length = about.length if described is None else described.length
        draftfiles.rewrite(directory, replace(about, extents=queued.local, length=length))
        return directory / DATA
    files = DraftFiles.create(parent, about)
    try:
        at = 0
        pieces: deque[tuple[int, bytes | bytearray]] = deque()
        for offset, length in operation.extents:
            pieces.append((offset, payload[at : at + length]))
            at += length
        files.write(pieces)
        files.write_about(about, durable=True)
        return files.directory / DATA
    finally:
        files.close()


def _about(owner: Owner, queued: Queued, operation: Commit, why: str) -> About:
    extents: list[Range] = [(offset, offset + length) for offset, length in operation.extents]
    base = operation.base if operation.base is not None and operation.base >= 0 else None
    return About(
        file=queued.file,
        name=queued.name,
        base=base,
        length=operation.length,
        extents=extents,
        mtime_ns=operation.mtime_ns or 0,
        why=why,
        catalog=owner.catalog,
        user=owner.user,
    )
