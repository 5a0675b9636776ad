"""Handlers that move bytes: ``io/read``, ``io/write``, a version's content, many reads."""

from collections.abc import AsyncIterator

import anyio.to_thread
import msgspec
from starlette.responses import Response, StreamingResponse

from rengafs.backends.base import HASHED_BYTES
from rengafs.catalog.applying import Staged
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.parking import settled_key
from rengafs.catalog.saving import EMPTY_SHA256
from rengafs.catalog.values import Content
from rengafs.protocol import frames
from rengafs.protocol.endpoints import SHA256_HEADER
from rengafs.protocol.errors import (
    BadRequest,
    Corrupt,
    InternalError,
    RengafsError,
    TooLarge,
    from_problem,
    to_problem,
)
from rengafs.protocol.operations import Commit, Outcome
from rengafs.protocol.records import Read, ReadResult, Whereabouts
from rengafs.service import storing
from rengafs.service.calls import Call, answer
from rengafs.service.directing import address_elsewhere
from rengafs.service.fetching import fetch, refuse_lost
from rengafs.service.gathering import Plan, gathered
from rengafs.service.parts import Parts
from rengafs.service.peers import is_here
from rengafs.service.ranges import parse_range

MAX_READS = 10_000
MAX_READ_BYTES = 64 << 20
"""Of all answers to one ``read``: they are meant to be many and small."""

OCTETS = "application/octet-stream"


async def content(parts: Parts, call: Call) -> Response:
    """Answer the bytes of a version."""
    return await _respond(parts, call, await parts.content(call.id("version")))


async def whereabouts(parts: Parts, call: Call) -> Response:
    """Answer the key of a version's blob; to who is on this machine, also in which file it is."""
    place = await parts.content(call.id("version"))
    if place.blob is None:
        return answer(Whereabouts())
    refuse_lost(place.blob, place)
    key = settled_key(place.blob.key)
    path = parts.backend(place.blob.backend).file_of(place.blob.key)
    # Who comes over a network, or through a proxy on a port, is told nothing of our disk.
    if path is None or not is_here(call.request):
        return answer(Whereabouts(blob=key))
    try:
        status = await anyio.to_thread.run_sync(path.stat)
    except OSError:
        # Moved to another backend, or lost: the read itself will tell.
        parts.forget(place.version)
        return answer(Whereabouts(blob=key))
    found = Whereabouts(
        blob=key,
        path=str(path),
        device=status.st_dev,
        inode=status.st_ino,
        size=place.size,
        sha256=place.blob.sha256,
    )
    return answer(found)


async def io_read(parts: Parts, call: Call) -> Response:
    """Answer the bytes that a grant names."""
    granted = call.grant
    if granted.version is None:
        return await _respond(parts, call, Content(0, granted.file, 0, EMPTY_SHA256, None))
    actor = call.actor()
    if actor.execution is not None or actor.project is not None:
        await parts.write(Catalog.note_read, actor, granted.version)
    return await _respond(parts, call, await parts.content(granted.version))


async def io_write(parts: Parts, call: Call) -> Response:
    """Make the body the next version of the file that a grant names."""
    actor = call.actor()
    commit = Commit(node=call.grant.file, length=0)
    base = await parts.read(Catalog.prepare_commit, actor, commit)
    assert not isinstance(base, Outcome), "without a key there is no receipt"
    stored = await storing.put(parts, base, call.stream(), call.length)
    staged = [Staged(commit, stored)]
    applied = await parts.write(Catalog.apply, actor, staged)
    if stored is not None and (stored.backend, stored.key) not in applied.adopted:
        await storing.discard(parts, stored)
    outcome = applied.outcomes[0]
    if outcome.problem is not None:
        raise from_problem(outcome.problem)
    if outcome.version is None:
        raise InternalError("a commit left no version")
    return answer(outcome.version, call.endpoint.status)


async def read_many(parts: Parts, call: Call) -> Response:
    """Answer many small reads, each with its own outcome."""
    reads: list[Read] = call.body
    if len(reads) > MAX_READS:
        raise TooLarge(f"a request has at most {MAX_READS} reads", limit=MAX_READS)
    found = await _visible_contents(parts, call, [read.version for read in reads])
    plans = [_plan(read, found[read.version]) for read in reads]
    total = sum(stop - start for _, start, stop in plans if not isinstance(_, RengafsError))
    if total > MAX_READ_BYTES:
        raise TooLarge(f"the answers have at most {MAX_READ_BYTES} bytes together", total=total)

    pieces = gathered(parts, plans, _framed, lambda plan: _one(parts, *plan))
    return StreamingResponse(pieces, media_type=frames.MEDIA_TYPE)


async def _visible_contents(
    parts: Parts, call: Call, numbers: list[int]
) -> dict[int, Content | RengafsError]:
    found = await parts.read(Catalog.contents, numbers)
    if call.user.everywhere:
        return found
    hidden = await parts.read(Catalog.hidden, call.user.user, list(found))
    return found | hidden


def _plan(read: Read, place: Content | RengafsError) -> Plan:
    if isinstance(place, RengafsError):
        return place, read.offset, read.offset
    if read.offset < 0 or (read.length is not None and read.length < 0):
        return BadRequest("offset and length can't be less than nothing"), 0, 0
    start = min(read.offset, place.size)
    stop = place.size if read.length is None else min(start + read.length, place.size)
    return place, start, stop


async def _one(parts: Parts, place: Content | RengafsError, start: int, stop: int) -> bytes:
    try:
        if isinstance(place, RengafsError):
            raise place
        data = b""
        if place.blob is not None and start < stop:
            if place.size > HASHED_BYTES:
                place = await parts.content(place.version)
            blob = place.blob
            assert blob is not None, "it has bytes"
            backend = parts.backend(blob.backend)
            pieces = [piece async for piece in fetch(backend, blob, place, start, stop)]
            data = b"".join(pieces)
    except RengafsError as error:
        number = place.version if isinstance(place, Content) else error.details.get("version", 0)
        problem = msgspec.to_builtins(to_problem(error))
        failed = ReadResult(version=number, offset=start, payload=0, size=0, problem=problem)
        return frames.encode(failed)
    return _framed(place, start, data)


def _framed(place: Content, start: int, data: bytes) -> bytes:
    result = ReadResult(
        version=place.version,
        offset=start,
        payload=len(data),
        size=place.size,
        sha256=place.sha256,
    )
    return frames.encode(result, data)


async def _respond(parts: Parts, call: Call, place: Content) -> Response:
    headers = {
        "accept-ranges": "bytes",
        "etag": f'"{place.sha256}"',
        SHA256_HEADER: place.sha256,
        "cache-control": "private, immutable, max-age=31536000",
    }
    if call.endpoint.grant:
        headers["cache-control"] = "no-store"
    wanted = parse_range(call.request.headers.get("range", ""), place.size)
    start, stop = wanted or (0, place.size)
    status = 200
    if wanted is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{place.size}"
        status = 206
    elsewhere = await address_elsewhere(parts, call, place, stop - start)
    if elsewhere:
        return Response(b"", 307, {"location": elsewhere, "cache-control": "no-store"})
    headers["content-length"] = str(stop - start)
    if place.blob is None or start == stop or call.request.method == "HEAD":
        return Response(b"", status, headers, OCTETS)
    pieces = fetch(parts.backend(place.blob.backend), place.blob, place, start, stop)
    # The first piece before the headers: what is missing is a 500, not a cut connection.
    try:
        first = await anext(pieces)
    except Corrupt:
        parts.forget(place.version)
        # Pruned, moved or healed since it was looked up?
        anew = await parts.content(place.version)
        if anew == place:
            raise
        return await _respond(parts, call, anew)
    if len(first) == stop - start:
        await pieces.aclose()
        return Response(first, status, headers, OCTETS)
    return StreamingResponse(_rest(first, pieces), status, headers, OCTETS)


async def _rest(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
