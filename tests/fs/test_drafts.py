"""Drafts against a bytearray, over a base that is a real file, with commits under way.

Each test that needs a service has `Saves`: it puts versions together from commit plans in
the way the service promises to (see `Commit`), and nothing else.
"""

import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.disks import resize, small_disk

from rengafs.fs.writes.draftfiles import ABOUT, About, leftovers
from rengafs.fs.writes.draftlimits import DraftLimits
from rengafs.fs.writes.drafts import CommitPlan, Draft
from rengafs.fs.writes.draftstore import DraftStore
from rengafs.protocol.errors import NoSpace, Unreachable

MIB = 1 << 20
FILE = 4711
TINY = DraftLimits(
    buffer=64,
    all_buffers=100,
    pieces=4,
    join=8,
    through=24,
    inline=10,
    payload_piece=7,
    extents=4,
    checkpoint=50,
)


class FileReader:
    """A base in a real file; slow enough for others to run in between."""

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self._path = path
        self.reads: list[tuple[int, int]] = []

    async def read(self, offset: int, size: int) -> bytes:
        self.reads.append((offset, size))
        await trio.lowlevel.checkpoint()
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass
class Saves:
    """Versions, as the service would have them."""

    versions: dict[int, bytes] = field(default_factory=dict)

    def add(self, content: bytes) -> int:
        version = 1000 + len(self.versions)
        self.versions[version] = content
        return version

    def composed(self, plan: CommitPlan, payload: bytes) -> bytes:
        assert len(payload) == plan.payload_bytes == sum(length for _, length in plan.extents)
        base = b"" if plan.base is None else self.versions[plan.base]
        content = bytearray(base[: plan.length].ljust(plan.length, b"\0"))
        at = last = 0
        for offset, length in plan.extents:
            assert last <= offset, "extents ascend and do not overlap"
            last = offset + length
            assert last <= plan.length
            content[offset:last] = payload[at : at + length]
            at += length
        return bytes(content)

    async def commit(self, draft: Draft) -> tuple[CommitPlan, bytes]:
        plan = await draft.snapshot()
        content = self.composed(plan, await payload_of(plan))
        await draft.committed(plan, self.add(content), len(content))
        return plan, content


async def payload_of(plan: CommitPlan) -> bytes:
    return b"".join([piece async for piece in plan.open_payload()])


def store_in(directory: Path, limits: DraftLimits | None = None) -> DraftStore:
    return DraftStore(directory / "drafts", trio.CapacityLimiter(4), mount="m1", limits=limits)


@asynccontextmanager
async def draft_over(
    directory: Path, content: bytes, saves: Saves, limits: DraftLimits | None = None
) -> AsyncIterator[Draft]:
    store = store_in(directory, limits)
    base = saves.add(content) if content else None
    draft = await store.make(
        file=FILE,
        base=base,
        base_length=len(content),
        reader=FileReader(directory / "base", content) if content else None,
        name="bucket/report.csv",
    )
    try:
        yield draft
    finally:
        await draft.discard()
        assert store.buffered_bytes == 0
        assert left_on_disk(directory) == []


def left_on_disk(directory: Path) -> list[Path]:
    return [path for path in (directory / "drafts").glob("*") if path.exists()]


# --- against the model ----------------------------------------------------------------

LONGEST = 120
offsets = st.integers(0, LONGEST)
contents = st.integers(0, 100).map(lambda size: bytes(range(1, size + 1)))
actions = st.one_of(
    st.tuples(st.just("write"), offsets, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("read"), offsets, offsets),
    st.tuples(st.just("truncate"), offsets),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("payload"), st.integers(1, 5)),
    st.tuples(st.just("again")),
    st.tuples(st.just("committed")),
    st.tuples(st.just("refused")),
    st.tuples(st.just("checkpoint")),
)


class Play:
    """A draft, what it should be, and a commit that may be under way."""

    def __init__(self, draft: Draft, content: bytes, saves: Saves) -> None:
        self.draft = draft
        self.model = bytearray(content)
        self.saves = saves
        self.saved = bytes(content)
        self.plan: CommitPlan | None = None
        self.at_snapshot = b""
        self.changed_since = False
        self.payload: AsyncIterator[bytes] | None = None
        self.got = b""

    async def write(self, offset: int, data: bytes) -> None:
        await self.draft.write(offset, data)
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + len(data)] = data
        self.changed_since = True

    async def read(self, offset: int, size: int) -> None:
        assert await self.draft.read(offset, size) == self.model[offset : offset + size]

    async def truncate(self, length: int) -> None:
        await self.draft.truncate(length)
        self.changed_since |= length != len(self.model)
        del self.model[length:]
        self.model.extend(bytes(length - len(self.model)))

    async def snapshot(self) -> None:
        await self.again()
        self.plan = await self.draft.snapshot()
        self.at_snapshot = bytes(self.model)
        self.changed_since = False

    async def again(self) -> None:
        """A try that failed: the payload is begun anew."""
        if self.payload is not None:
            await self.payload.aclose()
        self.payload, self.got = None, b""

    async def payload_pieces(self, pieces: int) -> None:
        if self.plan is not None:
            self.payload = self.payload or self.plan.open_payload()
            for _ in range(pieces):
                self.got += await anext(self.payload, b"")

    async def committed(self) -> None:
        if self.plan is None:
            return
        await self.payload_pieces(1000)
        content = self.saves.composed(self.plan, self.got)
        assert content == self.at_snapshot
        await self.draft.committed(self.plan, self.saves.add(content), len(content))
        assert self.draft.dirty == self.changed_since
        await self.again()
        self.plan, self.saved = None, content

    async def refused(self) -> None:
        if self.plan is not None:
            path = await self.draft.keep("no")
            assert path is not None
            await self.again()
            self.plan = None
            self.changed_since = True

    async def checkpoint(self) -> None:
        """Whoever finds the draft now can put it together again."""
        await self.draft.checkpoint()
        (about_path,) = (self.draft._store.directory).glob(f"*/{ABOUT}")
        about = msgspec.json.decode(about_path.read_bytes(), type=About)
        base = b"" if about.base is None else self.saves.versions[about.base]
        content = bytearray(base[: about.base_length].ljust(about.length, b"\0")[: about.length])
        data = (about_path.parent / "data").read_bytes()
        for start, stop in about.extents:
            content[start:stop] = data[start:stop]
        assert content == self.model

    async def step(self, action) -> None:
        names = {"payload": self.payload_pieces}
        await names.get(action[0], getattr(self, action[0], None))(*action[1:])
        assert self.draft.length == len(self.model)
        assert self.draft.extents.total <= len(self.model)


async def played(directory, content, given_actions, limits) -> None:
    saves = Saves()
    async with draft_over(directory, content, saves, limits) as draft:
        play = Play(draft, content, saves)
        for action in given_actions:
            await play.step(action)
        await play.read(0, LONGEST * 2)
        await play.again()
        await play.snapshot()
        await play.committed()
        assert play.saved == play.model
        assert not draft.dirty
        await play.read(0, LONGEST * 2)


@pytest.mark.parametrize("limits", [TINY, DraftLimits()], ids=["tiny", "usual"])
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=contents, given_actions=st.lists(actions, max_size=30))
def test_any_writes_truncates_and_commits_agree_with_the_model(
    tmp_path_factory, limits, content, given_actions
):
    trio.run(played, tmp_path_factory.mktemp("draft"), content, given_actions, limits)


# --- what a commit sends --------------------------------------------------------------


async def test_a_new_draft_reads_as_its_base_is_clean_and_leaves_no_file(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"content", saves) as draft:
        assert await draft.read(0, 100) == b"content"
        assert not draft.dirty
        assert draft.length == 7
        assert left_on_disk(tmp_path) == []


async def test_a_commit_sends_only_what_changed(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, bytes(5 * MIB), saves) as draft:
        await draft.write(MIB, b"new")

        first, _ = await saves.commit(draft)
        await draft.write(2 * MIB, b"newer")
        second, content = await saves.commit(draft)

        assert (first.base, first.extents, first.payload_bytes) == (1000, [(MIB, 3)], 3)
        assert (second.base, second.extents) == (1001, [(2 * MIB, 5)])
        assert content[MIB : MIB + 3] == b"new"
        assert len(content) == second.length == 5 * MIB


async def test_writing_all_of_it_is_a_whole_save(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"old content", saves) as draft:
        await draft.truncate(0)
        await draft.write(0, b"new")

        plan, content = await saves.commit(draft)

        assert plan.base is None
        assert plan.begun_on == 1000
        assert content == b"new"


async def test_holes_are_not_sent(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"", saves) as draft:
        await draft.write(1 << 36, b"far")

        plan = await draft.snapshot()

        assert plan.extents == [(1 << 36, 3)]
        assert plan.length == (1 << 36) + 3
        assert await draft.read(1 << 35, 5) == bytes(5)


async def test_what_was_cut_off_does_not_come_back(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"0123456789", saves) as draft:
        await draft.truncate(3)
        await draft.truncate(12)

        assert await draft.read(0, 20) == b"012" + bytes(9)
        _, content = await saves.commit(draft)
        assert content == b"012" + bytes(9)


async def test_more_extents_than_a_commit_holds_are_joined(tmp_path):
    saves = Saves()
    limits = DraftLimits(extents=10)
    base = random.Random(1).randbytes(1000)
    async with draft_over(tmp_path, base, saves, limits) as draft:
        expected = bytearray(base)
        for number in range(30):
            at = number * 20 + number % 7
            await draft.write(at, b"++")
            expected[at : at + 2] = b"++"

        plan, content = await saves.commit(draft)

        assert len(plan.extents) == 10
        assert content == expected


async def test_a_small_file_is_saved_without_touching_the_disk(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"", saves) as draft:
        for number in range(100):
            await draft.write(number * 5, b"line\n")

        _, content = await saves.commit(draft)

        assert content == b"line\n" * 100
        assert left_on_disk(tmp_path) == []


async def test_setting_the_same_length_changes_nothing(tmp_path):
    async with draft_over(tmp_path, b"abc", Saves()) as draft:
        await draft.truncate(3)
        assert not draft.dirty


async def test_a_renamed_files_draft_goes_on_from_the_new_version(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"abcdef", saves) as draft:
        await draft.write(0, b"X")
        _, content = await saves.commit(draft)
        draft.rebase(saves.add(content))

        await draft.write(5, b"Y")
        plan, content = await saves.commit(draft)

        assert plan.base == 1002
        assert content == b"XbcdeY"


# --- commits under way ----------------------------------------------------------------


async def test_a_payload_is_what_the_draft_was_whatever_is_written_meanwhile(tmp_path):
    saves = Saves()
    chance = random.Random(2)
    first, second = chance.randbytes(6 * MIB), chance.randbytes(3 * MIB)
    async with draft_over(tmp_path, b"", saves) as draft:
        await draft.write(0, first)
        plan = await draft.snapshot()
        payload = plan.open_payload()
        got = [await anext(payload), await anext(payload)]

        await draft.write(MIB + 5, second)
        await draft.truncate(2 * MIB)
        await draft.write(5 * MIB, b"tail")
        got += [piece async for piece in payload]

        assert b"".join(got) == first
        assert await payload_of(plan) == first
        await draft.committed(plan, saves.add(first), len(first))
        assert draft.dirty
        _, content = await saves.commit(draft)
        expected = first[: MIB + 5] + second[: MIB - 5] + bytes(3 * MIB) + b"tail"
        assert content == expected
        assert await draft.read(0, 6 * MIB) == expected


async def test_writers_and_readers_go_on_during_a_slow_commit(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"", saves) as draft:
        await draft.write(0, bytes(3 * MIB))
        written = 0

        async def write() -> None:
            nonlocal written
            for number in range(200):
                await draft.write(number * 10_000, b"%05d" % number)
                assert await draft.read(number * 10_000, 5) == b"%05d" % number
                written += 1

        async with trio.open_nursery() as nursery:
            plan = await draft.snapshot()
            nursery.start_soon(write)
            got = b""
            async for piece in plan.open_payload():
                got += piece
                await trio.testing.wait_all_tasks_blocked()

        assert got == bytes(3 * MIB)
        assert written == 200
        await draft.committed(plan, saves.add(got), len(got))
        _, content = await saves.commit(draft)
        assert [content[at * 10_000 : at * 10_000 + 5] for at in range(200)] == [
            b"%05d" % at for at in range(200)
        ]


async def test_a_plan_that_is_over_gives_no_bytes(tmp_path):
    async with draft_over(tmp_path, b"", Saves(), TINY) as draft:
        await draft.write(0, bytes(50))
        plan = await draft.snapshot()
        await draft.snapshot()

        with pytest.raises(trio.ClosedResourceError):
            await payload_of(plan)


async def test_a_base_that_cannot_be_read_is_an_error_not_zeros(tmp_path):
    class Broken:
        async def read(self, offset: int, size: int) -> bytes:
            raise Unreachable("no")

    draft = await store_in(tmp_path).make(file=1, base=5, base_length=10, reader=Broken())
    await draft.write(0, b"12345")

    assert await draft.read(0, 5) == b"12345"
    with pytest.raises(Unreachable):
        await draft.read(0, 10)
    await draft.discard()


async def test_memory_is_bounded_over_all_drafts(tmp_path):
    store = store_in(tmp_path, DraftLimits(all_buffers=3 * MIB))
    drafts = []
    for number in range(12):
        draft = await store.make(file=number, base=None, base_length=0, reader=None)
        drafts.append(draft)
        for at in range(0, MIB, 64 << 10):
            await draft.write(at, bytes([number]) * (64 << 10))
        assert store.buffered_bytes <= 3 * MIB

    for number, draft in enumerate(drafts):
        assert await draft.read(0, 2 * MIB) == bytes([number]) * MIB
        await draft.discard()
    assert store.buffered_bytes == 0


# --- full disks and what is left ------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk() as path:
        yield path


async def test_a_full_disk_is_an_error_of_the_write_and_what_was_accepted_stays(disk):
    draft = await store_in(disk).make(file=1, base=None, base_length=0, reader=None)
    chance = random.Random(3)
    expected = b""
    for _ in range(10):
        data = chance.randbytes(MIB)
        try:
            await draft.write(len(expected), data)
        except NoSpace:
            break
        expected += data
    else:
        pytest.fail("ten times 1 MiB on 4 MiB")

    assert len(expected) >= 2 * MIB
    assert draft.length == len(expected)
    assert await draft.read(0, 10 * MIB) == expected
    await draft.discard()


async def test_small_writes_that_the_disk_refuses_are_told_and_kept_until_it_takes_them(
    disk,
):
    draft = await store_in(disk).make(file=1, base=None, base_length=0, reader=None)
    chance = random.Random(4)
    expected = b""
    for _ in range(2000):
        data = chance.randbytes(4096)
        try:
            await draft.write(len(expected), data)
        except NoSpace:
            break
        expected += data
    else:
        pytest.fail("8 MiB on 4 MiB")

    with pytest.raises(NoSpace):
        await draft.checkpoint()
    with pytest.raises(NoSpace):
        await draft.write(len(expected), bytes(4096))
    assert await draft.read(0, 10 * MIB) == expected

    resize(disk, 16)
    await draft.write(len(expected), b"end")
    await draft.checkpoint()
    saves = Saves()
    _, content = await saves.commit(draft)
    assert content == expected + b"end"
    await draft.discard()


async def test_a_small_file_can_be_saved_though_the_local_disk_is_full(disk):
    (disk / "others").write_bytes(bytes(4 * MIB - 4096))
    draft = await store_in(disk).make(file=1, base=None, base_length=0, reader=None)

    await draft.write(0, b"a note")
    _, content = await Saves().commit(draft)

    assert content == b"a note"
    await draft.discard()


async def test_a_full_disk_during_a_commit_does_not_change_what_is_sent(disk):
    draft = await store_in(disk).make(file=1, base=None, base_length=0, reader=None)
    content = random.Random(5).randbytes(3 * MIB)
    await draft.write(0, content)
    plan = await draft.snapshot()

    with pytest.raises(NoSpace):
        await draft.write(0, bytes(2 * MIB))

    assert await payload_of(plan) == content
    assert await draft.read(0, 3 * MIB) == content
    await draft.discard()


async def test_refused_bytes_are_found_after_the_draft_is_closed(tmp_path):
    store = store_in(tmp_path)
    draft = await store.make(
        file=FILE,
        base=7,
        base_length=10,
        reader=FileReader(tmp_path / "base", bytes(10)),
        name="bucket/report.csv",
    )
    await draft.write(4, b"unsent")
    await draft.snapshot()

    path = await draft.keep("forbidden: read only")
    assert leftovers(store.directory) == []  # it is in use
    await draft.close()
    (left,) = leftovers(store.directory)

    assert left.path == path
    assert path.read_bytes()[4:10] == b"unsent"
    assert left.about.file == FILE
    assert left.about.name == "bucket/report.csv"
    assert left.about.base == 7
    assert left.about.extents == [(4, 10)]
    assert left.about.why == "forbidden: read only"
    assert left.about.mount == "m1"


async def test_a_kept_draft_can_still_be_committed(tmp_path):
    saves = Saves()
    async with draft_over(tmp_path, b"abc", saves) as draft:
        await draft.write(1, b"X")
        await draft.snapshot()
        await draft.keep("unreachable")

        assert draft.dirty
        _, content = await saves.commit(draft)
        assert content == b"aXc"
        assert not draft.dirty


async def test_a_clean_draft_leaves_nothing_when_closed(tmp_path):
    store = store_in(tmp_path)
    draft = await store.make(file=1, base=None, base_length=0, reader=None)
    await draft.write(0, bytes(2 * MIB))
    await Saves().commit(draft)

    await draft.close()

    assert left_on_disk(tmp_path) == []


async def test_the_draft_of_a_process_that_was_killed_is_found(tmp_path):
    script = """
import os, signal, sys, trio
from pathlib import Path
from rengafs.fs.writes.draftstore import DraftStore

async def main():
    store = DraftStore(Path(sys.argv[1]), trio.CapacityLimiter(4), mount="dead")
    draft = await store.make(file=9, base=None, base_length=0, reader=None)
    await draft.write(0, b"x" * 20_000_000)
    await draft.write(20_000_000, b"in memory only")
    print("written", flush=True)
    await trio.sleep_forever()

trio.run(main)
"""
    store = store_in(tmp_path)
    process = subprocess.Popen(
        [os.sys.executable, "-c", script, store.directory],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert process.stdout.readline() == b"written\n"
        assert leftovers(store.directory) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

    (left,) = leftovers(store.directory)
    assert left.about.extents == [(0, 20_000_000)]
    assert left.about.length == 20_000_000
    assert left.about.mount == "dead"


async def described(store, extents):
    """Wait until a draft on disk says that it has *extents*."""
    with trio.fail_after(3600):
        while True:
            for path in store.directory.glob(f"[!.]*/{ABOUT}"):
                about = msgspec.json.decode(path.read_bytes(), type=About)
                if about.extents == extents:
                    return about
            await trio.sleep(0.1)


async def test_what_is_written_gets_to_the_disk_soon_without_being_asked_for(
    tmp_path, autojump_clock
):
    saves = Saves()
    store = store_in(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.unkept.keep)
        draft = await store.make(file=FILE, base=7, base_length=0, reader=None)
        await draft.write(0, b"one")
        await described(store, [(0, 3)])
        await draft.write(10, b"two")
        about = await described(store, [(0, 3), (10, 13)])
        assert (about.base, about.length) == (7, 13)
        await saves.commit(draft)
        about = await described(store, [])
        assert (about.base, about.length, about.base_size) == (draft.base, 13, 13)
        assert len(store.unkept) == 0
        await draft.write(0, b"x")
        await draft.discard()
        assert len(store.unkept) == 0
        nursery.cancel_scope.cancel()
    assert left_on_disk(tmp_path) == []


async def test_what_is_clean_and_small_is_not_put_on_disk_by_waiting(tmp_path, autojump_clock):
    store = store_in(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.unkept.keep)
        draft = await store.make(file=FILE, base=None, base_length=0, reader=None)
        await draft.write(0, b"one")
        await Saves().commit(draft)
        await trio.sleep(100)
        assert left_on_disk(tmp_path) == []
        await draft.discard()
        nursery.cancel_scope.cancel()


async def test_what_the_disk_refuses_is_put_there_when_it_has_room(disk, caplog, autojump_clock):
    store = store_in(disk)
    filler = disk / "filler"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.unkept.keep)
        filler.write_bytes(bytes(3 * MIB + 900_000))
        draft = await store.make(file=FILE, base=None, base_length=0, reader=None)
        await draft.write(0, b"y" * 500_000)
        while "is in memory only" not in caplog.text:
            await trio.sleep(1)
        assert len(store.unkept) == 1
        filler.unlink()
        await described(store, [(0, 500_000)])
        await draft.discard()
        nursery.cancel_scope.cancel()


async def test_a_leftover_whose_description_is_gone_is_still_shown(tmp_path):
    store = store_in(tmp_path)
    draft = await store.make(file=1, base=None, base_length=0, reader=None)
    await draft.write(0, b"precious")
    await draft.close()
    (left,) = leftovers(store.directory)
    left.path.with_name(ABOUT).write_text("{torn")

    (left,) = leftovers(store.directory)

    assert left.path.read_bytes() == b"precious"
    assert "can't be read" in left.about.why


async def test_a_closed_draft_says_so(tmp_path):
    draft = await store_in(tmp_path).make(file=1, base=None, base_length=0, reader=None)
    await draft.discard()
    await draft.discard()

    with pytest.raises(trio.ClosedResourceError):
        await draft.write(0, b"x")
    with pytest.raises(trio.ClosedResourceError):
        await draft.read(0, 1)


async def test_a_description_never_says_less_than_was_saved(tmp_path: Path) -> None:
    """Else whoever finds it when the mount was killed would cut the file."""
    store = DraftStore(tmp_path / "drafts", trio.CapacityLimiter(4), mount="m1")
    draft = await store.make(file=FILE, base=None, base_length=0, reader=None)
    await draft.write(0, b"x" * 18_000)
    plan = await draft.snapshot()
    assert plan.is_small
    await draft.committed(plan, 7, 18_000)
    await draft.write(18_000, b"y" * 600_000)  # the first bytes that get to the disk
    (place,) = (tmp_path / "drafts").iterdir()
    about = msgspec.json.decode((place / ABOUT).read_bytes(), type=About)
    assert (about.base, about.base_length) == (7, 18_000)
    assert about.length >= 18_000
    await draft.truncate(5000)
    await draft.checkpoint()
    about = msgspec.json.decode((place / ABOUT).read_bytes(), type=About)
    assert (about.length, about.base_length) == (5000, 5000)
    await draft.discard()
