"""Bytes out of backends, never wrong ones.

A small blob is read whole and its hash compared before anything is given. Of a large one that
is read from end to end, the last piece is held back until the hash is right. Where the hashes
of pieces of 8 MiB are known (remote backends tell them), each such piece of a part is compared
before it is given. Of the rest, the ends of a part of a large blob, only the blob's size is
checked.
"""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import anyio.to_thread

from rengafs.backends.base import HASHED_BYTES, PIECE_BYTES, Backend
from rengafs.backends.flights import Flights
from rengafs.backends.pieces import UNKNOWN, digest, is_mark
from rengafs.catalog.stock import LOST
from rengafs.catalog.values import Blob, Content
from rengafs.protocol.errors import Corrupt


async def fetch(
    backend: Backend, blob: Blob, content: Content, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    """Yield bytes *start* to *stop* of a version. Raises `Corrupt`."""
    refuse_lost(blob, content)
    if blob.size <= PIECE_BYTES and not is_mark(blob.sha256):
        yield (await _small(backend, blob, content))[start:stop]
        return
    if (start, stop) == (0, blob.size) and not is_mark(blob.sha256):
        reading = _checked(backend, blob, content)
    elif blob.pieces:
        reading = _by_pieces(backend, blob, content, start, stop)
    else:
        reading = backend.read(blob.key, start, stop, size=blob.size)
    async with aclosing(reading) as pieces:
        async for piece in pieces:
            yield piece


def refuse_lost(blob: Blob, content: Content) -> None:
    """Raise `Corrupt` for a blob that `rengafs check` found to be gone."""
    if blob.key.startswith(LOST):
        raise Corrupt(
            f"the bytes of version {content.version} are lost; restore them from a backup, "
            "or save the same bytes again",
            version=content.version,
        )


async def _small(backend: Backend, blob: Blob, content: Content) -> bytes:
    pieces = [piece async for piece in backend.read(blob.key, 0, blob.size, size=blob.size)]
    data = b"".join(pieces)
    found = hashlib.sha256()
    await _update(found, data)
    if found.hexdigest() != blob.sha256:
        raise _damaged(content)
    return data


async def _checked(backend: Backend, blob: Blob, content: Content) -> AsyncGenerator[bytes, None]:
    found = hashlib.sha256()
    held = b""
    hashing = Flights(1)
    try:
        async with aclosing(backend.read(blob.key, 0, blob.size, size=blob.size)) as pieces:
            async for piece in pieces:
                # One piece is hashed while the one before it is sent.
                await hashing.add(_update(found, piece))
                if held:
                    yield held
                held = piece
        await hashing.land()
    finally:
        with anyio.CancelScope(shield=True):
            await hashing.cancel()
    if found.hexdigest() != blob.sha256:
        raise _damaged(content)
    yield held


async def _by_pieces(
    backend: Backend, blob: Blob, content: Content, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    held: list[bytes] = []
    position = start
    async with aclosing(backend.read(blob.key, start, stop, size=blob.size)) as pieces:
        async for piece in pieces:
            while piece:
                number = position // HASHED_BYTES
                end = min((number + 1) * HASHED_BYTES, blob.size)
                part, piece = piece[: end - position], piece[end - position :]
                position += len(part)
                known = digest(blob.pieces, number)
                if max(number * HASHED_BYTES, start) != number * HASHED_BYTES or end > stop:
                    yield part  # only an end of a piece is asked for
                elif known == UNKNOWN:
                    yield part
                else:
                    held.append(part)
                    if position == end:
                        await _compare_piece(held, known, content)
                        for good in held:
                            yield good
                        held = []


async def _compare_piece(held: list[bytes], known: bytes, content: Content) -> None:
    found = hashlib.sha256()
    for part in held:
        await _update(found, part)
    if found.digest() != known:
        raise _damaged(content)


async def _update(found: "hashlib._Hash", data: bytes) -> None:
    if len(data) < 64 << 10:
        found.update(data)
    else:
        await anyio.to_thread.run_sync(found.update, data)


def _damaged(content: Content) -> Corrupt:
    return Corrupt(
        f"the blob of version {content.version} is damaged; restore it from a backup",
        version=content.version,
    )
