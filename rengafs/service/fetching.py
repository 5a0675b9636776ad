"""Bytes out of backends, never wrong ones.

A small blob is read whole and its hash compared before anything is given. Of a large one
that is read from end to end, the last piece is held back until the hash is right; of a
part of a large one, only the blob's size is checked: its hash says nothing of parts.
"""

import hashlib
from collections.abc import AsyncIterator

import anyio.to_thread

from rengafs.backends.base import PIECE_BYTES, Backend
from rengafs.catalog.stock import LOST
from rengafs.catalog.values import Blob, Content
from rengafs.protocol.errors import Corrupt


async def fetch(
    backend: Backend, blob: Blob, content: Content, start: int, stop: int
) -> AsyncIterator[bytes]:
    """Yield bytes *start* to *stop* of a version. Raises `Corrupt`."""
    refuse_lost(blob, content)
    if blob.size <= PIECE_BYTES:
        yield (await _small(backend, blob, content))[start:stop]
    elif (start, stop) == (0, blob.size):
        async for piece in _checked(backend, blob, content):
            yield piece
    else:
        async for piece in backend.read(blob.key, start, stop, size=blob.size):
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
    digest = await _update(hashlib.sha256(), data)
    _compare(digest, blob, content)
    return data


async def _checked(backend: Backend, blob: Blob, content: Content) -> AsyncIterator[bytes]:
    digest = hashlib.sha256()
    held = b""
    async for piece in backend.read(blob.key, 0, blob.size, size=blob.size):
        if held:
            yield held
        await _update(digest, piece)
        held = piece
    _compare(digest, blob, content)
    yield held


async def _update(digest: "hashlib._Hash", data: bytes) -> "hashlib._Hash":
    if len(data) < 64 << 10:
        digest.update(data)
    else:
        await anyio.to_thread.run_sync(digest.update, data)
    return digest


def _compare(digest: "hashlib._Hash", blob: Blob, content: Content) -> None:
    if digest.hexdigest() != blob.sha256:
        raise Corrupt(
            f"the blob of version {content.version} is damaged; restore it from a backup",
            version=content.version,
        )
