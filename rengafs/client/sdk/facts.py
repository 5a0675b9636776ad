"""What the SDK knows of a bucket, a file, a version: frozen, and read out of vertices."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rengafs.protocol.errors import NotFound, UnexpectedAnswer
from rengafs.protocol.vertices import BUCKET, FILE, FILE_VERSION, Vertex, flatten

F = TypeVar("F")

BUCKET_NAME = "resource:bucket_name"
BUCKET_BACKEND = "resource:bucket_backend"
FILE_NAME = "resource:file_name"
CREATION_TIME = "system:creation_time"

_NAMES = {BUCKET: "bucket", FILE: "file", FILE_VERSION: "file version"}


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """A bucket, as it was when last asked for."""

    id: int
    name: str
    backend: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file, as it was when last asked for."""

    id: int
    filename: str
    access_token: str = ""
    """May write the file; known of a file that this client has just created."""


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """A version, which never changes."""

    id: int
    filename: str
    created: dt.datetime
    """In UTC."""


def bucket_facts(vertex: Vertex) -> BucketFacts:
    """Return the bucket that *vertex* describes. Raises `NotFound` if it describes none."""
    return _read(
        vertex,
        BUCKET,
        lambda known: BucketFacts(
            vertex.id,
            str(known[BUCKET_NAME]),
            str(known[BUCKET_BACKEND]),
        ),
    )


def file_facts(vertex: Vertex) -> FileFacts:
    """Return the file that *vertex* describes. Raises `NotFound` if it describes none."""
    return _read(vertex, FILE, lambda known: FileFacts(vertex.id, str(known[FILE_NAME])))


def version_facts(vertex: Vertex, filename: str) -> VersionFacts:
    """Return the version that *vertex* describes. Raises `NotFound` if it describes none.

    :param filename: of the file, in case the vertex tells none.
    """
    return _read(
        vertex,
        FILE_VERSION,
        lambda known: VersionFacts(
            vertex.id,
            str(known.get(FILE_NAME, filename)),
            _moment(int(known[CREATION_TIME])),
        ),
    )


def _moment(at_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=at_ms)


def _read(vertex: Vertex, kind: str, make: Callable[[dict[str, Any]], F]) -> F:
    # Buckets, files and versions share one id space, so an id may be of another kind.
    if kind not in vertex.types:
        raise NotFound(f"{vertex.id} is not the id of a {_NAMES[kind]}")
    try:
        return make(flatten(vertex))
    except (KeyError, IndexError, ValueError, OverflowError) as error:
        raise UnexpectedAnswer(
            f"the service describes {_NAMES[kind]} {vertex.id} without {error}"
        ) from None
