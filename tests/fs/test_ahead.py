"""Content that is sent while it is written: it is what was saved, or nothing came of it."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import trio
from support.services import running_service

from rengafs.client import calls
from rengafs.client.connection import Endpoint
from rengafs.client.drivers import TrioDriver
from rengafs.fs.remote import Remote
from rengafs.fs.writes import ahead, saving
from rengafs.fs.writes.ahead import Senders
from rengafs.fs.writes.draftlimits import DraftLimits
from rengafs.fs.writes.drafts import Draft
from rengafs.fs.writes.draftstore import DraftStore
from rengafs.protocol.errors import BaseChanged, Unreachable
from rengafs.protocol.operations import Commit, MakeBucket, MakeFile, Outcome, SetAttributes

MIB = 1 << 20


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with much to do is no writer that pauses."""
    monkeypatch.setattr(ahead, "IDLE_SECONDS", 60.0)
    monkeypatch.setattr(ahead, "LYING_BYTES", MIB)


class Watched(Remote):
    """Counts what is sent in which way."""

    whole = 0
    came_ahead = 0

    async def commit(self, *arguments, **options) -> Outcome:  # type: ignore[no-untyped-def]
        self.whole += 1
        return await super().commit(*arguments, **options)

    async def apply_ahead(self, body: AsyncIterator[bytes]) -> list[Outcome]:
        outcomes = await super().apply_ahead(body)
        self.came_ahead += 1
        return outcomes


@dataclass
class World:
    remote: Watched
    store: DraftStore
    driver: TrioDriver
    data: Path
    here: ClassVar[bool] = False

    async def draft(self, name: str = "f") -> Draft:
        bucket = (await self.remote.change(MakeBucket(name=f"b-{name}"))).node
        assert bucket is not None
        file = (await self.remote.change(MakeFile(parent=bucket.id, name=name))).node
        assert file is not None
        return await self.store.make(file=file.id, base=None, base_length=0, reader=None)

    async def save(self, draft: Draft, before: SetAttributes | None = None) -> Outcome:
        """Commit as `Saver` does."""
        plan = await draft.snapshot()
        operation = calls.keyed(
            Commit(
                node=draft.file,
                length=plan.length,
                base=plan.begun_on,
                whole=plan.base is None,
                extents=plan.extents,
                payload=plan.payload_bytes,
            )
        )
        outcome = await saving._sent_ahead(draft, plan, operation, before)
        if outcome is None:
            outcome = await self.remote.commit(operation, plan.open_payload, before=before)
        assert outcome.version is not None
        await draft.committed(plan, outcome.version.id, outcome.version.size)
        return outcome

    async def content(self, outcome: Outcome) -> bytes:
        assert outcome.version is not None
        size = outcome.version.size
        async with self.remote.stream(outcome.version.id, 0, size) as pieces:
            return b"".join([piece async for piece in pieces])

    def blobs(self) -> int:
        parts = self.data / "blobs"
        return len(list(parts.glob("??/*"))) + len(list(parts.glob("tmp/*")))


@pytest.fixture(autouse=True, params=[True, False], ids=["lying", "travelling"])
def here(request: pytest.FixtureRequest) -> bool:
    """Whether the service may read the draft itself."""
    World.here = request.param
    return request.param


@asynccontextmanager
async def world(scratch: Path) -> AsyncIterator[World]:
    with running_service() as service:
        driver = TrioDriver(Endpoint(service.address, service.token))
        try:
            async with trio.open_nursery() as nursery:
                remote = Watched(driver, "test")
                store = DraftStore(
                    scratch / "drafts",
                    trio.CapacityLimiter(4),
                    limits=DraftLimits(ahead=2 * MIB),
                    senders=Senders(remote, nursery, here=World.here),
                )
                yield World(remote, store, driver, service.data)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await driver.aclose()


async def written(draft: Draft, size: int) -> bytearray:
    """Write a file as cp does, and wait until its beginning has been sent."""
    data = bytearray(random.Random(5).randbytes(size))
    for start in range(0, size, 100_000):
        await draft.write(start, bytes(data[start : start + 100_000]))
    assert draft._ahead is not None
    with trio.fail_after(60):
        piece = draft._ahead._piece
        while draft._ahead._sent < size // piece * piece:
            await trio.sleep(0.01)
    return data


async def test_what_was_sent_ahead_is_saved_without_being_sent_again(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        draft = await there.draft()
        data = await written(draft, 5 * MIB + 77)
        outcome = await there.save(draft, SetAttributes(node=draft.file, mode=0o600))
        assert (there.remote.came_ahead, there.remote.whole) == (1, 0)
        assert await there.content(outcome) == data
        assert (await there.remote.node(draft.file)).mode == 0o600
        # The draft goes on from there, as after any save.
        await draft.write(3, b"new")
        old = bytes(data)
        data[3:6] = b"new"
        assert await draft.read(0, len(data)) == data
        assert await there.content(await there.save(draft)) == data
        assert there.remote.whole == 1
        await draft.truncate(MIB)
        assert await there.content(await there.save(draft)) == data[:MIB]
        assert await there.content(outcome) == old
        await draft.discard()


Step = Callable[[Draft, bytearray], object]


async def over(draft: Draft, data: bytearray) -> None:
    await draft.write(MIB, b"over")
    data[MIB : MIB + 4] = b"over"


async def cut(draft: Draft, data: bytearray) -> None:
    await draft.truncate(MIB // 2)
    del data[MIB // 2 :]


async def grown(draft: Draft, data: bytearray) -> None:
    await draft.truncate(6 * MIB)
    data.extend(bytes(6 * MIB - len(data)))


async def hole(draft: Draft, data: bytearray) -> None:
    await draft.write(6 * MIB, b"far")
    data.extend(bytes(6 * MIB - len(data)) + b"far")


@pytest.mark.parametrize("change", [over, cut, grown, hole])
async def test_what_has_changed_since_is_sent_again(tmp_path: Path, change: Step) -> None:
    async with world(tmp_path) as there:
        draft = await there.draft()
        data = await written(draft, 4 * MIB + 5)
        await change(draft, data)  # type: ignore[misc]
        outcome = await there.save(draft)
        assert (there.remote.came_ahead, there.remote.whole) == (0, 1)
        assert await there.content(outcome) == data
        await draft.discard()


async def test_what_is_written_while_it_is_committed_is_not_in_it(tmp_path: Path) -> None:
    """Whatever way the commit goes: it is the content at one moment."""
    async with world(tmp_path) as there:
        for number in range(6):
            draft = await there.draft(f"f{number}")
            data = await written(draft, 3 * MIB + 999)
            outcomes: list[Outcome] = []

            async def save(draft: Draft = draft, found: list[Outcome] = outcomes) -> None:
                found.append(await there.save(draft))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(save)
                for _ in range(number):
                    await trio.lowlevel.checkpoint()
                old = bytes(data)
                await draft.write(2 * MIB, b"later")
                data[2 * MIB : 2 * MIB + 5] = b"later"
            saved = await there.content(outcomes[0])
            assert saved in (old, data)
            assert await draft.read(0, len(data)) == data
            if saved == old:
                assert draft.dirty
                assert await there.content(await there.save(draft)) == data
            await draft.discard()


async def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        draft = await there.draft()
        await written(draft, 4 * MIB)
        await draft.discard()
        with trio.fail_after(60):
            while there.blobs():
                await trio.sleep(0.02)
        assert there.remote.came_ahead == 0


async def test_a_lost_answer_makes_no_second_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_ahead = Remote.apply_ahead

    async def lost(self: Remote, body: AsyncIterator[bytes]) -> list[Outcome]:
        await apply_ahead(self, body)
        raise Unreachable("the answer was lost")

    monkeypatch.setattr(Remote, "apply_ahead", lost)
    async with world(tmp_path) as there:
        draft = await there.draft()
        data = await written(draft, 3 * MIB + 1)
        outcome = await there.save(draft)
        assert (there.remote.came_ahead, there.remote.whole) == (0, 1)
        assert await there.content(outcome) == data
        assert len(await there.driver.run(calls.explore_versions(draft.file))) == 1
        assert there.blobs() == 1
        await draft.discard()


async def test_a_refusal_is_told_and_leaves_the_bytes_in_the_draft(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        draft = await there.draft()
        data = await written(draft, 3 * MIB)
        plan = await draft.snapshot()
        other = Commit(node=draft.file, length=1, extents=[(0, 1)], payload=1)
        await there.driver.run(calls.apply_one(other, b"x"))
        operation = Commit(node=draft.file, length=plan.length, whole=True, only_if_base=True)
        with pytest.raises(BaseChanged):
            await saving._sent_ahead(draft, plan, calls.keyed(operation), None)
        kept = await draft.keep("refused")
        assert kept is not None
        assert kept.read_bytes() == data
        assert await there.content(await there.save(draft)) == data
        await draft.discard()
