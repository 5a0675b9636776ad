"""The SDK for blocking callers. Each method carries out one flow; no logic lives here.

Its classes, methods and signatures are those of `async_client`, and a test compares them.
"""

import builtins
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Self

from rengafs.client import calls
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.sdk import flows, sources
from rengafs.client.sdk.handles import FileHandle
from rengafs.client.sdk.models import (
    BucketModel,
    ClientModel,
    CollectionModel,
    FileModel,
    VersionModel,
)
from rengafs.client.sdk.spool import Spool
from rengafs.client.sdk.writing import Writing


class Client(ClientModel[BlockingDriver]):
    """A client for communicating with a service.

    >>> import rengafs
    >>> client = rengafs.Client('https://renga.example.com', token='…')

    It may be shared by threads. Close it, or use it in ``with``, to give its connections
    back at once.
    """

    @staticmethod
    def _connect(endpoint: Endpoint) -> BlockingDriver:
        return BlockingDriver(endpoint)

    @property
    def buckets(self) -> "BucketCollection":
        """The buckets on the service."""
        return BucketCollection(self._driver)

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BucketCollection(CollectionModel[BlockingDriver]):
    """Represent storage buckets on the server."""

    @property
    def backends(self) -> builtins.list[str]:
        """Return a list of the enabled backends."""
        return self._driver.run(calls.backends())

    def create(
        self,
        name: str | None = None,
        backend: str = "local",
        labels: Sequence[str] = (),
        **_: object,
    ) -> "Bucket":
        """Create a new bucket. Raises `UnknownBackend`, `InvalidName`.

        Further keywords are taken and mean nothing, as in the original SDK.
        """
        return Bucket(self._driver, self._driver.run(flows.create_bucket(name, backend, labels)))

    def list(self) -> builtins.list["Bucket"]:
        """Return all buckets."""
        return [Bucket(self._driver, facts) for facts in self._driver.run(flows.list_buckets())]

    def get(self, bucket_id: int) -> "Bucket":
        """Find a bucket by its id. Raises `NotFound`."""
        return Bucket(self._driver, self._driver.run(flows.get_bucket(bucket_id)))

    def __getitem__(self, bucket_id: int) -> "Bucket":
        return self.get(bucket_id)

    def __iter__(self) -> Iterator["Bucket"]:
        return iter(self.list())


class Bucket(BucketModel[BlockingDriver]):
    """Represent a storage bucket."""

    @property
    def name(self) -> str:
        """The bucket name; assigning to it renames the bucket."""
        return self._facts.name

    @name.setter
    def name(self, value: str) -> None:
        self.rename(value)

    def rename(self, name: str) -> None:
        """Give the bucket another name. Raises `NotFound`, `InvalidName`."""
        self._facts = self._driver.run(flows.rename_bucket(self._facts, name))

    @property
    def files(self) -> "FileCollection":
        """The files of this bucket."""
        return FileCollection(self)


class FileCollection(CollectionModel[BlockingDriver]):
    """Represent files in a bucket on the server."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket._driver)
        self.bucket = bucket

    def create(self, filename: str | None = None) -> "File":
        """Create an empty file in this bucket. Raises `InvalidName`."""
        return File(self._driver, self._driver.run(flows.create_file(self.bucket.id, filename)))

    def open(self, filename: str | None = None, mode: str = "w") -> FileHandle:
        """Create an empty file in this bucket, and return what writes it."""
        state = self._driver.run(flows.open_new(self.bucket.id, filename, mode))
        return FileHandle(self._driver, state)

    def from_url(self, url: str, filename: str | None = None) -> "File":
        """Create a file with data from the streamed GET response.

        Without a *filename* it bears the last part of the URL. Where the URL can't be
        read to its end, no file is made.

        >>> file_ = client.buckets[1234].files.from_url(
        ...     'https://example.com/tests/data', filename='hello')
        >>> file_.id
        9876
        >>> client.buckets[1234].files[9876].open('r').read()
        b'hello world'
        """
        address = sources.parse_url(url)
        with closing(Spool()) as draft:
            sources.fetch(draft, address)
            name = filename or sources.name_in(address)
            facts = self._driver.run(flows.create_file(self.bucket.id, name))
            writing = Writing(facts.id, draft, sources.plain(address))
            FileHandle(self._driver, writing).flush()
        return File(self._driver, facts)

    def list(self) -> builtins.list["File"]:
        """Return all files of the bucket."""
        found = self._driver.run(flows.list_files(self.bucket.id))
        return [File(self._driver, facts) for facts in found]

    def get(self, file_id: int) -> "File":
        """Return a file by its id. Raises `NotFound`."""
        return File(self._driver, self._driver.run(flows.get_file(file_id)))

    def __getitem__(self, file_id: int) -> "File":
        return self.get(file_id)

    def __iter__(self) -> Iterator["File"]:
        return iter(self.list())


class File(FileModel[BlockingDriver]):
    """Represent a file object."""

    @property
    def filename(self) -> str:
        """Filename of the file; assigning to it renames the file."""
        return self._facts.filename

    @filename.setter
    def filename(self, value: str) -> None:
        self.rename(value)

    def rename(self, filename: str) -> None:
        """Give the file another name. Raises `NotFound`, `InvalidName`."""
        self._facts = self._driver.run(flows.rename_file(self._facts, filename))

    def clone(self, filename: str | None = None) -> "File":
        """Create an instance of the file for independent version tracking.

        The service copies it; no content passes through the client. Without a
        *filename* the clone's is ``clone_`` and the file's.
        """
        return File(self._driver, self._driver.run(flows.clone_file(self._facts, filename)))

    def open(self, mode: str = "r") -> FileHandle:
        """Open the newest version to read (``r``), or the file to write a new one (``w``)."""
        return FileHandle(self._driver, self._driver.run(flows.open_file(self.id, mode)))

    @property
    def versions(self) -> "FileVersionCollection":
        """The versions of the file."""
        return FileVersionCollection(self)


class FileVersionCollection(CollectionModel[BlockingDriver]):
    """Represent file versions of a file stored on the server, newest first."""

    def __init__(self, file: File) -> None:
        super().__init__(file._driver)
        self.file = file

    def list(self) -> builtins.list["FileVersion"]:
        """Return all versions of the file, newest first."""
        found = self._driver.run(flows.list_versions(self.file._facts))
        return [FileVersion(self._driver, facts) for facts in found]

    def get(self, version_id: int) -> "FileVersion":
        """Return a version by its id. Raises `NotFound`."""
        facts = self._driver.run(flows.get_version(self.file._facts, version_id))
        return FileVersion(self._driver, facts)

    def __getitem__(self, version_id: int) -> "FileVersion":
        return self.get(version_id)

    def __iter__(self) -> Iterator["FileVersion"]:
        return iter(self.list())


class FileVersion(VersionModel[BlockingDriver]):
    """Represent a file version object."""

    def open(self, mode: str = "r") -> FileHandle:
        """Open the version to read. Raises `InvalidFileOperation` for another mode."""
        return FileHandle(self._driver, self._driver.run(flows.open_version(self.id, mode)))
