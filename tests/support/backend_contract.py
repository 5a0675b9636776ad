"""What every backend must do: subclass, and give a fixture ``backend``."""

import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable

import anyio
import pytest

from rengafs.backends.base import PIECE_BYTES, Backend, Composition, Stored
from rengafs.protocol.errors import BodyMismatch, Corrupt


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def whole(backend: Backend, stored: Stored) -> bytes:
    return await part(backend, stored, 0, stored.size)


async def part(backend: Backend, stored: Stored, start: int, stop: int) -> bytes:
    pieces = backend.read(stored.key, start, stop, size=stored.size)
    return b"".join([piece async for piece in pieces])


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

        anyio.run(run)

    def test_a_list_tells_sizes_and_times(self, backend: Backend) -> None:
        async def run() -> None:
            began = time.time()
            stored = await backend.put(stream(b"four"))
            (listed,) = [blob async for blob in backend.list() if blob.key == stored.key]
            assert listed.size == 4
            assert abs(listed.at - began) < 60

        anyio.run(run)

    def test_single_bytes_are_put_as_well(self, backend: Backend) -> None:
        async def run() -> None:
            data = os.urandom(20_000)
            stored = await backend.put(stream(*[bytes([byte]) for byte in data]))
            assert await whole(backend, stored) == data

        anyio.run(run)

    def test_any_part_is_read(self, backend: Backend) -> None:
        async def run() -> None:
            data = os.urandom(2 * PIECE_BYTES + 100)
            stored = await backend.put(stream(data))
            for start, stop in [(0, 1), (10, 20), (PIECE_BYTES - 1, PIECE_BYTES + 1)]:
                assert await part(backend, stored, start, stop) == data[start:stop]
            assert await part(backend, stored, 7, len(data)) == data[7:]

        anyio.run(run)

    def test_nothing_can_be_put(self, backend: Backend) -> None:
        async def run() -> None:
            stored = await backend.put(stream())
            assert (stored.size, stored.sha256) == (0, hashlib.sha256().hexdigest())

        anyio.run(run)

    def test_the_same_bytes_twice_are_two_blobs(self, backend: Backend) -> None:
        async def run() -> None:
            one, two = await backend.put(stream(b"x")), await backend.put(stream(b"x"))
            assert one.key != two.key
            await backend.delete(one.key)
            assert await whole(backend, two) == b"x"

        anyio.run(run)

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

        anyio.run(run)

    @pytest.mark.parametrize("payload", [b"1234", b"123456", b"abcde"])
    def test_a_wrong_payload_stores_nothing(self, backend: Backend, payload: bytes) -> None:
        async def run() -> None:
            sha256 = hashlib.sha256(b"12345").hexdigest()
            plan = Composition(length=10, extents=[(2, 5)], payload_sha256=sha256)
            with pytest.raises(BodyMismatch):
                await backend.compose(plan, stream(payload))
            assert await keys(backend) == []

        anyio.run(run)

    def test_a_stream_that_breaks_stores_nothing(self, backend: Backend) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(2 * PIECE_BYTES)
            raise ConnectionError

        async def run() -> None:
            with pytest.raises(ConnectionError):
                await backend.put(broken())
            assert await keys(backend) == []
            assert await backend.sweep_temporaries(-60) == 0

        anyio.run(run)

    def test_a_cancelled_put_stores_nothing(self, backend: Backend) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield bytes(2 * PIECE_BYTES)
            await anyio.sleep_forever()

        async def run() -> None:
            with anyio.move_on_after(0.2):
                await backend.put(endless())
            assert await keys(backend) == []
            assert await backend.sweep_temporaries(-60) == 0

        anyio.run(run)

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

        anyio.run(run)

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

        anyio.run(run)

    def test_all_keys_are_listed(self, backend: Backend) -> None:
        async def run() -> None:
            stored = {(await backend.put(stream(bytes([n])))).key for n in range(20)}
            assert set(await keys(backend)) == stored

        anyio.run(run)

    def test_many_calls_at_once_do_not_mix(self, backend: Backend) -> None:
        async def one(number: int) -> None:
            data = bytes([number]) * (PIECE_BYTES + number)
            stored = await backend.put(stream(data))
            assert await whole(backend, stored) == data

        async def run() -> None:
            async with anyio.create_task_group() as group:
                for number in range(12):
                    group.start_soon(one, number)

        anyio.run(run)
