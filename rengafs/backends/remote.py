"""A backend over an object store: parts, hashes, tries, clearing up. Requests are a `Store`'s.

A blob of up to one part is one request. A longer one is sent in parts, a few at a time, each
tried again by itself, so that memory is flat whatever the length. A composition keeps the
base's pieces that do not change: they are copied inside the store, and only the pieces around
new bytes are sent (and, at the edges of what is new, fetched). See `pieces` for its hash.
"""

import hashlib
import logging
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Iterator,
)
from contextlib import aclosing
from functools import partial

import anyio
import anyio.to_thread

from rengafs.backends import pieces as hashed
from rengafs.backends.base import (
    HASHED_BYTES,
    PIECE_BYTES,
    Backend,
    Composition,
    Listed,
    Needed,
    Space,
    Stored,
    nobody,
)
from rengafs.backends.flights import Flights
from rengafs.backends.foreign import Found, is_foreign
from rengafs.backends.merging import Payload, merged, overlaps, whole
from rengafs.backends.parts import LARGE_BYTES, Room, copied_part, cut, fitting, sizes
from rengafs.backends.patience import Patience, resumed
from rengafs.backends.store import Bytes, Part, Store, Upload
from rengafs.protocol.errors import Corrupt, RengafsError, TooLarge

WHOLE_BYTES = 16 << 20
"""A composition of at most so many bytes is fetched and sent whole: its sha256 is known then."""
AT_ONCE = 2
"""Parts of one blob that are sent while the next one is gathered."""
COPIES_AT_ONCE = 8
SENDING_BYTES = 96 << 20
"""Bytes of parts that are sent at a time, of all blobs."""
CLEAR_UP_SECONDS = 10.0

log = logging.getLogger(__name__)


class RemoteBackend(Backend):
    """See the module."""

    distant = True

    def __init__(self, name: str, store: Store, patience: Patience | None = None) -> None:
        self.name = name
        self._store = store
        if patience is not None:
            store.patience = patience
        self._sending = Room(SENDING_BYTES)

    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream."""
        parts = cut(stream, sizes(self._store.part_bytes, self._store.max_parts, length))
        first = await anext(parts)
        second = await anext(parts, None)
        key = uuid.uuid4().hex
        if second is None:
            return await self._put_small(key, first)
        making = _Making(self._store, self._sending, Upload(key))
        async with making, _Whole() as sha256:
            await sha256.add(first)
            await making.send(first)
            del first
            while second is not None:
                await sha256.add(second)
                await making.send(second)
                second = await anext(parts, None)
            hexdigest = await sha256.hexdigest()
            size, digests = await making.finish()
            return Stored(key, size, hexdigest, digests)

    async def _put_small(self, key: str, data: list[bytes]) -> Stored:
        digests, md5 = await _hashed(data)
        body = Bytes(data, md5)
        try:
            await self._store.patience.insist(
                lambda: self._store.put(key, body), f"the upload of {key}"
            )
        except BaseException:
            # It may have arrived although its answer did not.
            await _cleared_up(self._store.delete(key))
            raise
        if 0 < body.size <= HASHED_BYTES:
            return Stored(key, body.size, digests.hex())  # the only piece is the whole
        sha256 = hashlib.sha256()
        await _update(sha256, data)
        return Stored(key, body.size, sha256.hexdigest(), digests)

    async def put_as(self, key: str, data: bytes) -> None:
        """Store a small blob under a key."""
        _, md5 = await _hashed([data])
        body = Bytes([data], md5)
        # Nothing is cleared up: another may have put it too, and need it.
        await self._store.patience.insist(
            lambda: self._store.put(key, body), f"the upload of {key}"
        )

    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says; the base's pieces that stay are copied inside the store."""
        bytes_ = Payload(plan, payload)
        base = _Base(self, plan)
        if not any(keep for keep, _, _ in _runs(plan)):
            return await self.put(whole(plan, bytes_, base.read), plan.length)
        upload = Upload(uuid.uuid4().hex, base=plan.base, base_size=plan.base_size)
        making = _Making(self._store, self._sending, upload)
        # Half of the parts for what is sent: runs of it begin parts of their own.
        size = fitting(self._store.part_bytes, self._store.max_parts // 2, plan.length)
        async with making:
            for keep, start, stop in _runs(plan):
                if keep:
                    await making.copy(start, stop, _digests(plan, start, stop))
                    continue
                for first in range(start, stop, size):
                    last = min(first + size, stop)
                    new = merged(plan, bytes_, base.read, first, last)
                    async for data in cut(new, lambda _: size):
                        await making.send(data)
            await bytes_.finish()
            length, digests = await making.finish()
        return Stored(upload.key, length, _mark(plan, length, digests), digests)

    async def read(
        self, key: str, start: int, stop: int, *, size: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob."""
        if start >= stop:
            await self._store.check(key, size)
            return
        async with aclosing(self._store.get(key, start, stop, size)) as pieces:
            async for piece in pieces:
                yield piece

    def steadily(self, key: str, start: int, stop: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield a part of a blob; a break is mended by another try."""
        return resumed(
            self._store.patience,
            lambda offset: self._store.get(key, offset, stop, size),
            start,
            stop,
            f"the blob {key}",
        )

    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there; never what another program stored."""
        if not is_foreign(key):
            await self._store.delete(key)

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all blobs."""
        async for listed in self._store.list():
            yield listed

    async def space(self) -> Space:
        """Return what the store says."""
        return await self._store.space()

    async def sweep_temporaries(self, older_than_seconds: float, needed: Needed = nobody) -> int:
        """Remove parts of uploads that never ended."""
        return await self._store.sweep(time.time() - older_than_seconds, needed)

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a URL that the store signed."""
        return await self._store.presign(key, seconds)

    async def others(self, container: str) -> AsyncIterator[Found]:
        """Yield what other programs stored in a container."""
        async for found in self._store.others(container):
            yield found

    async def aclose(self) -> None:
        """Close connections."""
        await self._store.aclose()


class _Whole:
    """The sha256 of all parts, in their order, while the next one is gathered."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._under_way = Flights(1)

    async def __aenter__(self) -> "_Whole":
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._under_way.cancel()

    async def add(self, data: list[bytes]) -> None:
        await self._under_way.add(_update(self._digest, data))

    async def hexdigest(self) -> str:
        await self._under_way.land()
        return self._digest.hexdigest()


class _Making:
    """An object that is being made of parts; removed again unless it is finished."""

    def __init__(self, store: Store, sending: Room, upload: Upload) -> None:
        self._store = store
        self._sending = sending
        self._upload = upload
        self._sent = Flights(AT_ONCE)
        self._copied = Flights(COPIES_AT_ONCE)
        self._parts: dict[int, Part] = {}
        self._digests: dict[int, bytes] = {}
        self._count = 0
        self._finished = False

    async def __aenter__(self) -> None:
        begin = partial(self._store.begin, self._upload)
        await self._store.patience.insist(begin, f"the upload of {self._upload.key}")

    async def __aexit__(self, *_: object) -> None:
        if self._finished:
            return
        with anyio.CancelScope(shield=True):
            await self._sent.cancel()
            await self._copied.cancel()
        await _cleared_up(self._store.abandon(self._upload))

    async def send(self, data: list[bytes]) -> None:
        """Send a part, in the background."""
        if sum(map(len, data)) > LARGE_BYTES:
            await self._sent.land()
        await self._sent.add(self._send(self._next(), data))

    async def copy(self, start: int, stop: int, digests: bytes) -> None:
        """Copy bytes of the base, in the background."""
        step = copied_part(self._store, self._upload.base_size)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            begin, end = ((at - start) // HASHED_BYTES for at in (first, last + HASHED_BYTES - 1))
            number = self._next()
            self._digests[number] = digests[begin * 32 : end * 32]
            await self._copied.add(self._copy(number, first, last))

    async def finish(self) -> tuple[int, bytes]:
        """Make the object; return its size and the hashes of its pieces."""
        await self._sent.land()
        await self._copied.land()
        parts = [self._parts[number] for number in range(self._count)]
        size = sum(part.size for part in parts)
        key = self._upload.key
        await self._store.patience.insist(
            lambda: self._store.finish(self._upload, parts), f"the end of the upload of {key}"
        )
        self._finished = True
        return size, b"".join(self._digests[number] for number in range(self._count))

    def _next(self) -> int:
        number = self._count
        if number >= self._store.max_parts:
            raise TooLarge(f"the store takes at most {self._store.max_parts} parts of a blob")
        self._count += 1
        return number

    async def _send(self, number: int, data: list[bytes]) -> None:
        async with self._sending.taken(sum(map(len, data))):
            self._digests[number], md5 = await _hashed(data)
            body = Bytes(data, md5)
            self._parts[number] = await self._store.patience.insist(
                lambda: self._store.send_part(self._upload, number, body),
                f"part {number} of {self._upload.key}",
            )

    async def _copy(self, number: int, start: int, stop: int) -> None:
        self._parts[number] = await self._store.patience.insist(
            lambda: self._store.copy_part(self._upload, number, start, stop),
            f"a copy to part {number} of {self._upload.key}",
        )


class _Base:
    """The base of a composition, read by pieces, each compared with its hash."""

    def __init__(self, backend: RemoteBackend, plan: Composition) -> None:
        self._backend = backend
        self._plan = plan
        self._number = -1
        self._piece = b""

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        while start < stop:
            number = start // HASHED_BYTES
            if number != self._number:
                self._piece = await self._fetch(number)
                self._number = number
            first = start - number * HASHED_BYTES
            last = min(stop - number * HASHED_BYTES, HASHED_BYTES, first + PIECE_BYTES)
            yield self._piece[first:last]
            start += last - first

    async def _fetch(self, number: int) -> bytes:
        plan = self._plan
        assert plan.base is not None
        start = number * HASHED_BYTES
        stop = min(start + HASHED_BYTES, plan.base_size)
        read = self._backend.steadily(plan.base, start, stop, plan.base_size)
        data = b"".join([piece async for piece in read])
        digests, _ = await _hashed([data])
        known = hashed.digest(plan.base_pieces, number)
        only = plan.base_size <= HASHED_BYTES and plan.base_sha256
        if only and not hashed.is_mark(plan.base_sha256):
            known = bytes.fromhex(plan.base_sha256)  # the only piece is the whole
        if known not in (hashed.UNKNOWN, digests):
            raise Corrupt(f"the blob {plan.base} is damaged between {start} and {stop}")
        return data


def _runs(plan: Composition) -> Iterator[tuple[bool, int, int]]:
    """Yield what is kept of the base and what is sent, by pieces: (kept, from, to)."""
    run: tuple[bool, int, int] | None = None
    for start in range(0, plan.length, HASHED_BYTES):
        stop = min(start + HASHED_BYTES, plan.length)
        keep = _keeps(plan, start, stop)
        if run is not None and run[0] == keep:
            run = (keep, run[1], stop)
            continue
        if run is not None:
            yield run
        run = (keep, start, stop)
    if run is not None:
        yield run


def _keeps(plan: Composition, start: int, stop: int) -> bool:
    if plan.base is None or max(plan.length, plan.base_size) <= WHOLE_BYTES:
        return False
    if plan.base_size <= WHOLE_BYTES and not plan.base_pieces:
        return False
    same = stop == min(start + HASHED_BYTES, plan.base_size)
    return same and not overlaps(plan, start, stop)


def _digests(plan: Composition, start: int, stop: int) -> bytes:
    first, last = start // HASHED_BYTES, hashed.count(stop)
    return b"".join(hashed.digest(plan.base_pieces, number) for number in range(first, last))


def _mark(plan: Composition, size: int, digests: bytes) -> str:
    if size == plan.base_size and digests == plan.base_pieces and plan.base_sha256:
        return plan.base_sha256  # the same bytes again
    return hashed.tree_mark(size, digests, plan.base_sha256)


async def _update(digest: "hashlib._Hash", data: list[bytes]) -> None:
    def update() -> None:
        for piece in data:
            digest.update(piece)

    if sum(map(len, data)) < 64 << 10:
        update()
    else:
        await anyio.to_thread.run_sync(update)


async def _hashed(data: list[bytes]) -> tuple[bytes, bytes]:
    if sum(map(len, data)) < 64 << 10:
        return hashed.hash_pieces(data)
    return await anyio.to_thread.run_sync(hashed.hash_pieces, data)


async def _cleared_up(work: Awaitable[None]) -> None:
    """Carry out *work* as well as it goes: what it leaves, the sweeper finds."""
    with anyio.move_on_after(CLEAR_UP_SECONDS, shield=True):
        try:
            await work
        except RengafsError as error:
            log.warning("an upload that failed is left to the sweeper: %s", error)
