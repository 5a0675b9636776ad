"""Blobs of the local backend that are laid over their base: see `rengafs.backends.local.laid`."""

import os
import random
from pathlib import Path

import anyio
import pytest
from support.backend_contract import keys, part, stream, whole

from rengafs.backends import pieces as hashed
from rengafs.backends.base import HASHED_BYTES, Composition, Stored
from rengafs.backends.local import laying
from rengafs.backends.local.backend import LocalBackend, open_local
from rengafs.protocol.errors import BodyMismatch, Corrupt

SIZE = 3 * HASHED_BYTES + 77


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalBackend:
    # Small enough for a test; and as on ext4, whatever this disk can.
    monkeypatch.setattr(laying, "LAID_BYTES", SIZE // 4)
    made = open_local(tmp_path / "blobs", owner="me")
    made._shares = False
    return made


async def edited(
    backend: LocalBackend, base: Stored, data: bytearray, length: int, *extents: tuple[int, int]
) -> Stored:
    """Edit a blob, and *data* in the same way."""
    new = [os.urandom(count) for _, count in extents]
    plan = Composition(
        length,
        base.key,
        base.size,
        extents,
        base_sha256=base.sha256,
        base_pieces=base.pieces,
    )
    stored = await backend.compose(plan, stream(*new))
    del data[length:]
    data.extend(bytes(length - len(data)))
    for (offset, count), piece in zip(extents, new, strict=True):
        data[offset : offset + count] = piece
    return stored


async def begun(backend: LocalBackend) -> tuple[Stored, bytearray]:
    data = bytearray(random.Random(7).randbytes(SIZE))
    return await backend.put(stream(bytes(data))), data


async def check(backend: LocalBackend, stored: Stored, data: bytearray) -> None:
    assert await whole(backend, stored) == data
    assert await part(backend, stored, 5, 9) == data[5:9]
    middle = len(data) // 2
    assert await part(backend, stored, middle - 9, middle + 9) == data[middle - 9 : middle + 9]
    assert stored.pieces == hashed.hash_pieces([bytes(data)])[0]


def laid(backend: LocalBackend, stored: Stored) -> Path:
    return backend._laid(stored.key)


def test_a_small_edit_copies_nothing_and_reads_as_it_should(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        stored = await edited(backend, base, data, SIZE, (HASHED_BYTES + 3, 1))
        assert hashed.is_mark(stored.sha256)
        assert (laid(backend, stored) / "data").stat().st_blocks * 512 < 1 << 20
        await check(backend, stored, data)

    anyio.run(run)


def test_edits_of_edits_lie_over_one_base(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        dice = random.Random(11)
        stored, length = base, SIZE
        for number in range(12):
            length = SIZE + dice.randrange(-SIZE // 3, SIZE // 3) if number % 3 else length
            first = dice.randrange(length - 5000)
            extents = [(first, dice.randrange(1, 2000)), (first + 3000, dice.randrange(1, 2000))]
            stored = await edited(backend, stored, data, length, *extents)
            await check(backend, stored, data)
            assert laid(backend, stored).exists()

    anyio.run(run)


def test_drawn_out_it_is_a_file_like_any_other(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        first = await edited(backend, base, data, SIZE - 999, (17, 5), (HASHED_BYTES, 4096))
        before = bytearray(data)
        second = await edited(backend, first, data, SIZE + 12345, (SIZE + 1000, 5))
        await backend.delete(base.key)  # both keep what they need of it
        assert sorted(await backend.waiting(-60)) == sorted([first.key, second.key])
        assert sorted(await keys(backend)) == sorted([first.key, second.key])
        for stored, expected in ((first, before), (second, data)):
            await backend.draw_out(stored.key)
            await backend.draw_out(stored.key)
            assert backend._path(stored.key).read_bytes() == expected
            assert backend._path(stored.key).stat().st_mode & 0o777 == 0o440
            await check(backend, stored, expected)
        assert await backend.waiting(-60) == []
        assert sorted(await keys(backend)) == sorted([first.key, second.key])
        assert list((backend._directory / "laid").iterdir()) == []

    anyio.run(run)


def test_who_reads_while_it_is_drawn_out_reads_on(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        stored = await edited(backend, base, data, SIZE, (9, 9))
        reading = backend.read(stored.key, 0, SIZE, size=SIZE)
        found = [await anext(reading)]
        await backend.draw_out(stored.key)
        found += [piece async for piece in reading]
        assert b"".join(found) == data

    anyio.run(run)


def test_what_ended_while_it_was_drawn_out_is_drawn_out_again(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        stored = await edited(backend, base, data, SIZE, (9, 9))
        path, directory = backend._path(stored.key), laid(backend, stored)
        file = laying.Laid.open(directory, to_draw=True)
        next(file.draw_out(path))
        file.close()
        await check(backend, stored, data)
        await backend.draw_out(stored.key)
        await check(backend, stored, data)
        # The last thing to go are its companions.
        directory.mkdir()
        (directory / "about.json").touch()
        assert await backend.waiting(-60) == [stored.key]
        await backend.draw_out(stored.key)
        assert await backend.waiting(-60) == []
        await check(backend, stored, data)

    anyio.run(run)


def test_a_laid_blob_is_deleted_whole(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        stored = await edited(backend, base, data, SIZE, (9, 9))
        await backend.delete(stored.key)
        await backend.delete(stored.key)
        await backend.draw_out(stored.key)
        assert await keys(backend) == [base.key]
        with pytest.raises(Corrupt):
            await whole(backend, stored)
        assert list((backend._directory / "tmp").iterdir()) == []

    anyio.run(run)


def test_an_edit_that_fails_leaves_nothing(backend: LocalBackend) -> None:
    async def run() -> None:
        base, _ = await begun(backend)
        plan = Composition(SIZE, base.key, SIZE, [(5, 10)])
        for wrong in (b"123", b"12345678901"):
            with pytest.raises(BodyMismatch):
                await backend.compose(plan, stream(wrong))
        with pytest.raises(Corrupt):
            await backend.compose(Composition(SIZE, "0" * 32, SIZE, [(5, 1)]), stream(b"1"))
        with pytest.raises(Corrupt):
            await backend.compose(Composition(SIZE, base.key, SIZE + 1, [(5, 1)]), stream(b"1"))
        assert await keys(backend) == [base.key]
        assert list((backend._directory / "tmp").iterdir()) == []

    anyio.run(run)


def test_a_damaged_piece_is_not_mixed_with_new_bytes(backend: LocalBackend) -> None:
    async def run() -> None:
        base, data = await begun(backend)
        path = backend._path(base.key)
        path.chmod(0o600)
        with path.open("r+b") as file:
            file.seek(HASHED_BYTES + 5)
            file.write(bytes([data[HASHED_BYTES + 5] ^ 1]))
        with pytest.raises(Corrupt):
            await edited(backend, base, data, SIZE, (HASHED_BYTES + 100, 1))

    anyio.run(run)


def test_many_edits_end_in_a_file_of_their_own(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rengafs.backends.local.backend.THICK_BYTES", 10_000)

    async def run() -> None:
        stored, data = await begun(backend)
        drawn = []
        for number in range(6):
            before = stored
            stored = await edited(backend, stored, data, SIZE, (number * 5000, 4000))
            drawn.append(not laid(backend, before).exists())
            await check(backend, stored, data)
        assert drawn == [True, False, False, True, False, False]

    anyio.run(run)
