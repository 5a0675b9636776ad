"""Bytes into backends, on their way to become versions."""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator

from rengafs.backends.base import Backend, Composition, Stored
from rengafs.catalog.values import Base, Blob, Content
from rengafs.protocol.errors import BadRequest, BodyMismatch, TooLarge
from rengafs.protocol.operations import Commit
from rengafs.service.fetching import fetch, refuse_lost
from rengafs.service.parts import Parts

MAX_LENGTH = 1 << 50
"""Bytes of one version: a mistake, not a file, is longer."""


async def put(parts: Parts, base: Base, stream: AsyncIterable[bytes]) -> Blob | None:
    """Store whole content; None for no bytes, which need no blob."""
    backend = parts.backend(base.backend)
    stored = await backend.put(stream)
    if not stored.size:
        await backend.delete(stored.key)
        return None
    return _blob(base.backend, stored)


async def compose(
    parts: Parts, base: Base, operation: Commit, payload: AsyncIterable[bytes]
) -> Blob | None:
    """Store the content that a commit describes. Raises `BadRequest`, `BodyMismatch`."""
    check_extents(operation)
    backend = parts.backend(base.backend)
    source = base.content.blob if base.content else None
    plan = Composition(
        length=operation.length,
        extents=tuple(operation.extents),
        payload_sha256=operation.payload_sha256,
        base=source.key if source else None,
        base_size=source.size if source else 0,
    )
    if source is not None and base.content is not None:
        refuse_lost(source, base.content)
    if not operation.length:
        await _nothing(plan, payload)
        return None
    if source is not None and base.content is not None and source.backend != base.backend:
        # The file moved to a bucket of another backend: the base must travel once.
        other = parts.backend(source.backend)
        merged = _merged(plan, _checked(plan, payload), other, source, base.content)
        return _blob(base.backend, await backend.put(merged))
    return _blob(base.backend, await backend.compose(plan, payload))


def check_extents(operation: Commit) -> None:
    """Raise `BadRequest` unless extents, payload and length fit together; or `TooLarge`."""
    if operation.length > MAX_LENGTH:
        raise TooLarge(f"a version has at most {MAX_LENGTH} bytes, not {operation.length}")
    if operation.length < 0:
        raise BadRequest(f"a version can't have {operation.length} bytes")
    end = 0
    for offset, length in operation.extents:
        if offset < end or length < 0:
            raise BadRequest("extents must ascend and not overlap")
        end = offset + length
    if end > operation.length:
        raise BadRequest(f"the extents end at {end}, beyond the length {operation.length}")
    announced = sum(length for _, length in operation.extents)
    if announced != operation.payload:
        raise BadRequest(
            f"the extents have {announced} bytes, but a payload of {operation.payload} is announced"
        )


async def discard(parts: Parts, blob: Blob) -> None:
    """Remove a blob that no version came to need."""
    await parts.backend(blob.backend).delete(blob.key)


def _blob(backend: str, stored: Stored) -> Blob:
    return Blob(backend, stored.key, stored.size, stored.sha256)


async def _nothing(plan: Composition, payload: AsyncIterable[bytes]) -> None:
    async for _ in _checked(plan, payload):
        raise BodyMismatch("a payload came with a commit of no bytes")


async def _checked(plan: Composition, payload: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    digest = hashlib.sha256()
    async for piece in payload:
        digest.update(piece)
        yield piece
    if plan.payload_sha256 and plan.payload_sha256.lower() != digest.hexdigest():
        raise BodyMismatch("the payload has another sha256 than was announced")


async def _merged(
    plan: Composition,
    payload: AsyncIterable[bytes],
    backend: Backend,
    source: Blob,
    content: Content,
) -> AsyncIterator[bytes]:
    """Yield the whole new content, from base and payload."""
    rest = _Pieces(payload)
    position = 0
    for offset, length in [*plan.extents, (plan.length, 0)]:
        stop = min(offset, source.size)
        if position < stop:
            async for piece in fetch(backend, source, content, position, stop):
                yield piece
        async for piece in _zeros(offset - max(position, stop)):
            yield piece
        async for piece in rest.take(length):
            yield piece
        position = offset + length
    await rest.finish()


async def _zeros(count: int) -> AsyncIterator[bytes]:
    while count > 0:
        piece = bytes(min(count, 1 << 20))
        yield piece
        count -= len(piece)


class _Pieces:
    """A stream from which exact numbers of bytes are taken."""

    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = aiter(stream)
        self._left = b""

    async def take(self, count: int) -> AsyncIterator[bytes]:
        while count:
            if not self._left:
                self._left = await anext(self._stream, b"")
                if not self._left:
                    raise BodyMismatch("the payload is shorter than was announced")
                continue
            part, self._left = self._left[:count], self._left[count:]
            count -= len(part)
            yield part

    async def finish(self) -> None:
        if self._left or await anext(self._stream, b""):
            raise BodyMismatch("the payload is longer than was announced")
