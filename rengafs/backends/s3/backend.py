"""`S3Store`: a bucket of any S3, by aiobotocore. One request a method; see `store`.

Addresses, credentials (environment, profile, role, or given), signatures and presigned URLs
are the library's. Its own tries are off: `remote` knows better what may be repeated.
"""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from rengafs.backends.base import HASHED_BYTES, PIECE_BYTES, Listed, Needed, Space, nobody
from rengafs.backends.foreign import UNNAMED, Found, is_foreign, parse
from rengafs.backends.s3.errors import NoSuchBucket, NoSuchUpload, translated
from rengafs.backends.sending import Body, Sockets, unless_silent
from rengafs.backends.store import Bytes, Part, Store, Upload
from rengafs.protocol.errors import BackendRefused, Corrupt, Unavailable

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
"""Longest silence of the store."""
COPY_SECONDS = 120.0
"""The same while it copies: it may say nothing until it is done."""
CONNECTIONS = 1024
"""More than are ever needed: `wrapping` bounds the transfers."""
LISTS = {
    "list_objects_v2": ("MaxKeys", ["ContinuationToken"]),
    "list_object_versions": ("MaxKeys", ["KeyMarker", "VersionIdMarker"]),
    "list_multipart_uploads": ("MaxUploads", ["KeyMarker", "UploadIdMarker"]),
}
"""Calls that list: what bounds a page, and what begins the next one."""
TAKEN = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where a bucket is, and how to get in. Empty: the library's usual way to find it out."""

    bucket: str
    endpoint: str = ""
    region: str = ""
    prefix: str = ""
    """Begins the names of our objects."""
    profile: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    addressing: str = "auto"
    """``path``, ``virtual`` (the bucket is a part of the host's name) or ``auto``."""


class S3Store(Store):
    """See the module."""

    part_bytes = HASHED_BYTES
    copied_bytes = 64 << 20
    max_parts = 10_000
    page_items = 1000

    def __init__(self, settings: S3Settings, *, read_seconds: float = READ_SECONDS) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._read_seconds = read_seconds
        self._clients: dict[float, Any] = {}
        self._opened = AsyncExitStack()
        self._sockets = Sockets(2 * max(read_seconds, COPY_SECONDS))
        self._opening = asyncio.Lock()

    async def put(self, key: str, data: Bytes) -> None:
        """Store a small object; the store compares its MD5."""
        await self._made("put_object", key, data)

    async def begin(self, upload: Upload) -> None:
        """Begin a multipart upload; its base is looked at first."""
        if upload.base is not None:
            await self.check(upload.base, upload.base_size)
        upload.id = (await self._made("create_multipart_upload", upload.key))["UploadId"]

    async def send_part(self, upload: Upload, number: int, data: Bytes) -> Part:
        """Store a part; the store compares its MD5."""
        answer = await self._call(
            "upload_part",
            upload.key,
            data,
            UploadId=upload.id,
            PartNumber=number + 1,
        )
        return Part(number, data.size, [{"PartNumber": number + 1, "ETag": answer["ETag"]}])

    async def copy_part(self, upload: Upload, number: int, start: int, stop: int) -> Part:
        """Copy a range of the base, inside the store."""
        assert upload.base is not None
        client = await self._client(COPY_SECONDS)
        place = self._place(upload.base)
        source = {"Bucket": place["Bucket"], "Key": place["Key"]}
        if "VersionId" in place:
            source["VersionId"] = place["VersionId"]
        more = {}
        if is_foreign(upload.base):
            more["CopySourceIfMatch"] = f'"{parse(upload.base).etag}"'
        with translated(f"a part of {upload.base}"):
            async with unless_silent(2 * COPY_SECONDS):
                answer = await client.upload_part_copy(
                    Bucket=self._bucket,
                    Key=self._name(upload.key),
                    UploadId=upload.id,
                    PartNumber=number + 1,
                    CopySource=source,
                    CopySourceRange=f"bytes={start}-{stop - 1}",
                    **more,
                )
        etag = answer["CopyPartResult"]["ETag"]
        return Part(number, stop - start, [{"PartNumber": number + 1, "ETag": etag}])

    async def finish(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Complete the upload. One that is known no more was completed by an earlier try."""
        listed = [entry for part in parts for entry in part.entries]
        size = sum(part.size for part in parts)
        try:
            await self._call(
                "complete_multipart_upload",
                upload.key,
                seconds=COPY_SECONDS,
                UploadId=upload.id,
                MultipartUpload={"Parts": listed},
            )
        except NoSuchUpload as gone:
            try:
                await self.check(upload.key, size)
            except Corrupt:
                raise gone from None
        else:
            await self.check(upload.key, size)

    async def abandon(self, upload: Upload) -> None:
        """Drop the parts, or the object that they became."""
        try:
            await self._call("abort_multipart_upload", upload.key, UploadId=upload.id)
        except (NoSuchUpload, NoSuchBucket, Corrupt):
            await self.delete(upload.key)

    async def get(self, key: str, start: int, stop: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield a range; the answer tells the whole object's size."""
        answer = await self._found("get_object", key, Range=f"bytes={start}-{stop - 1}")
        body = answer["Body"]
        try:
            _check_size(key, answer, size)
            with translated(f"the blob {key}"):
                async for piece in body.iter_chunks(PIECE_BYTES):
                    yield piece
                    start += len(piece)
            if start != stop:
                raise Unavailable(f"the blob {key} broke off at {start}")
        finally:
            body.close()

    async def check(self, key: str, size: int) -> None:
        """Ask for the object's size."""
        answer = await self._found("head_object", key)
        found = answer["ContentLength"]
        if found != size:
            raise Corrupt(f"the blob {key} has {found} bytes; it was stored with {size}")
        _check_etag(key, answer)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        try:
            await self._call("delete_object", key)
        except (Corrupt, NoSuchBucket):
            return

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all objects, some hundreds at a time."""
        pages = self._pages("list_objects_v2", self._bucket, self._settings.prefix)
        with suppress(NoSuchBucket):  # nothing was stored yet
            async for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self._settings.prefix)
                    yield Listed(key, item["Size"], item["LastModified"].timestamp())

    async def space(self) -> Space:
        """An S3 tells nothing of its room; but it must answer, and let us in."""
        client = await self._client()
        try:
            with translated(f"the bucket {self._bucket}"):
                async with unless_silent(2 * self._read_seconds):
                    await client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
        except NoSuchBucket:
            await self._make_bucket()
        return Space()

    async def sweep(self, before: float, needed: Needed = nobody) -> int:
        """Abort uploads that were begun before a moment."""
        count = 0
        for upload in await self._old_uploads(before):
            key = upload["Key"].removeprefix(self._settings.prefix)
            with suppress(NoSuchUpload):  # it ended just now
                await self._call("abort_multipart_upload", key, UploadId=upload["UploadId"])
                count += 1
        return count

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a presigned URL."""
        client = await self._client()
        with translated(f"the blob {key}"):
            url: str = await client.generate_presigned_url(
                "get_object", Params=self._place(key), ExpiresIn=seconds
            )
        return url

    async def aclose(self) -> None:
        """Close connections."""
        self._clients.clear()
        await self._opened.aclose()
        await self._sockets.cut()

    async def others(self, container: str) -> AsyncIterator[Found]:
        """Yield all versions of all objects of a bucket, by name."""
        try:
            async for page in self._pages("list_object_versions", container):
                for item in _versions(page):
                    yield item
        except NoSuchBucket:
            raise BackendRefused(f"the store has no bucket {container!r}") from None

    async def _old_uploads(self, before: float) -> Sequence[Any]:
        prefix = self._settings.prefix
        pages = self._pages("list_multipart_uploads", self._bucket, prefix)
        found: list[Any] = []
        with suppress(NoSuchBucket):
            async for page in pages:
                found += page.get("Uploads", ())
        return [upload for upload in found if upload["Initiated"].timestamp() < before]

    # --- requests ---------------------------------------------------------------------

    async def _made(self, call: str, key: str, data: Bytes | None = None) -> Any:
        """Carry out a call that stores; make the bucket if it is not there yet."""
        try:
            return await self._call(call, key, data)
        except NoSuchBucket:
            await self._make_bucket()
            return await self._call(call, key, data)

    async def _found(self, call: str, key: str, **arguments: Any) -> Any:
        """Carry out a call about an object that must be there. Raises `Corrupt`."""
        client = await self._client()
        try:
            with translated(f"the blob {key}"):
                async with unless_silent(2 * self._read_seconds):
                    answer = await getattr(client, call)(**self._place(key), **arguments)
        except NoSuchBucket:
            raise Corrupt(f"the blob {key} is missing, with its bucket") from None
        return answer

    async def _pages(self, call: str, bucket: str, prefix: str = "") -> AsyncIterator[Any]:
        """Yield the pages of a list. Raises `NoSuchBucket`."""
        most, markers = LISTS[call]
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, most: self.page_items}
        while True:
            ask = partial(self._page, call, arguments)
            page = await self.patience.insist(ask, f"a list of the bucket {bucket}")
            yield page
            if not page.get("IsTruncated"):
                return
            arguments |= {marker: page[f"Next{marker}"] for marker in markers}
            if names := [item["Key"] for item in _items(page)]:
                # The library decodes the marker, which stores did not encode: a + would be lost.
                arguments["KeyMarker"] = max(names)

    async def _page(self, call: str, arguments: Mapping[str, Any]) -> Any:
        client = await self._client()
        with translated(f"the bucket {arguments['Bucket']}"):
            async with unless_silent(2 * self._read_seconds):
                return await getattr(client, call)(**arguments)

    async def _call(
        self,
        call: str,
        key: str,
        data: Bytes | None = None,
        *,
        seconds: float | None = None,
        **arguments: Any,
    ) -> Any:
        """Carry out a call; *data* is sent with its MD5."""
        client = await self._client(seconds)
        body = None
        if data is not None:
            body = Body(data.pieces)
            arguments |= {"Body": body, "ContentMD5": _md5(data)}
        # Twice: the library's bound for the answer, once all is sent, comes first.
        silence = 2 * (seconds or self._read_seconds)
        with translated(f"the blob {key}"):
            async with unless_silent(silence, body):
                return await getattr(client, call)(
                    Bucket=self._bucket, Key=self._name(key), **arguments
                )

    async def _make_bucket(self) -> None:
        client = await self._client()
        region = client.meta.region_name
        more = {}
        if region not in (None, "", "us-east-1", "aws-global"):
            more["CreateBucketConfiguration"] = {"LocationConstraint": region}
        try:
            with translated(f"the bucket {self._bucket}"):
                async with unless_silent(2 * self._read_seconds):
                    await client.create_bucket(Bucket=self._bucket, **more)
        except BackendRefused as error:
            if not any(word in error.message for word in TAKEN):
                raise

    async def _client(self, read_seconds: float | None = None) -> Any:
        seconds = read_seconds or self._read_seconds
        async with self._opening:
            if seconds not in self._clients:
                with translated(f"the bucket {self._bucket}"):
                    self._clients[seconds] = await self._open(seconds)
        return self._clients[seconds]

    async def _open(self, seconds: float) -> Any:
        given = self._settings
        session = AioSession(profile=given.profile or None)
        config = AioConfig(
            signature_version="s3v4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=seconds,
            retries={"total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            connector_args={"socket_factory": self._sockets},
            s3={"addressing_style": given.addressing, "payload_signing_enabled": False},
            # Older stores know nothing of the newer checksums; all know MD5.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            making = session.create_client(
                "s3",
                endpoint_url=given.endpoint or None,
                region_name=given.region or None,
                aws_access_key_id=given.access_key or None,
                aws_secret_access_key=given.secret_key or None,
                aws_session_token=given.session_token or None,
                config=config,
            )
            return await self._opened.enter_async_context(making)
        except ValueError as error:
            raise BackendRefused(f"the endpoint {given.endpoint!r} is no URL ({error})") from None

    def _name(self, key: str) -> str:
        return self._settings.prefix + key

    def _place(self, key: str) -> dict[str, str]:
        if not is_foreign(key):
            return {"Bucket": self._bucket, "Key": self._name(key)}
        there = parse(key)
        version = {"VersionId": there.version} if there.version else {}
        return {"Bucket": there.container, "Key": there.name, **version}


def _items(page: Any) -> Sequence[Any]:
    return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]


def _versions(page: Any) -> list[Found]:
    """Return a page's versions and deletions, in one order by name."""
    found = [
        Found(
            name=item["Key"],
            # From before versions were kept; as long as nothing came after it, it needs no name.
            version="" if item["VersionId"] == UNNAMED and item["IsLatest"] else item["VersionId"],
            etag=item.get("ETag", "").strip('"'),
            size=item.get("Size", 0),
            at=item["LastModified"].timestamp(),
            latest=item["IsLatest"],
            deleted="ETag" not in item,
        )
        for item in _items(page)
    ]
    return sorted(found, key=lambda item: item.name)


def _md5(data: Bytes) -> str:
    return base64.b64encode(data.md5).decode()


def _check_size(key: str, answer: Any, size: int) -> None:
    told = answer.get("ContentRange", "").rpartition("/")[2]
    found = int(told) if told.isdecimal() else answer["ContentLength"]
    if found != size:
        raise Corrupt(f"the blob {key} has {found} bytes; it was stored with {size}")
    _check_etag(key, answer)


def _check_etag(key: str, answer: Any) -> None:
    if is_foreign(key) and answer["ETag"].strip('"') != parse(key).etag:
        raise Corrupt(
            f"{parse(key).name} was changed by another program; see rengafs bucket refresh"
        )
