"""What is S3's own, on a real gateway."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from support.backend_contract import go, in_pieces, keys, stream
from support.rgw import Gateway
from support.stores import QUICK, backend_of, container, s3_store, store_of

from rengafs.backends.base import Stored
from rengafs.backends.pieces import hash_pieces
from rengafs.backends.remote import RemoteBackend
from rengafs.backends.s3.backend import S3Store
from rengafs.backends.store import Bytes, Upload
from rengafs.protocol.errors import BackendRefused, NoSpace, Unavailable

MIB = 1 << 20


@pytest.fixture
def fresh(gateway: Gateway) -> Callable[[], S3Store]:
    """Gives a store; always of the same bucket."""
    name = container()

    def make() -> S3Store:
        store = s3_store(gateway.url, gateway.access_key, gateway.secret_key, name)
        assert isinstance(store, S3Store)
        return store

    return make


def filled(size: int) -> Bytes:
    data = [os.urandom(size)]
    return Bytes(data, hash_pieces(data)[1])


async def dropped(store: S3Store, upload: Upload) -> None:
    """Have an upload ended by another program, as a rule of the bucket's may."""
    client = await store._client()
    await client.abort_multipart_upload(Bucket=store._bucket, Key=upload.key, UploadId=upload.id)


def test_an_upload_that_the_store_dropped_is_temporary_in_every_call(
    fresh: Callable[[], S3Store],
) -> None:
    backend = backend_of(fresh(), "s3")
    store = store_of(backend)
    assert isinstance(store, S3Store)

    async def run() -> None:
        base = await backend.put(in_pieces(bytes(20 * MIB)))
        upload = Upload("k" * 32, base=base.key, base_size=base.size)
        await store.begin(upload)
        part = await store.send_part(upload, 0, filled(5 * MIB))
        await dropped(store, upload)
        with pytest.raises(Unavailable, match="dropped"):
            await store.send_part(upload, 1, filled(5 * MIB))
        with pytest.raises(Unavailable, match="dropped"):
            await store.copy_part(upload, 1, 0, 5 * MIB)
        with pytest.raises(Unavailable):
            await store.finish(upload, [part])
        await store.abandon(upload)
        assert await keys(backend) == [base.key]

    go(backend, run)


def test_a_bucket_that_was_deleted_meanwhile_is_told(fresh: Callable[[], S3Store]) -> None:
    store = fresh()
    backend = RemoteBackend("s3", store, QUICK)

    async def run() -> None:
        upload = Upload("k" * 32)
        await store.begin(upload)
        await dropped(store, upload)
        client = await store._client()
        await client.delete_bucket(Bucket=store._bucket)
        with pytest.raises(BackendRefused, match="deleted"):
            await store.send_part(upload, 0, filled(5 * MIB))
        await store.abandon(upload)
        assert await backend.sweep_temporaries(-60) == 0
        await backend.put(stream(b"made anew"))

    go(backend, run)


def test_a_stream_of_known_length_goes_by_parts_that_fit_it(
    fresh: Callable[[], S3Store],
) -> None:
    store = fresh()
    store.max_parts = 10
    backend = RemoteBackend("s3", store, QUICK)
    data = bytes(81 * MIB)

    async def parts(stored: Stored) -> str:
        client = await store._client()
        answer = await client.head_object(Bucket=store._bucket, Key=stored.key)
        return answer["ETag"].strip('"').partition("-")[2]

    async def run() -> None:
        assert await parts(await backend.put(in_pieces(data), len(data))) == "6"  # of 16 MiB
        # Each is twice as long as the one before.
        assert await parts(await backend.put(in_pieces(data))) == "4"

    go(backend, run)


def test_a_sweep_goes_on_when_an_upload_ends_by_itself(fresh: Callable[[], S3Store]) -> None:
    class Racing(S3Store):
        """Another program ends the first upload just before the sweep does."""

        raced = False

        async def _call(self, call: str, key: str, *data: Any, **more: Any) -> Any:
            if call == "abort_multipart_upload" and not self.raced:
                self.raced = True
                await super()._call(call, key, *data, **more)
            return await super()._call(call, key, *data, **more)

    store = Racing(fresh()._settings)
    backend = RemoteBackend("s3", store, QUICK)

    async def run() -> None:
        for number in range(3):
            await store.begin(Upload(f"key-{number}"))
        assert await backend.sweep_temporaries(-60) == 2
        assert store.raced
        assert await backend.sweep_temporaries(-60) == 0

    go(backend, run)


def test_a_quota_that_is_used_up_is_no_space(
    gateway: Gateway, fresh: Callable[[], S3Store]
) -> None:
    store = fresh()
    backend = backend_of(store, "s3")

    async def run() -> None:
        await backend.put(stream(b"first"))  # makes the bucket
        bucket = f"--bucket={store._bucket}"
        gateway.admin("quota", "set", "--quota-scope=bucket", bucket, f"--max-size={30 * MIB}")
        gateway.admin("quota", "enable", "--quota-scope=bucket", bucket)
        kept = await backend.put(in_pieces(bytes(20 * MIB)))
        before = sorted(await keys(backend))
        with pytest.raises(NoSpace, match="quota"):
            await backend.put(in_pieces(bytes(20 * MIB)))
        assert sorted(await keys(backend)) == before
        assert await backend.sweep_temporaries(-60) == 0
        await backend.delete(kept.key)
        await backend.put(in_pieces(bytes(20 * MIB)))

    go(backend, run)
