"""Every example of the SDK's reference, as it stands there, and then as it reads on trio."""

from collections.abc import Iterator

import pytest
from support.faulty import Faulty, answer, faulty
from support.services import RunningService

import rengafs


@pytest.fixture
def web() -> Iterator[Faulty]:
    with faulty(answer(200, b"hello world")) as server:
        yield server


def test_a_file_is_created_from_a_url(service: RunningService, web: Faulty):
    client = rengafs.Client(service.address, token=service.token)
    number = client.buckets.create(name="examples").id

    file_ = client.buckets[number].files.from_url(f"{web.address}/tests/data", filename="hello")

    assert isinstance(file_.id, int)
    assert client.buckets[number].files[file_.id].open("r").read() == b"hello world"


def test_a_handle_writes_from_a_url(service: RunningService, web: Faulty):
    client = rengafs.Client(service.address, token=service.token)
    bucket = client.buckets.create(name="examples")
    file = bucket.files.create("hello")

    with client.buckets[bucket.id].files[file.id].open("w") as fp:
        fp.from_url(f"{web.address}/tests/data")

    assert file.open("r").read() == b"hello world"


async def test_the_same_on_trio(service: RunningService, web: Faulty):
    async with rengafs.AsyncClient(service.address, token=service.token) as client:
        number = (await client.buckets.create(name="examples")).id
        bucket = await client.buckets.get(number)
        file_ = await bucket.files.from_url(f"{web.address}/tests/data", filename="hello")
        async with file_.open("w") as fp:
            await fp.from_url(f"{web.address}/tests/data")

        async with (await bucket.files.get(file_.id)).open("r") as handle:
            assert await handle.read() == b"hello world"
