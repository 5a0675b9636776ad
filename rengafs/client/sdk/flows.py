"""What the SDK's methods do, each written once for both kinds of caller. No I/O."""

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from rengafs.client import calls
from rengafs.client.flow import Flow
from rengafs.client.sdk.facts import (
    BUCKET_BACKEND,
    BucketFacts,
    FileFacts,
    VersionFacts,
    bucket_facts,
    file_facts,
    version_facts,
)
from rengafs.client.sdk.reading import Reading
from rengafs.client.sdk.writing import Writing
from rengafs.protocol.endpoints import Metadata
from rengafs.protocol.errors import InvalidFileOperation, NotFound

# --- buckets --------------------------------------------------------------------------


def create_bucket(name: str | None, backend: str, labels: Sequence[str]) -> Flow[BucketFacts]:
    """Make a bucket. Raises `UnknownBackend`, `InvalidName`."""
    made = yield from calls.create_bucket(name, backend, labels)
    return BucketFacts(made.id, made.name, str(made.properties.get(BUCKET_BACKEND, backend)))


def list_buckets() -> Flow[list[BucketFacts]]:
    """Return all buckets."""
    return [bucket_facts(vertex) for vertex in (yield from calls.explore_buckets())]


def get_bucket(number: int) -> Flow[BucketFacts]:
    """Return one bucket. Raises `NotFound`."""
    return bucket_facts((yield from calls.explore_bucket(number)))


def rename_bucket(bucket: BucketFacts, name: str) -> Flow[BucketFacts]:
    """Rename a bucket, and return it as it is then."""
    yield from calls.put_bucket(bucket.id, Metadata(file_name=name))
    return replace(bucket, name=name)


# --- files ----------------------------------------------------------------------------


def create_file(bucket: int, filename: str | None) -> Flow[FileFacts]:
    """Make an empty file. Raises `NotFound`, `InvalidName`."""
    made = yield from calls.create_file(bucket, filename)
    if filename is None:
        file = yield from get_file(made.id)
        return replace(file, access_token=made.access_token)
    return FileFacts(made.id, filename, made.access_token)


def list_files(bucket: int) -> Flow[list[FileFacts]]:
    """Return all files of a bucket."""
    return [file_facts(vertex) for vertex in (yield from calls.explore_files(bucket))]


def get_file(number: int) -> Flow[FileFacts]:
    """Return one file. Raises `NotFound`."""
    return file_facts((yield from calls.explore_file(number)))


def rename_file(file: FileFacts, filename: str) -> Flow[FileFacts]:
    """Rename a file, and return it as it is then."""
    yield from calls.put_file(file.id, Metadata(file_name=filename))
    return replace(file, filename=filename)


def clone_file(file: FileFacts, filename: str | None) -> Flow[FileFacts]:
    """Copy a file on the service; the clone stands beside it, with a history of its own."""
    directory, name = posixpath.split(file.filename)
    filename = filename or posixpath.join(directory, f"clone_{name}")
    return FileFacts((yield from calls.copy_file(file.id, filename)), filename)


# --- versions -------------------------------------------------------------------------


def list_versions(file: FileFacts) -> Flow[list[VersionFacts]]:
    """Return all versions of a file, newest first."""
    vertices = yield from calls.explore_versions(file.id)
    versions = [version_facts(vertex, file.filename) for vertex in vertices]
    # Ids ascend, so they put in order what was saved within one millisecond.
    return sorted(versions, key=lambda version: (version.created, version.id), reverse=True)


def get_version(file: FileFacts, number: int) -> Flow[VersionFacts]:
    """Return one version of a file. Raises `NotFound`, also for another file's."""
    version = version_facts((yield from calls.explore_file(number)), file.filename)
    if (yield from calls.version(number)).file != file.id:
        raise NotFound(f"{number} is a version of another file than {file.id}")
    return version


# --- handles --------------------------------------------------------------------------

READ_MODES = ("r", "rb")
WRITE_MODES = ("w", "wb")


def open_file(number: int, mode: str) -> Flow[Reading | Writing]:
    """Ask whether a file may be read or written, and return what does it.

    Raises `InvalidFileOperation` for another mode than ``r`` and ``w``.
    """
    if mode in READ_MODES:
        return Reading(number, (yield from calls.authorize_read(number)))
    if mode in WRITE_MODES:
        # Saving goes by the user's token; this call is so that a refusal comes at once.
        yield from calls.authorize_write(number)
        return Writing(number)
    raise InvalidFileOperation(f"a file opens with mode 'r' or 'w', not {mode!r}")


def open_version(number: int, mode: str) -> Flow[Reading | Writing]:
    """Return what reads a version. Raises `InvalidFileOperation` for another mode than ``r``."""
    if mode not in READ_MODES:
        raise InvalidFileOperation(f"a version never changes: it opens with 'r', not {mode!r}")
    return (yield from open_file(number, mode))


def open_new(bucket: int, filename: str | None, mode: str) -> Flow[Reading | Writing]:
    """Make an empty file, and return what writes it. Raises as `create_file` does."""
    if mode not in WRITE_MODES:
        raise InvalidFileOperation(f"a new file opens with mode 'w', not {mode!r}")
    return Writing((yield from calls.create_file(bucket, filename)).id)
