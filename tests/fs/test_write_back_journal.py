"""The journal: what is on disk is what was acknowledged, whatever disks and callers do."""

import os
import threading

import pytest
import trio
import trio.testing
from support.disks import resize, small_disk

from rengafs.fs.writes.writeback.journal import (
    EMPTY_BYTES,
    LOG,
    Journal,
    damaged_parts,
    in_use,
    read_journal,
)
from rengafs.fs.writes.writeback.records import Done, Owner, Queued
from rengafs.fs.writes.writeback.replaying import pending
from rengafs.protocol.errors import Corrupt, NoSpace
from rengafs.protocol.operations import Commit, MakeFile

OWNER = Owner(catalog="c", user="u", mount="m")


def save(number, payload=b"", file=None):
    operation = Commit(node=file or number, length=len(payload), payload=len(payload))
    return Queued(number=number, file=file or number, operation=operation)


async def filled(parent, count, size=100):
    """A journal with some saves: the bodies are 1, 2, … as often as wanted."""
    journal = Journal.create(parent, OWNER)
    for number in range(1, count + 1):
        await journal.append(save(number, bytes([number]) * size), bytes([number]) * size)
    return journal


def numbers(records):
    return [record.number for record in records]


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def adopted(directory):
    found = Journal.adopt(directory)
    assert found is not None
    return found


async def test_a_damaged_frame_costs_only_itself_and_is_kept(tmp_path):
    journal = await filled(tmp_path, 5)
    log = journal.directory / LOG
    journal.close()
    whole = log.read_bytes()
    flip(log, whole.index(b"\3" * 100) + 50)

    again, records = adopted(journal.directory)

    assert numbers(records) == [1, 2, 4, 5]
    assert await again.read([1, 5]) == [b"\1" * 100, b"\5" * 100]
    again.close()
    (kept,) = damaged_parts(tmp_path)
    assert b"\3" * 50 in kept.read_bytes()
    assert len(kept.read_bytes()) == len(whole) // 5
    _, told = read_journal(journal.directory)
    assert numbers(told) == [1, 2, 4, 5]


async def test_what_is_behind_wrong_lengths_is_kept_and_the_journal_goes_on(tmp_path, caplog):
    journal = await filled(tmp_path, 5)
    log = journal.directory / LOG
    journal.close()
    whole = log.read_bytes()
    frame = len(whole) // 5
    flip(log, 2 * frame)
    damaged = log.read_bytes()

    again, records = adopted(journal.directory)
    await again.append(save(9, b"new"), b"new")
    again.close()

    assert numbers(records) == [1, 2]
    (kept,) = damaged_parts(tmp_path)
    assert kept.read_bytes() == damaged[2 * frame :]
    assert str(kept) in caplog.text
    last, records = adopted(journal.directory)
    assert numbers(records) == [1, 2, 9]
    assert await last.read([9]) == [b"new"]
    last.close()


async def test_a_frame_that_was_being_written_is_no_record_and_is_kept(tmp_path):
    journal = await filled(tmp_path, 3)
    journal.close()
    log = journal.directory / LOG
    os.truncate(log, log.stat().st_size - 10)
    again, records = adopted(journal.directory)
    again.close()
    assert numbers(records) == [1, 2]
    assert len(damaged_parts(tmp_path)) == 1


async def test_room_that_nobody_has_filled_is_nothing(tmp_path):
    journal = await filled(tmp_path, 3)
    journal.close()
    log = journal.directory / LOG
    os.truncate(log, log.stat().st_size + 5000)
    again, records = adopted(journal.directory)
    again.close()
    assert numbers(records) == [1, 2, 3]
    assert damaged_parts(tmp_path) == []


async def test_a_journal_that_does_not_say_whose_it_is_is_told_and_left(tmp_path):
    journal = await filled(tmp_path, 3)
    journal.close()
    (journal.directory / "owner").write_bytes(b"{")
    before = (journal.directory / LOG).read_bytes()
    with pytest.raises(Corrupt, match="owner"):
        Journal.adopt(journal.directory)
    assert (journal.directory / LOG).read_bytes() == before
    assert not in_use(journal.directory)


async def test_a_payload_that_the_disk_has_changed_is_refused(tmp_path):
    journal = await filled(tmp_path, 3)
    log = journal.directory / LOG
    flip(log, log.read_bytes().index(b"\2" * 100) + 7)
    assert await journal.read([1, 3]) == [b"\1" * 100, b"\3" * 100]
    with pytest.raises(Corrupt, match="checksum"):
        await journal.read([2])
    (damaged,) = await journal.read([2], check=False)
    assert sorted(damaged) == [2] * 99 + [3]
    journal.remove()


async def test_who_is_cancelled_while_appending_takes_nothing_of_others_along(
    tmp_path, monkeypatch
):
    """The second is cancelled at the moment when it is to write for itself and the third."""
    journal = Journal.create(tmp_path, OWNER)
    gate, plain = threading.Event(), os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: gate.wait(60) and plain(file))
    second = trio.CancelScope()
    told = []

    async def append(number, then=lambda: None):
        await journal.append(save(number, b"x"), b"x")
        told.append(number)
        then()

    async def append_in(scope, number):
        with scope:
            await append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, 1, second.cancel)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(append_in, second, 2)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(append, 3)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    journal.close()
    _, records = read_journal(journal.directory)
    assert {1, 3} <= set(told)
    assert set(told) <= set(numbers(records))


async def test_a_full_disk_is_told_to_all_who_wait_and_nothing_of_them_stays():
    with small_disk(1) as disk:
        journal = await filled(disk, 3)
        refused = []

        async def append(number):
            try:
                await journal.append(save(number, b"x" * 500_000), b"x" * 500_000)
            except NoSpace:
                refused.append(number)

        (disk / "filler").write_bytes(bytes(600_000))
        size = journal.size
        journal.note(Done(number=2))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(append, 7)
            nursery.start_soon(append, 8)
        assert sorted(refused) == [7, 8]
        assert journal.size == size
        resize(disk, 4)
        await append(9)
        journal.close()
        _, records = read_journal(journal.directory)
        assert numbers(records) == [1, 2, 3, 2, 9]


async def test_a_journal_gets_shorter_though_something_in_it_waits(tmp_path):
    journal = await filled(tmp_path, 3, size=200_000)
    late = []

    async def append_meanwhile():
        await trio.lowlevel.checkpoint()
        await journal.append(save(90, b"late"), b"late")
        late.append(await journal.read([90]))

    for number in range(10, 60):
        await journal.append(save(number, b"y" * 200_000), b"y" * 200_000)
        journal.note(Done(number=number, version=1000 + number))
    journal.note(Done(number=1))
    await journal.sync()
    before = journal.size
    assert journal.is_wasteful
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.compact, lambda: [Done(number=59, version=1059)])
        nursery.start_soon(append_meanwhile)
    assert journal.size < before / 2
    assert late == [[b"late"]]
    assert await journal.read([2, 3, 90]) == [b"\2" * 200_000, b"\3" * 200_000, b"late"]
    assert in_use(journal.directory)
    assert Journal.adopt(journal.directory) is None
    await journal.append(save(91, b"more"), b"more")
    journal.close()
    again, records = adopted(journal.directory)
    assert [record.number for record in records if isinstance(record, Queued)] == [2, 3, 90, 91]
    assert Done(number=59, version=1059) in records
    assert await again.read([3, 91]) == [b"\3" * 200_000, b"more"]
    again.remove()
    assert list(tmp_path.iterdir()) == []


async def test_a_journal_of_which_nothing_waits_is_emptied(tmp_path):
    journal = Journal.create(tmp_path, OWNER)
    for number in range(1, 8):
        await journal.append(save(number, b"y" * 200_000), b"y" * 200_000)
        journal.note(Done(number=number))
    assert journal.size > EMPTY_BYTES
    await journal.compact(list)
    assert journal.size == 0
    journal.remove()


async def test_a_journal_that_cannot_be_shortened_stays_as_it_is():
    with small_disk(12) as disk:
        journal = Journal.create(disk, OWNER)
        body = b"y" * 1_500_000
        for number in range(1, 8):
            await journal.append(save(number, body), body)
        for number in range(1, 5):
            journal.note(Done(number=number))
        assert journal.is_wasteful
        with pytest.raises(NoSpace):
            await journal.compact(list)
        assert await journal.read([5, 7]) == [body, body]
        await journal.sync()
        journal.close()
        _, records = read_journal(journal.directory)
        assert numbers(records) == [1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4]


class Counted(list):
    """A list that counts how often somebody begins at its beginning."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


def test_what_is_to_be_replayed_is_found_in_one_pass():
    records = Counted()
    for number in range(1, 20_001):
        file = number % 10_000
        made = MakeFile(parent=1, name=f"f{file}", id=file)
        records.append(
            save(number, file=file)
            if number % 2
            else Queued(number=number, file=file, operation=made)
        )
    records += [Done(number=number) for number in range(1, 5_001)]
    records.append(Done(number=5_001, file=77, meant=5_001))
    moved, waiting = pending(records)
    assert records.passes == 1
    assert moved == {5_001: 77}
    assert numbers(waiting) == list(range(5_002, 20_001))
