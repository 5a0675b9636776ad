"""The SDK for trio against a real service: what differs from the blocking one."""

import gc
import io
import os
from collections.abc import AsyncIterator

import pytest
import trio
from support.faulty import answer, cut, faulty, silence
from support.services import RunningService

import rengafs
from rengafs.client.sdk.async_client import AsyncBucket, AsyncClient, AsyncFile
from rengafs.protocol.errors import InvalidFileOperation, NotFound, Unreachable


@pytest.fixture
async def client(service: RunningService) -> AsyncIterator[AsyncClient]:
    async with rengafs.AsyncClient(service.address, token=service.token) as made:
        yield made


@pytest.fixture
async def bucket(client: AsyncClient) -> AsyncBucket:
    return await client.buckets.create("bucket")


@pytest.fixture
async def file(bucket: AsyncBucket) -> AsyncFile:
    return await bucket.files.create("dir/file.txt")


async def contents(file: AsyncFile) -> list[bytes]:
    return [await (await version.open()).read() for version in await file.versions.list()]


async def test_buckets_and_files_are_made_found_listed_and_renamed(client: AsyncClient):
    bucket = await client.buckets.create("data")
    file = await bucket.files.create("one")
    await bucket.rename("other")
    await file.rename("dir/two")

    assert await client.buckets.backends() == ["local"]
    assert [each.name async for each in client.buckets if each == bucket] == ["other"]
    assert (await client.buckets.get(bucket.id)).name == "other"
    assert [each.filename async for each in bucket.files] == ["dir/two"]
    assert (await bucket.files.get(file.id)).filename == "dir/two"


async def test_a_loop_may_be_left_early(client: AsyncClient):
    for name in "one", "two", "three":
        await client.buckets.create(name)
    async for bucket in client.buckets:
        assert bucket.name
        break
    gc.collect()  # trio would tell of generators left behind


async def test_a_file_is_opened_in_a_block(file: AsyncFile):
    async with file.open("w") as handle:
        await handle.write(b"hello ")
        await handle.write("world")
    async with file.open() as handle:
        parts = [await handle.read(5), await handle.read(), await handle.read()]

    assert parts == [b"hello", b" world", b""]
    assert await contents(file) == [b"hello world"]


async def test_a_file_is_opened_by_awaiting(file: AsyncFile):
    handle = await file.open("w")
    await handle.write(b"one ")
    await handle.write(b"two")

    assert await contents(file) == [b"one two"]


async def test_every_kind_of_source_is_written(bucket: AsyncBucket):
    async def pieces() -> AsyncIterator[bytes]:
        yield b"four "
        yield b"five"

    large = os.urandom(10_000_000)
    async with bucket.files.open("all") as handle:
        await handle.write(b"one ")
        await handle.write(io.BytesIO(large))
        await handle.write(iter([b" three "]))
        await handle.write(pieces())

    file = await bucket.files.get(handle.id)
    assert await contents(file) == [b"one " + large + b" three four five"]


async def test_a_block_that_fails_saves_nothing(file: AsyncFile):
    async def failing() -> None:
        async with file.open("w") as handle:
            await handle.write(b"half")
            raise LookupError

    with pytest.raises(LookupError):
        await failing()

    assert await contents(file) == []


async def test_a_block_that_is_cancelled_saves_nothing(file: AsyncFile):
    with trio.move_on_after(0.1):
        async with file.open("w") as handle:
            await handle.write(b"half")
            await trio.sleep_forever()

    assert await contents(file) == []


async def test_a_cancelled_from_url_writes_nothing_and_leaves_the_client_usable(file: AsyncFile):
    with faulty(silence) as web, trio.move_on_after(0.3) as scope:
        handle = await file.open("w")
        await handle.from_url(web.address)

    assert scope.cancelled_caught
    assert await contents(file) == []


async def test_from_url_makes_a_file_or_none(bucket: AsyncBucket):
    with faulty(answer(200, b"there"), cut) as web:
        made = await bucket.files.from_url(f"{web.address}/x.txt")
        with pytest.raises(Unreachable):
            await bucket.files.from_url(f"{web.address}/y.txt")

    assert await contents(made) == [b"there"]
    assert await bucket.files.list() == [made]


async def test_clones_versions_and_errors_are_the_same(bucket: AsyncBucket, file: AsyncFile):
    for text in "one", "two":
        await (await file.open("w")).write(text)
    clone = await file.clone()
    newest, eldest = await file.versions.list()

    assert clone.filename == "dir/clone_file.txt"
    assert await contents(clone) == [b"two"]
    assert (await file.versions.get(eldest.id)).created == eldest.created
    assert [version async for version in file.versions] == [newest, eldest]
    with pytest.raises(NotFound):
        await bucket.files.get(newest.id)
    with pytest.raises(InvalidFileOperation):
        await newest.open("w")


async def test_tasks_may_share_a_client(bucket: AsyncBucket):
    async def work(number: int) -> None:
        async with bucket.files.open(f"f{number}") as handle:
            await handle.write(str(number))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(work, number)

    found = [await (await each.open()).read() async for each in bucket.files]
    assert sorted(found) == [b"%d" % number for number in range(8)]
