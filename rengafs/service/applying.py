"""``POST /fs/apply``: operations in order, their payloads streamed into backends.

Operations are gathered and carried out many at a time (one database transaction, one
fsync); a payload goes to its backend as it arrives, and is history only when its
operation has been carried out.
"""

import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeGuard

import anyio
import msgspec
from starlette.responses import Response

from rengafs.catalog.applying import Staged, skipped
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Actor, Base
from rengafs.protocol import digests
from rengafs.protocol.digests import SUMMED_HEADER, Summing, damaged
from rengafs.protocol.errors import (
    BadRequest,
    BodyMismatch,
    NoSpace,
    RengafsError,
    TooLarge,
    Unavailable,
)
from rengafs.protocol.frames import Line, Parser, Piece
from rengafs.protocol.operations import Apply, Commit, MakeFile, Operation, Outcome
from rengafs.protocol.records import Reserve, Reserved
from rengafs.service import alone, lying, storing
from rengafs.service.ahead import Ahead
from rengafs.service.calls import Call, answer, decode, read_json
from rengafs.service.lying import Source
from rengafs.service.parts import Parts

MAX_OPERATIONS = 10_000
MAX_LINES = 64 << 20
"""Bytes of all frames' lines, which are kept until they are carried out."""
MAX_RESERVED = 100_000
HELD_SECONDS = 3600
"""A payload that waited longer for its transaction is refused: the sweeper may have seen it."""
AT_ONCE = 256
"""Operations in one transaction: others wait for it, so it stays short."""


HASHED_HERE = 128 << 10
"""Bytes whose hash takes less than a turn of a thread."""


class Several(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON form of a body, for operations without payload."""

    operations: list[Operation]
    atomic: bool = False
    client: str = ""


async def apply(parts: Parts, call: Call) -> Response:
    """Carry out operations; answer an outcome for each."""
    call.refuse_read_only()
    if call.request.headers.get("content-type", "").startswith("application/json"):
        several = decode(await read_json(call.request), Several)
        batch = _Batch(parts, call.actor(several.client), several.atomic)
        for operation in several.operations:
            await batch.add(operation, 0, _bytes(b""))
        return answer(await batch.finish())
    summing = Summing() if SUMMED_HEADER in call.request.headers else None
    wanted = digests.announced(call.request.headers)
    body = call.stream() if wanted is None else _bytes(await _checked(call.stream(), wanted))
    try:
        return answer(await _apply_frames(parts, call, _Frames(body, summing)))
    except BadRequest as error:
        if summing is None:
            raise
        raise damaged(f"it can't be read ({error.message})") from error


async def _checked(stream: AsyncIterator[bytes], wanted: bytes) -> bytes:
    """Return a whole body. Raises `Unavailable` for one that is not what was sent."""
    body = bytearray()
    async for piece in stream:
        body += piece
        if len(body) > digests.MOST_BYTES:
            raise TooLarge(f"a body with its hash has at most {digests.MOST_BYTES} bytes")
    whole = bytes(body)
    if len(whole) <= HASHED_HERE:
        found = hashlib.sha256(whole)
    else:
        found = await anyio.to_thread.run_sync(hashlib.sha256, whole)
    if found.digest() != wanted:
        raise damaged()
    return whole


async def _apply_frames(parts: Parts, call: Call, frames: "_Frames") -> list[Outcome]:
    first = await frames.line()
    if first is None:
        raise BadRequest("the body is empty; its first frame says whether it is atomic")
    head = decode(first.json, Apply)
    opened: AbstractContextManager[Source | None] = nullcontext()
    if head.ahead is not None and head.source is not None:
        opened = lying.opened(call.request, head.source, head.ahead)
    with opened as source:
        return await _carry_out(parts, call.actor(head.client), head, frames, source)


async def _carry_out(
    parts: Parts, actor: Actor, head: Apply, frames: "_Frames", source: Source | None
) -> list[Outcome]:
    ahead = None if head.ahead is None else Ahead(parts, actor, head.ahead, source)
    batch = _Batch(parts, actor, head.atomic, ahead)
    try:
        if ahead is not None:
            await ahead.receive(frames)
        lines = 0
        while (line := await frames.line()) is not None:
            lines += len(line.json)
            if lines > MAX_LINES:
                raise TooLarge(f"the lines of a request have at most {MAX_LINES} bytes together")
            operation = decode(line.json, Operation)
            batch.refuse_damaged(operation)
            payload = frames.payload(line.payload, summed=True)
            if lines == len(line.json) and _is_small_save(operation, line.payload):
                whole = await _gathered(payload)
                if len(whole) == line.payload and await frames.is_last():
                    outcome = await alone.save(parts, actor, operation, whole)
                    if outcome is not None:
                        return [outcome]
                payload = _bytes(whole)
            await batch.add(operation, line.payload, payload)
        return await batch.finish()
    finally:
        with anyio.CancelScope(shield=True):
            await batch.discard()


class _Frames:
    """A body as frames: a line, then its payload, which must be taken to its end.

    :param summing: the body ends with a `Sum`, which is checked before the end is told.
    """

    def __init__(self, stream: AsyncIterator[bytes], summing: Summing | None) -> None:
        self._items = self._parse(stream)
        self._summing = summing
        self._ahead: Line | Piece | None = None

    async def line(self) -> Line | None:
        """Return the next line, or None at the end of the body."""
        item, self._ahead = self._ahead, None
        if item is None:
            item = await anext(self._items, None)
        assert not isinstance(item, Piece), "the payload before was not taken"
        summing = self._summing
        if summing is None:
            return item
        if item is None:
            raise damaged("its end is missing")
        if summing.is_end(item.json):
            self._summing = None
            if not await self.is_last():
                raise damaged("something follows its end")
            return None
        summing.add(item.json)
        return item

    async def is_last(self) -> bool:
        """Whether the body ends where we are, after a payload."""
        self._ahead = await anext(self._items, None)
        return self._ahead is None

    async def payload(self, count: int, *, summed: bool = False) -> AsyncIterator[bytes]:
        """Yield the payload of the line before; *summed*: the `Sum` is of it, too."""
        while count:
            item = await anext(self._items, None)
            if not isinstance(item, Piece):
                raise BodyMismatch("the body ended within a payload")
            count -= len(item.data)
            if summed and self._summing is not None:
                self._summing.add(item.data)
            yield item.data

    async def _parse(self, stream: AsyncIterator[bytes]) -> AsyncIterator[Line | Piece]:
        parser = Parser()
        async for data in stream:
            for item in parser.feed(data):
                yield item
        parser.finish()


class _Batch:
    """Operations that wait for their transaction, and the outcomes of those before."""

    def __init__(
        self, parts: Parts, actor: Actor, atomic: bool, ahead: Ahead | None = None
    ) -> None:
        self._parts = parts
        self._actor = actor
        self._atomic = atomic
        self._ahead = ahead
        self._waiting: list[Staged] = []
        self._outcomes: list[Outcome] = []
        self._count = 0
        self._stopped = False
        self._made: dict[int, int] = {}
        """Files that waiting operations make, and their directories."""
        self._since = 0.0
        """When the first of those that wait came."""

    async def add(self, operation: Operation, size: int, payload: AsyncIterator[bytes]) -> None:
        """Take an operation, and its payload to the end."""
        self._count += 1
        if self._count > MAX_OPERATIONS:
            raise BadRequest(f"a request has at most {MAX_OPERATIONS} operations")
        staged = Staged(operation)
        if not self._stopped:
            try:
                staged = await self._stage(operation, size, payload)
            except RengafsError as error:
                staged = Staged(operation, failure=error)
        async for _ in payload:
            pass  # what nobody wanted of it: the next line is behind it
        await self._raise_undone(staged.failure)
        if self._stopped and not self._atomic:
            self._outcomes.append(skipped("an operation before this one failed"))
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(staged)
        if isinstance(operation, MakeFile) and operation.id is not None:
            self._made[operation.id] = operation.parent
        if staged.failure is not None:
            self._stopped = True
        if not self._atomic and (self._stopped or len(self._waiting) >= AT_ONCE):
            await self._flush()

    async def _raise_undone(self, failure: RengafsError | None) -> None:
        """Let the request fail as a whole where nothing of it was done: it can be asked again."""
        if failure and failure.details.get("carried_out") is False and not self._outcomes:
            await self._discard(self._waiting, frozenset())
            raise failure

    async def finish(self) -> list[Outcome]:
        """Carry out what waits; return all outcomes."""
        await self._flush()
        return self._outcomes

    def refuse_damaged(self, operation: Operation) -> None:
        """Raise `Unavailable` for a commit of what came ahead, but not as it was sent."""
        if self._ahead is not None and isinstance(operation, Commit):
            self._ahead.check(operation)

    async def discard(self) -> None:
        """Let go of what a body that broke off or was damaged has left, and of what came ahead."""
        staged, self._waiting = self._waiting, []
        await self._discard(staged, frozenset())
        if self._ahead is not None:
            await self._ahead.discard()

    async def _stage(
        self, operation: Operation, size: int, payload: AsyncIterator[bytes]
    ) -> Staged:
        if not isinstance(operation, Commit):
            if size:
                raise BadRequest("only a commit has a payload")
            return Staged(operation)
        if size != operation.payload:
            raise BadRequest("a payload that was announced can't be sent in a JSON body")
        storing.check_extents(operation)
        base = await self._prepare(operation)
        if isinstance(base, Outcome):
            return Staged(operation)  # was carried out before: its receipt is found again
        if operation.ahead:
            if self._ahead is None:
                raise BadRequest("no content came ahead of this commit")
            return Staged(operation, self._ahead.take(operation, base))
        return Staged(operation, await storing.compose(self._parts, base, operation, payload))

    async def _prepare(self, operation: Commit) -> Base | Outcome:
        parent = self._made.get(operation.node)
        if parent is None:
            return await self._parts.read(Catalog.prepare_commit, self._actor, operation)
        if operation.base is not None:
            raise BadRequest("a file that is being made has no version to start from")
        return await self._parts.read(Catalog.prepare_first_commit, self._actor, operation, parent)

    async def _flush(self) -> None:
        staged, self._waiting = self._waiting, []
        self._made = {}
        if not staged:
            return
        if time.monotonic() - self._since > HELD_SECONDS:
            await self._discard(staged, frozenset())
            raise TooLarge(f"the body took more than {HELD_SECONDS} s; send less at once")
        try:
            applied = await self._parts.write(
                Catalog.apply, self._actor, staged, atomic=self._atomic
            )
        except (NoSpace, Unavailable) as error:
            # Nothing was carried out, or, where that is not sure, the sweeper will see.
            if isinstance(error, NoSpace) or error.details.get("carried_out") is False:
                await self._discard(staged, frozenset())
            raise
        await self._discard(staged, applied.adopted)
        self._outcomes += applied.outcomes
        self._stopped = self._stopped or applied.failed

    async def _discard(self, staged: Sequence[Staged], adopted: frozenset[tuple[str, str]]) -> None:
        for item in staged:
            blob = item.stored
            if blob is not None and (blob.backend, blob.key) not in adopted:
                await storing.discard(self._parts, blob)


async def reserve(parts: Parts, call: Call) -> Response:
    """Answer ids for files that are made later."""
    call.refuse_read_only()
    asked: Reserve = call.body
    if not 0 < asked.count <= MAX_RESERVED:
        raise BadRequest(f"1 to {MAX_RESERVED} ids can be reserved at a time")
    first = await parts.write(Catalog.reserve, call.actor(), asked.count)
    return answer(Reserved(first=first, count=asked.count))


def _is_small_save(operation: Operation, payload: int) -> TypeGuard[Commit]:
    return isinstance(operation, Commit) and alone.is_small(operation, payload)


async def _gathered(payload: AsyncIterator[bytes]) -> bytes:
    """Return a payload, or less if the body ended before it did."""
    whole = bytearray()
    with suppress(BodyMismatch):
        async for piece in payload:
            whole += piece
    return bytes(whole)


async def _bytes(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data
