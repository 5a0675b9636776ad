"""The SDK for trio callers. Each method carries out one flow; no logic lives here.

What waits is awaited: ``await client.buckets.get(1234)`` for ``client.buckets[1234]``,
``await file.rename('new')`` for ``file.filename = 'new'``, ``async for`` and ``async with``.
Its classes, methods and signatures are else those of `client`; a test compares them.
"""

import builtins
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from typing import Generic, Self, TypeVar

from rengafs.client import calls
from rengafs.client.connection import Endpoint
from rengafs.client.sdk import async_sources, flows, sources
from rengafs.client.sdk.async_handles import AsyncFileHandle, Opening
from rengafs.client.sdk.models import (
    BucketModel,
    ClientModel,
    CollectionModel,
    FileModel,
    VersionModel,
)
from rengafs.client.sdk.spool import Spool
from rengafs.client.sdk.writing import Writing
from rengafs.client.trio_driver import TrioDriver

M = TypeVar("M")


class Listing(Generic[M]):
    """What ``async for`` goes through: asked for when the loop begins.

    Not an async generator: one of those, left early, is not ended before it is collected.
    """

    def __init__(self, ask: Callable[[], Awaitable[list[M]]]) -> None:
        self._ask = ask
        self._rest: Iterator[M] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> M:
        if self._rest is None:
            self._rest = iter(await self._ask())
        for item in self._rest:
            return item
        raise StopAsyncIteration


class AsyncClient(ClientModel[TrioDriver]):
    """A client for communicating with a service, for trio.

    >>> async with rengafs.AsyncClient('https://renga.example.com', token='…') as client:
    ...     buckets = await client.buckets.list()

    It may be shared by tasks.
    """

    @staticmethod
    def _connect(endpoint: Endpoint) -> TrioDriver:
        return TrioDriver(endpoint)

    @property
    def buckets(self) -> "AsyncBucketCollection":
        """The buckets on the service."""
        return AsyncBucketCollection(self._driver)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._driver.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AsyncBucketCollection(CollectionModel[TrioDriver]):
    """Represent storage buckets on the server."""

    async def backends(self) -> builtins.list[str]:
        """Return a list of the enabled backends."""
        return await self._driver.run(calls.backends())

    async def create(
        self,
        name: str | None = None,
        backend: str = "local",
        labels: Sequence[str] = (),
        **_: object,
    ) -> "AsyncBucket":
        """Create a new bucket. Raises `UnknownBackend`, `InvalidName`.

        Further keywords are taken and mean nothing, as in the original SDK.
        """
        facts = await self._driver.run(flows.create_bucket(name, backend, labels))
        return AsyncBucket(self._driver, facts)

    async def list(self) -> builtins.list["AsyncBucket"]:
        """Return all buckets."""
        found = await self._driver.run(flows.list_buckets())
        return [AsyncBucket(self._driver, facts) for facts in found]

    async def get(self, bucket_id: int) -> "AsyncBucket":
        """Find a bucket by its id. Raises `NotFound`."""
        return AsyncBucket(self._driver, await self._driver.run(flows.get_bucket(bucket_id)))

    def __aiter__(self) -> Listing["AsyncBucket"]:
        return Listing(self.list)


class AsyncBucket(BucketModel[TrioDriver]):
    """Represent a storage bucket."""

    @property
    def name(self) -> str:
        """The bucket name."""
        return self._facts.name

    async def rename(self, name: str) -> None:
        """Give the bucket another name. Raises `NotFound`, `InvalidName`."""
        self._facts = await self._driver.run(flows.rename_bucket(self._facts, name))

    @property
    def files(self) -> "AsyncFileCollection":
        """The files of this bucket."""
        return AsyncFileCollection(self)


class AsyncFileCollection(CollectionModel[TrioDriver]):
    """Represent files in a bucket on the server."""

    def __init__(self, bucket: AsyncBucket) -> None:
        super().__init__(bucket._driver)
        self.bucket = bucket

    async def create(self, filename: str | None = None) -> "AsyncFile":
        """Create an empty file in this bucket. Raises `InvalidName`."""
        facts = await self._driver.run(flows.create_file(self.bucket.id, filename))
        return AsyncFile(self._driver, facts)

    def open(self, filename: str | None = None, mode: str = "w") -> Opening:
        """Create an empty file in this bucket, and return what writes it."""
        return Opening(self._driver, flows.open_new(self.bucket.id, filename, mode))

    async def from_url(self, url: str, filename: str | None = None) -> "AsyncFile":
        """Create a file with data from the streamed GET response.

        Without a *filename* it bears the last part of the URL. Where the URL can't be
        read to its end, no file is made.

        >>> file_ = await bucket.files.from_url(
        ...     'https://example.com/tests/data', filename='hello')
        """
        address = sources.parse_url(url)
        with closing(Spool()) as draft:
            await async_sources.fetch(draft, address)
            name = filename or sources.name_in(address)
            facts = await self._driver.run(flows.create_file(self.bucket.id, name))
            writing = Writing(facts.id, draft, sources.plain(address))
            await AsyncFileHandle(self._driver, writing).flush()
        return AsyncFile(self._driver, facts)

    async def list(self) -> builtins.list["AsyncFile"]:
        """Return all files of the bucket."""
        found = await self._driver.run(flows.list_files(self.bucket.id))
        return [AsyncFile(self._driver, facts) for facts in found]

    async def get(self, file_id: int) -> "AsyncFile":
        """Return a file by its id. Raises `NotFound`."""
        return AsyncFile(self._driver, await self._driver.run(flows.get_file(file_id)))

    def __aiter__(self) -> Listing["AsyncFile"]:
        return Listing(self.list)


class AsyncFile(FileModel[TrioDriver]):
    """Represent a file object."""

    @property
    def filename(self) -> str:
        """Filename of the file."""
        return self._facts.filename

    async def rename(self, filename: str) -> None:
        """Give the file another name. Raises `NotFound`, `InvalidName`."""
        self._facts = await self._driver.run(flows.rename_file(self._facts, filename))

    async def clone(self, filename: str | None = None) -> "AsyncFile":
        """Create an instance of the file for independent version tracking.

        The service copies it; no content passes through the client. Without a
        *filename* the clone's is ``clone_`` and the file's.
        """
        facts = await self._driver.run(flows.clone_file(self._facts, filename))
        return AsyncFile(self._driver, facts)

    def open(self, mode: str = "r") -> Opening:
        """Open the newest version to read (``r``), or the file to write a new one (``w``)."""
        return Opening(self._driver, flows.open_file(self.id, mode))

    @property
    def versions(self) -> "AsyncFileVersionCollection":
        """The versions of the file."""
        return AsyncFileVersionCollection(self)


class AsyncFileVersionCollection(CollectionModel[TrioDriver]):
    """Represent file versions of a file stored on the server, newest first."""

    def __init__(self, file: AsyncFile) -> None:
        super().__init__(file._driver)
        self.file = file

    async def list(self) -> builtins.list["AsyncFileVersion"]:
        """Return all versions of the file, newest first."""
        found = await self._driver.run(flows.list_versions(self.file._facts))
        return [AsyncFileVersion(self._driver, facts) for facts in found]

    async def get(self, version_id: int) -> "AsyncFileVersion":
        """Return a version by its id. Raises `NotFound`."""
        facts = await self._driver.run(flows.get_version(self.file._facts, version_id))
        return AsyncFileVersion(self._driver, facts)

    def __aiter__(self) -> Listing["AsyncFileVersion"]:
        return Listing(self.list)


class AsyncFileVersion(VersionModel[TrioDriver]):
    """Represent a file version object."""

    def open(self, mode: str = "r") -> Opening:
        """Open the version to read. Raises `InvalidFileOperation` for another mode."""
        return Opening(self._driver, flows.open_version(self.id, mode))
