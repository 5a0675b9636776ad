"""What every backend must do: subclass, and give a fixture ``backend``."""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import httpx
import pytest

from rengafs.backends import pieces as hashed
from rengafs.backends.base import (
    HASHED_BYTES,
    PIECE_BYTES,
    Backend,
    Composition,
    Growing,
    Stored,
)
from rengafs.protocol.errors import BodyMismatch, Corrupt


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


class Written(Growing):
    """A file that is written while it is taken."""

    def __init__(self, path: Path, *parts: bytes, behind: bytes = b"") -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._parts, self._behind = parts, behind

    async def lengths(self) -> AsyncIterator[int]:
        length = 0
        for part in self._parts:
            os.write(self.descriptor, part)
            length += len(part)
            yield length
        os.write(self.descriptor, self._behind)

    async def stream(self) -> AsyncIterator[bytes]:
        at = 0
        async for length in self.lengths():
            yield os.pread(self.descriptor, length - at, at)
            at = length

    def close(self) -> None:
        os.close(self.descriptor)


async def whole(backend: Backend, stored: Stored) -> bytes:
    return await part(backend, stored, 0, stored.size)


async def part(backend: Backend, stored: Stored, start: int, stop: int) -> bytes:
    pieces = backend.read(stored.key, start, stop, size=stored.size)
    return b"".join([piece async for piece in pieces])


def go(backend: Backend, run: Callable[[], Awaitable[None]]) -> None:
    """Run on asyncio, as the service does; close the backend's connections at the end."""

    async def closing() -> None:
        try:
            await run()
        finally:
            await backend.aclose()

    anyio.run(closing)


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE_BYTES - 1):
        yield data[start : start + PIECE_BYTES - 1]


def check_pieces(stored: Stored, data: bytes) -> None:
    """Whatever a backend tells of pieces is right."""
    if stored.pieces:
        assert stored.pieces == hashed.hash_pieces([bytes(data)])[0]
    if not hashed.is_mark(stored.sha256):
        assert stored.sha256 == hashlib.sha256(data).hexdigest()


async def keys(backend: Backend) -> list[str]:
    return [listed.key async for listed in backend.list()]


class BackendContract:
    """The suite. Tests are plain functions that run coroutines on asyncio, as the service does."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def damage(self, backend: Backend) -> Callable[[str], None]:
        """Make a blob one byte shorter, behind the backend's back."""
        raise NotImplementedError

    def test_what_is_put_is_read(self, backend: Backend) -> None:
        async def run() -> None:
            data = os.urandom(3 * PIECE_BYTES + 17)
            stored = await backend.put(stream(data[:5], b"", data[5:]))
            assert stored.size == len(data)
            assert stored.sha256 == hashlib.sha256(data).hexdigest()
            assert await whole(backend, stored) == data

        go(backend, run)

    def test_a_file_that_is_being_written_is_taken(self, backend: Backend, tmp_path: Path) -> None:
        async def run() -> None:
            data = os.urandom(HASHED_BYTES + PIECE_BYTES + 17)
            file = Written(
                tmp_path / "written", data[:5], data[5:HASHED_BYTES], data[HASHED_BYTES:]
            )
            stored = await backend.take(file)
            file.close()
            # It is the blob's own, whatever becomes of the name that it had.
            file.path.unlink()
            assert stored.size == len(data)
            assert stored.sha256 == hashlib.sha256(data).hexdigest()
            check_pieces(stored, data)
            assert await whole(backend, stored) == data

        go(backend, run)

    def test_a_file_of_nothing_is_taken(self, backend: Backend, tmp_path: Path) -> None:
        async def run() -> None:
            file = Written(tmp_path / "written")
            stored = await backend.take(file)
            file.close()
            assert (stored.size, stored.sha256) == (0, hashlib.sha256().hexdigest())

        go(backend, run)

    def test_a_list_tells_sizes_and_times(self, backend: Backend) -> None:
        async def run() -> None:
            began = time.time()
            stored = await backend.put(stream(b"four"))
            (listed,) = [blob async for blob in backend.list() if blob.key == stored.key]
            assert listed.size == 4
            assert abs(listed.at - began) < 60

        go(backend, run)

    def test_single_bytes_are_put_as_well(self, backend: Backend) -> None:
        async def run() -> None:
            data = os.urandom(20_000)
            stored = await backend.put(stream(*[bytes([byte]) for byte in data]))
            assert await whole(backend, stored) == data

        go(backend, run)

    def test_any_part_is_read(self, backend: Backend) -> None:
        async def run() -> None:
            data = os.urandom(2 * PIECE_BYTES + 100)
            stored = await backend.put(stream(data))
            for start, stop in [(0, 1), (10, 20), (PIECE_BYTES - 1, PIECE_BYTES + 1)]:
                assert await part(backend, stored, start, stop) == data[start:stop]
            assert await part(backend, stored, 7, len(data)) == data[7:]

        go(backend, run)

    def test_nothing_can_be_put(self, backend: Backend) -> None:
        async def run() -> None:
            stored = await backend.put(stream())
            assert (stored.size, stored.sha256) == (0, hashlib.sha256().hexdigest())

        go(backend, run)

    def test_the_same_bytes_twice_are_two_blobs(self, backend: Backend) -> None:
        async def run() -> None:
            one, two = await backend.put(stream(b"x")), await backend.put(stream(b"x"))
            assert one.key != two.key
            await backend.delete(one.key)
            assert await whole(backend, two) == b"x"

        go(backend, run)

    @pytest.mark.parametrize(
        ("length", "extents"),
        [
            (300, [(0, 10)]),
            (300, [(100, 1), (150, 50)]),
            (10, [(3, 2)]),
            (1000, [(500, 10)]),
            (1000, []),
            (100, []),
            (5, [(0, 5)]),
            (PIECE_BYTES * 2, [(5, PIECE_BYTES + 5)]),
        ],
    )
    @pytest.mark.parametrize("with_base", [True, False])
    def test_a_composition_is_base_zeros_and_payload(
        self, backend: Backend, length: int, extents: list[tuple[int, int]], with_base: bool
    ) -> None:
        async def run() -> None:
            old = os.urandom(300) if with_base else b""
            base = await backend.put(stream(old)) if with_base else None
            payload = os.urandom(sum(count for _, count in extents))
            plan = Composition(
                length=length,
                base=base.key if base else None,
                base_size=len(old),
                extents=extents,
                payload_sha256=hashlib.sha256(payload).hexdigest(),
            )
            wanted, rest = bytearray(old[:length].ljust(length, b"\0")), payload
            for offset, count in extents:
                wanted[offset : offset + count], rest = rest[:count], rest[count:]

            cut = len(payload) // 3
            stored = await backend.compose(plan, stream(payload[:cut], payload[cut:]))

            assert stored.size == length
            assert stored.sha256 == hashlib.sha256(wanted).hexdigest()
            assert await whole(backend, stored) == wanted
            if base:
                assert await whole(backend, base) == old

        go(backend, run)

    @pytest.mark.parametrize("payload", [b"1234", b"123456", b"abcde"])
    def test_a_wrong_payload_stores_nothing(self, backend: Backend, payload: bytes) -> None:
        async def run() -> None:
            sha256 = hashlib.sha256(b"12345").hexdigest()
            plan = Composition(length=10, extents=[(2, 5)], payload_sha256=sha256)
            with pytest.raises(BodyMismatch):
                await backend.compose(plan, stream(payload))
            assert await keys(backend) == []

        go(backend, run)

    def test_a_stream_that_breaks_stores_nothing(self, backend: Backend) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(2 * PIECE_BYTES)
            raise ConnectionError

        async def run() -> None:
            with pytest.raises(ConnectionError):
                await backend.put(broken())
            assert await keys(backend) == []
            assert await backend.sweep_temporaries(-60) == 0

        go(backend, run)

    def test_a_long_stream_that_breaks_stores_nothing(self, backend: Backend) -> None:
        async def broken() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield bytes(PIECE_BYTES)
            raise ConnectionError

        async def run() -> None:
            with pytest.raises(ConnectionError):
                await backend.put(broken())
            assert await keys(backend) == []
            assert await backend.sweep_temporaries(-60) == 0

        go(backend, run)

    def test_a_cancelled_put_stores_nothing(self, backend: Backend) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield bytes(2 * PIECE_BYTES)
            await anyio.sleep_forever()

        async def run() -> None:
            with anyio.move_on_after(0.2):
                await backend.put(endless())
            assert await keys(backend) == []
            assert await backend.sweep_temporaries(-60) == 0

        go(backend, run)

    def test_what_is_deleted_is_gone_and_deleting_it_again_is_good(self, backend: Backend) -> None:
        async def run() -> None:
            stored = await backend.put(stream(b"x"))
            await backend.delete(stored.key)
            await backend.delete(stored.key)
            with pytest.raises(Corrupt):
                await whole(backend, stored)
            plan = Composition(length=2, base=stored.key, base_size=1)
            with pytest.raises(Corrupt):
                await backend.compose(plan, stream())
            assert await keys(backend) == []

        go(backend, run)

    def test_a_shorter_blob_is_never_read(
        self, backend: Backend, damage: Callable[[str], None]
    ) -> None:
        async def run() -> None:
            stored = await backend.put(stream(b"0123456789"))
            damage(stored.key)
            with pytest.raises(Corrupt):
                await part(backend, stored, 0, 3)
            plan = Composition(length=20, base=stored.key, base_size=10)
            with pytest.raises(Corrupt):
                await backend.compose(plan, stream())

        go(backend, run)

    def test_all_keys_are_listed(self, backend: Backend) -> None:
        async def run() -> None:
            stored = {(await backend.put(stream(bytes([n])))).key for n in range(20)}
            assert set(await keys(backend)) == stored

        go(backend, run)

    def test_many_calls_at_once_do_not_mix(self, backend: Backend) -> None:
        async def one(number: int) -> None:
            data = bytes([number]) * (PIECE_BYTES + number)
            stored = await backend.put(stream(data))
            assert await whole(backend, stored) == data

        async def run() -> None:
            async with anyio.create_task_group() as group:
                for number in range(12):
                    group.start_soon(one, number)

        go(backend, run)

    def test_a_long_blob_is_read_as_it_was_put(self, backend: Backend) -> None:
        async def run() -> None:
            data = os.urandom(3 * HASHED_BYTES + 5)
            stored = await backend.put(in_pieces(data))
            assert stored.sha256 == hashlib.sha256(data).hexdigest()
            check_pieces(stored, data)
            assert await whole(backend, stored) == data
            middle = 2 * HASHED_BYTES
            assert (
                await part(backend, stored, middle - 9, middle + 9) == data[middle - 9 : middle + 9]
            )

        go(backend, run)

    def test_a_long_composition_is_base_zeros_and_payload(self, backend: Backend) -> None:
        async def run() -> None:
            old = os.urandom(4 * HASHED_BYTES + 100)
            content, base = bytearray(old), await backend.put(in_pieces(old))
            edits = [
                (len(old), 3 * HASHED_BYTES + 10, b"x"),
                (len(old), 0, b"begin"),
                (len(old), HASHED_BYTES - 2, b"border"),
                (5 * HASHED_BYTES, 5 * HASHED_BYTES - 4, b"tail"),
                (3 * HASHED_BYTES + 7, 0, b""),
            ]
            last = base
            for length, offset, payload in edits:
                content = content[:length] + bytes(max(length - len(content), 0))
                content[offset : offset + len(payload)] = payload
                plan = Composition(
                    length=length,
                    base=last.key,
                    base_size=last.size,
                    extents=[(offset, len(payload))] if payload else [],
                    base_sha256=last.sha256,
                    base_pieces=last.pieces,
                )
                last = await backend.compose(plan, stream(payload))
                assert last.size == length
                check_pieces(last, content)
                assert await whole(backend, last) == content
            assert await whole(backend, base) == old
            await backend.delete(base.key)
            await backend.sweep_temporaries(-60)
            assert await whole(backend, last) == content

        go(backend, run)

    def test_equal_compositions_have_equal_hashes(self, backend: Backend) -> None:
        async def run() -> None:
            old = os.urandom(3 * HASHED_BYTES)
            base = await backend.put(in_pieces(old))

            async def edited(byte: bytes) -> Stored:
                plan = Composition(
                    len(old), base.key, len(old), [(5, 1)], "", base.sha256, base.pieces
                )
                return await backend.compose(plan, stream(byte))

            other = bytes([old[5] ^ 1])
            assert (await edited(old[5:6])).sha256 == base.sha256
            assert (await edited(other)).sha256 == (await edited(other)).sha256 != base.sha256

        go(backend, run)

    def test_a_copy_outlives_its_original(self, backend: Backend) -> None:
        async def run() -> None:
            for size in (0, 10, 3 * HASHED_BYTES):
                data = os.urandom(size)
                one = await backend.put(in_pieces(data))
                two = await backend.copy(one.key, size, sha256=one.sha256, pieces=one.pieces)
                await backend.delete(one.key)
                await backend.sweep_temporaries(-60)
                assert await whole(backend, two) == data

        go(backend, run)

    def test_a_base_that_was_damaged_is_never_copied_into_new_hashes(
        self, backend: Backend, damage: Callable[[str], None]
    ) -> None:
        async def run() -> None:
            data = os.urandom(3 * HASHED_BYTES)
            base = await backend.put(in_pieces(data))
            damage(base.key)
            plan = Composition(len(data), base.key, len(data), [(5, 1)], "", base.sha256)
            with pytest.raises(Corrupt):
                await backend.compose(plan, stream(b"x"))

        go(backend, run)

    def test_whoever_has_a_signed_url_reads_the_blob(self, backend: Backend) -> None:
        async def run() -> None:
            stored = await backend.put(stream(b"signed"))
            url = await backend.presign(stored.key, 60)
            if url is None:
                assert backend.name == "local"
                return
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(url)).content == b"signed"
                other = url.replace(stored.key, "0" * 32)
                assert (await client.get(other)).status_code in (401, 403)

        go(backend, run)

    def test_it_answers_for_its_space(self, backend: Backend) -> None:
        async def run() -> None:
            space = await backend.space()
            assert space.free is None or space.free > 0

        go(backend, run)
