"""Bytes into backends, on their way to become versions."""

from collections.abc import AsyncIterable
from functools import partial

from rengafs.backends.base import Composition, Growing, Stored
from rengafs.backends.merging import Payload, whole
from rengafs.catalog.parking import is_parked
from rengafs.catalog.values import Base, Blob
from rengafs.protocol.errors import BadRequest, Corrupt, Unavailable
from rengafs.protocol.operations import Commit, refuse_too_long
from rengafs.service.fetching import fetch, refuse_lost
from rengafs.service.parts import Parts


async def put(
    parts: Parts, base: Base, stream: AsyncIterable[bytes], length: int | None = None
) -> Blob | None:
    """Store whole content, of *length* if that is known; None for no bytes: they need no blob."""
    backend = parts.backend(base.backend)
    stored = await backend.put(stream, length)
    if not stored.size:
        await discard(parts, _blob(base.backend, stored))
        return None
    return _blob(base.backend, stored)


async def take(parts: Parts, base: Base, file: Growing) -> Blob | None:
    """Store what is written to a file of this machine; None for no bytes."""
    stored = await parts.backend(base.backend).take(file)
    if not stored.size:
        await discard(parts, _blob(base.backend, stored))
        return None
    return _blob(base.backend, stored)


async def compose(
    parts: Parts, base: Base, operation: Commit, payload: AsyncIterable[bytes]
) -> Blob | None:
    """Store the content that a commit describes.

    Raises `BadRequest`, `BodyMismatch`; `Unavailable` if the base was moved meanwhile.
    """
    check_extents(operation)
    backend = parts.backend(base.backend)
    source = base.content.blob if base.content else None
    plan = _plan(base, operation)
    if not operation.length:
        await Payload(plan, payload).finish()
        return None
    if source is not None and base.content is not None and source.backend != base.backend:
        # The file moved to a bucket of another backend: the base must travel once.
        read = partial(fetch, parts.backend(source.backend), source, base.content)
        merged = whole(plan, Payload(plan, payload), read)
        return _blob(base.backend, await backend.put(merged, plan.length))
    try:
        return _blob(base.backend, await backend.compose(plan, payload))
    except Corrupt:
        if source is not None and base.content is not None:
            await _refuse_moved(parts, base.content.version, source)
        raise


async def _refuse_moved(parts: Parts, version: int, source: Blob) -> None:
    """Raise `Unavailable`, to be asked again, if the bytes of a version are elsewhere by now."""
    parts.forget(version)
    now = (await parts.content(version)).blob
    if now is not None and (now.backend, now.key) != (source.backend, source.key):
        raise Unavailable(
            f"the bytes of version {version} were moved meanwhile; try again", carried_out=False
        )


def compose_now(parts: Parts, base: Base, operation: Commit, payload: bytes) -> Blob | None:
    """Do the same in the calling thread; None: it can't be done without waiting.

    For small content that is not empty, whose extents were checked.
    """
    source = base.content.blob if base.content else None
    if source is not None and source.backend != base.backend:
        return None
    stored = parts.backend(base.backend).compose_now(_plan(base, operation), payload)
    return None if stored is None else _blob(base.backend, stored)


def _plan(base: Base, operation: Commit) -> Composition:
    """Return what a backend is to make. Raises `Corrupt` for a base that is lost."""
    source = base.content.blob if base.content else None
    if source is not None and base.content is not None:
        refuse_lost(source, base.content)
    return Composition(
        length=operation.length,
        extents=tuple(operation.extents),
        payload_sha256=operation.payload_sha256,
        base=source.key if source else None,
        base_size=source.size if source else 0,
        base_sha256=source.sha256 if source else "",
        base_pieces=source.pieces if source else b"",
    )


def check_extents(operation: Commit) -> None:
    """Raise `BadRequest` unless extents, payload and length fit together; or `TooLarge`."""
    refuse_too_long(operation.length)
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
    if is_parked(blob.key):
        return  # its bytes never left this process
    await parts.backend(blob.backend).delete(blob.key)


def _blob(backend: str, stored: Stored) -> Blob:
    return Blob(backend, stored.key, stored.size, stored.sha256, stored.pieces, stored.data)
