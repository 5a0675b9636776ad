"""Sending what waits: against a service that refuses at will, and disks that do."""

import os
import time
from functools import partial

import pytest
import trio
import trio.testing
from support.disks import resize, small_disk

from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.writeback import sending
from rengafs.fs.writes.writeback.journal import Journal
from rengafs.fs.writes.writeback.keeping import keep_all
from rengafs.fs.writes.writeback.outbox import Entry, Limits, Outbox
from rengafs.fs.writes.writeback.records import Done, Owner, Queued
from rengafs.fs.writes.writeback.replaying import pending
from rengafs.fs.writes.writeback.sending import Sender
from rengafs.fs.writes.writeback.unsaved import payload_of
from rengafs.protocol.errors import (
    BackendRefused,
    Forbidden,
    QuotaExceeded,
    Unreachable,
    to_problem,
)
from rengafs.protocol.operations import Commit, MakeFile, Outcome, SetAttributes
from rengafs.protocol.records import Kind, Node, Version

OWNER = Owner(catalog="c", user="u", mount="m")
SECONDS = 60


class Service:
    """Answers with what it is told to, in turn; then it takes everything."""

    def __init__(self, *refusals):
        self.refusals = list(refusals)
        self.taken = []

    async def apply(self, operations):
        await trio.lowlevel.checkpoint()
        return [self._outcome(*one) for one in operations]

    async def commit(self, operation, opener):
        payload = b"".join([piece async for piece in opener()])
        return self._outcome(operation, payload)

    def _outcome(self, operation, payload):
        if self.refusals:
            return Outcome(problem=to_problem(self.refusals.pop(0)))
        self.taken.append((operation, payload))
        version = Version(
            id=1000 + len(self.taken),
            file=operation.node,
            size=len(payload),
            sha256="",
            change=1,
            created_ms=0,
        )
        return Outcome(version=version)


class Held:
    name = "data/f"

    def arrived(self, queued, outcome):
        pass

    async def finished(self, outcome):
        pass


async def waiting(journal, number=1, payload=b"precious", limits=None, **options):
    """An outbox in which one save waits."""
    outbox = Outbox(journal, limits)
    await add(outbox, number, payload, **options)
    return outbox


async def add(outbox, number, payload=b"precious", file=7, opener=None, at_ms=0, **options):
    options = {"length": len(payload), "payload": len(payload), **options}
    options.setdefault("extents", [(0, len(payload))])
    operation = Commit(node=file, key=f"{number}", **options)
    queued = Queued(number=number, file=file, operation=operation, name="data/f", at_ms=at_ms)
    if opener is None:
        await outbox.journal.append(queued, payload)
    outbox.add(Entry(queued, opener), Held())


async def sent(outbox, service, put_aside):
    """Send until nothing waits."""
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sender(outbox, service, put_aside).run)
            while len(outbox):
                await outbox.step()
            nursery.cancel_scope.cancel()


async def test_a_store_that_refuses_the_service_is_asked_again(tmp_path):
    outbox = await waiting(Journal.create(tmp_path, OWNER))
    service = Service(BackendRefused("the store knows us no more"))

    async def put_aside(chain, error):
        raise AssertionError("it is not refused for good")

    await sent(outbox, service, put_aside)
    assert [payload for _, payload in service.taken] == [b"precious"]


async def test_what_has_waited_for_long_waits_for_no_company(tmp_path, monkeypatch):
    """Of many saves of one file each goes when the one before it was answered."""
    monkeypatch.setattr(sending, "LINGER_SECONDS", 3600.0)
    long_ago, now = 1, time.time_ns() // 1_000_000
    outbox = Outbox(Journal.create(tmp_path, OWNER))
    for number in range(1, 300):
        await add(outbox, number, b"%d" % number, at_ms=long_ago)
    service = Service()
    await sent(outbox, service, None)
    assert [payload for _, payload in service.taken] == [b"%d" % n for n in range(1, 300)]

    await add(outbox, 300, b"young", at_ms=now)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Sender(outbox, service, None).run)
        await trio.testing.wait_all_tasks_blocked(0.2)
        assert len(outbox) == 1
        nursery.cancel_scope.cancel()


async def test_what_is_refused_while_the_local_disk_is_full_waits_until_it_has_room():
    with small_disk(1) as disk:
        outbox = await waiting(Journal.create(disk, OWNER), payload=b"p" * 200_000)
        service = Service(*[Forbidden("no")] * 50)
        filler = disk / "filler"
        filler.write_bytes(bytes(750_000))
        tries = []

        async def put_aside(chain, error):
            tries.append(error)
            if len(tries) == 3:
                resize(disk, 4)
            return await keep_all(outbox, chain, disk, error)

        await sent(outbox, service, put_aside)
        assert len(tries) == 3
        (left,) = draftfiles.leftovers(disk)
        assert left.path.read_bytes() == b"p" * 200_000
        assert outbox.failures[7].kept == str(left.path)
        outbox.journal.close()


async def test_a_draft_that_is_gone_is_told_and_the_others_are_sent(tmp_path, caplog):
    outbox = Outbox(Journal.create(tmp_path, OWNER))
    service = Service()
    gone = Queued(number=1, file=7, operation=Commit(node=7, length=3, payload=3), draft="gone")
    outbox.add(Entry(gone, partial(payload_of, tmp_path / "gone" / "data", gone)), Held())
    await add(outbox, 2, file=8)

    async def put_aside(chain, error):
        return await keep_all(outbox, chain, tmp_path, error)

    await sent(outbox, service, put_aside)
    assert [operation.node for operation, _ in service.taken] == [8]
    assert "is gone" in outbox.failures[7].state
    assert outbox.failures[7].kept == ""
    assert "is gone" in caplog.text


async def test_a_draft_that_another_mount_has_open_is_sent_later(tmp_path):
    files = draftfiles.DraftFiles.create(tmp_path, draftfiles.About(file=7, length=3))
    queued = Queued(
        number=1,
        file=7,
        operation=Commit(node=7, length=3, payload=3, extents=[(0, 3)]),
        local=[(0, 3)],
    )
    path = files.directory / "data"
    path.write_bytes(b"abc")
    outbox = Outbox(Journal.create(tmp_path, OWNER))
    outbox.add(Entry(queued, partial(payload_of, path, queued)), Held())
    service = Service()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sent, outbox, service, None)
        with trio.fail_after(SECONDS):
            while outbox.chains()[0].problem is None:
                await outbox.step()
        assert service.taken == []
        files.close()
    assert [payload for _, payload in service.taken] == [b"abc"]


@pytest.mark.parametrize("whole", [False, True])
async def test_what_is_put_aside_keeps_its_base_by_the_name_that_it_has_now(tmp_path, whole):
    outbox = Outbox(Journal.create(tmp_path, OWNER))
    outbox.know(Done(number=3, version=1003))
    await add(outbox, 4, b"abc", extents=[(5, 3)], length=20, base=-3, whole=whole)
    (chain,) = outbox.chains()
    chain.goes_to = 70
    kept = await keep_all(outbox, chain, tmp_path, Forbidden("no"))
    (left,) = draftfiles.leftovers(tmp_path)
    about = left.about
    assert kept == str(left.path)
    assert (about.file, about.base, about.length, about.mount) == (70, 1003, 20, "m")
    assert about.extents == [(5, 8)]
    assert about.base_length == (0 if whole else 20)
    assert left.path.read_bytes() == b"\0" * 5 + b"abc"


async def test_a_damaged_payload_is_not_sent_but_put_aside(tmp_path):
    journal = Journal.create(tmp_path, OWNER)
    outbox = await waiting(journal)
    log = journal.directory / "log"
    log.write_bytes(log.read_bytes().replace(b"precious", b"pretious"))
    service = Service()

    async def put_aside(chain, error):
        return await keep_all(outbox, chain, tmp_path, error)

    await sent(outbox, service, put_aside)
    assert service.taken == []
    (left,) = draftfiles.leftovers(tmp_path)
    assert left.path.read_bytes() == b"pretious"
    assert "damaged" in left.about.why


async def test_large_payloads_take_no_room_of_the_journal(tmp_path):
    limits = Limits(unsent_bytes=1 << 40, log_bytes=1000, patience_seconds=0.01)
    journal = Journal.create(tmp_path, OWNER)
    outbox = await waiting(journal, limits=limits, at_ms=time.time_ns() // 1_000_000)
    await outbox.room(1 << 30, inline=False)
    with pytest.raises(Unreachable):
        await outbox.room(1000, inline=True)


async def test_the_age_of_what_the_service_has_no_room_for_holds_up_nobody(tmp_path):
    limits = Limits(age_seconds=10, patience_seconds=0.01)
    outbox = await waiting(Journal.create(tmp_path, OWNER), limits=limits)
    (chain,) = outbox.chains()
    assert chain.entries[0].queued.at_ms == 0  # 1970
    with pytest.raises(Unreachable):
        await outbox.room(1, inline=True)
    chain.problem = QuotaExceeded("the bucket is full")
    await outbox.room(1, inline=True)
    chain.problem = Unreachable("nobody answers")
    with pytest.raises(Unreachable):
        await outbox.room(1, inline=True)


async def test_a_file_that_waits_for_long_does_not_let_the_journal_grow(tmp_path):
    journal = Journal.create(tmp_path, OWNER)
    outbox = await waiting(journal)
    stuck = outbox.chains()[0]
    stuck.retry_at = float("inf")
    service = Service()
    longest = 0
    for number in range(10, 110):
        await add(outbox, number, os.urandom(200_000), file=number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sender(outbox, service, None).run)
            with trio.fail_after(SECONDS):
                while len(outbox) > 1:
                    await outbox.step()
            nursery.cancel_scope.cancel()
        longest = max(longest, journal.size)
    assert longest < 12 << 20
    stuck.retry_at = 0
    await sent(outbox, service, None)
    assert service.taken[-1][1] == b"precious"


@pytest.mark.parametrize("waits", [True, False])
async def test_a_shortened_journal_still_knows_what_took_the_place_of_what(tmp_path, waits):
    journal = Journal.create(tmp_path, OWNER)
    outbox = Outbox(journal)
    made = Queued(number=1, file=7, operation=MakeFile(parent=1, name="f", id=7))
    journal.note(made)
    outbox.add(Entry(made), Held())
    await add(outbox, 2, b"first")
    journal.note(Queued(number=3, file=7, operation=SetAttributes(node=7, mode=0o600)))
    (chain,) = outbox.chains()
    chain.entries.append(Entry(Queued(number=3, file=7, operation=SetAttributes(node=7))))
    node = Node(id=70, kind=Kind.FILE, mode=0o644, mtime_ns=0, ctime_ns=0, atime_ns=0, created_ns=0)
    outbox.answered(chain, chain.entries[0], Outcome(node=node))
    version = Version(id=1000, file=70, size=5, sha256="", change=1, created_ms=0)
    outbox.answered(chain, chain.entries[0], Outcome(version=version))
    for number in range(10, 100):
        await journal.append(
            Queued(number=number, file=number, operation=Commit(node=number, length=1)),
            b"x" * 200_000,
        )
        journal.note(Done(number=number))
    if waits:
        await add(outbox, 200, b"second", base=-2, length=6)
    else:
        journal.note(Done(number=3))
    await journal.sync()
    before = journal.size
    await journal.compact(outbox._answers)
    assert journal.size < before / 10
    if not waits:
        await add(outbox, 200, b"second", base=-2, length=6)
    journal.close()
    again, records = Journal.adopt(journal.directory)
    moved, waiting = pending(records)
    again.close()
    assert moved == {7: 70}
    assert [record.number for record in waiting][-1] == 200
    assert Done(number=2, version=1000) in records
