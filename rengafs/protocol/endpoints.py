"""Every URL, once: the service declares its routes from this table, the client calls by it.

An endpoint says what goes in (path, query, body) and what comes out (answer, status). Where
body or answer is bytes or frames rather than JSON, its type is a `Media`. The OpenAPI
description is made from the same table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from rengafs.protocol import errors, frames
from rengafs.protocol.bodies import (
    Authorize,
    CopyFile,
    CreateBucket,
    Created,
    CreatedBucket,
    CreatedFile,
    CreateFile,
    Grant,
    Metadata,
)
from rengafs.protocol.keeping import Held, Hold, Pruned, PruneHistory, Retention, Usages
from rengafs.protocol.messages import Body, Reply, Request
from rengafs.protocol.operations import Operation, Outcome
from rengafs.protocol.queries import (
    At,
    Compare,
    FindEntry,
    FindPath,
    LastPath,
    ListEntries,
    ListPage,
    LogOf,
    Named,
    NameHistory,
    Since,
    UsageOf,
    UsagesOf,
    When,
)
from rengafs.protocol.records import (
    Difference,
    Entry,
    Import,
    Label,
    Log,
    Login,
    Moment,
    Node,
    Page,
    PastName,
    PastNames,
    Read,
    Reserve,
    Reserved,
    ServiceInfo,
    Usage,
    Version,
    Versions,
    Whereabouts,
)
from rengafs.protocol.vertices import Vertex, VertexData

STORAGE = "/api/storage"
FS = "/api/storage/fs"
EXPLORER = "/api/explorer/storage"

HOST_HEADER = "rengafs-host"
"""The client's machine, for the log."""
CLIENT_HEADER = "rengafs-client"
"""The mount or client, so that it knows its own changes in the feed."""
REQUEST_ID_HEADER = "rengafs-request-id"
SHA256_HEADER = "rengafs-sha256"
DIRECT_HEADER = "rengafs-direct"
"""Sent by a reader who can follow a redirect to where the bytes lie."""
EXECUTION_HEADER = "renga-deployer-execution"
PROJECT_HEADER = "renga-projects-project"

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Media:
    """A body that is not JSON."""

    type: str


BYTES = Media("application/octet-stream")
FRAMES = Media(frames.MEDIA_TYPE)
LINES = Media("application/x-ndjson")


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[A]):
    """One call of the API. *answer* is the JSON type of a good answer."""

    name: str
    method: str
    path: str
    """With ``{node}`` and the like, which are integers."""
    summary: str
    answer: type[A] | Media
    body: Any = None
    query: type[msgspec.Struct] | None = None
    status: int = 200
    grant: bool = False
    """Takes an access token of an authorize call, not a user's token."""

    def request(
        self,
        *,
        ids: Mapping[str, int] | None = None,
        query: msgspec.Struct | None = None,
        body: object = None,
        raw: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Request:
        """Return the request of a call. *raw* is a body that is not JSON."""
        path = self.path.format(**{key: quote(str(value)) for key, value in (ids or {}).items()})
        sent = dict(headers or {})
        content: Body = b""
        if body is not None:
            sent["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        elif raw is not None:
            media = self.body if isinstance(self.body, Media) else BYTES
            sent["content-type"] = media.type
            content = raw
        return Request(self.method, path, _query(query), sent, content)

    def decode(self, reply: Reply) -> A:
        """Return the answer, or raise the error that the reply tells of.

        Raises `UnexpectedAnswer` for what this protocol never answers.
        """
        check(reply)
        assert not isinstance(self.answer, Media), "streams are not decoded"
        try:
            return msgspec.json.decode(reply.body, type=self.answer)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise errors.UnexpectedAnswer(
                f"{self.name}: the answer is not the JSON expected ({error}); "
                "is this endpoint a rengafs service?"
            ) from None


class _Next(msgspec.Struct):
    next: str = ""


def next_page(reply: Reply) -> str:
    """Return `Page.next`; the entries are passed over, in a tenth of the time they take to decode.

    Empty where `decode` will raise.
    """
    if not 200 <= reply.status < 300:
        return ""
    try:
        return msgspec.json.decode(reply.body, type=_Next).next
    except (msgspec.DecodeError, msgspec.ValidationError):
        return ""


def check(reply: Reply) -> None:
    """Raise the error that *reply* tells of; return for 200 to 299."""
    if 200 <= reply.status < 300:
        return
    try:
        problem = msgspec.json.decode(reply.body, type=errors.Problem)
    except (msgspec.DecodeError, msgspec.ValidationError):
        kind = errors.Unavailable if reply.status >= 502 else errors.UnexpectedAnswer
        text = reply.body[:200].decode(errors="replace").strip() or "no text"
        raise kind(f"the endpoint answered {reply.status}: {text}") from None
    raise errors.from_problem(problem)


def _query(query: msgspec.Struct | None) -> dict[str, str]:
    if query is None:
        return {}
    given = msgspec.to_builtins(query)
    return {key: str(value) for key, value in given.items() if value not in (None, "")}


# --- the original API: control plane, data plane, explorer ----------------------------

BACKENDS = Endpoint(
    "backends", "GET", f"{STORAGE}/io/backends", "The backends that work.", list[str]
)
CREATE_BUCKET = Endpoint(
    "create_bucket",
    "POST",
    f"{STORAGE}/authorize/create_bucket",
    "Make a bucket.",
    CreatedBucket,
    body=CreateBucket,
    status=201,
)
CREATE_FILE = Endpoint(
    "create_file",
    "POST",
    f"{STORAGE}/authorize/create_file",
    "Make an empty file and a token that may write it.",
    CreatedFile,
    body=CreateFile,
    status=201,
)
AUTHORIZE_READ = Endpoint(
    "authorize_read",
    "POST",
    f"{STORAGE}/authorize/read",
    "A token that may read a file's newest version, or one version.",
    Grant,
    body=Authorize,
)
AUTHORIZE_WRITE = Endpoint(
    "authorize_write",
    "POST",
    f"{STORAGE}/authorize/write",
    "A token that may write new versions of a file.",
    Grant,
    body=Authorize,
)
COPY_FILE = Endpoint(
    "copy_file",
    "POST",
    f"{STORAGE}/authorize/copy_file",
    "Clone a file or a version; the clone has a history of its own.",
    Created,
    body=CopyFile,
    status=201,
)
PUT_FILE = Endpoint(
    "put_file",
    "PUT",
    f"{STORAGE}/file/{{file}}",
    "Rename or label a file.",
    Created,
    body=Metadata,
)
PUT_BUCKET = Endpoint(
    "put_bucket",
    "PUT",
    f"{STORAGE}/bucket/{{bucket}}",
    "Rename or label a bucket.",
    Created,
    body=Metadata,
)
IO_READ: Endpoint[bytes] = Endpoint(
    "io_read",
    "GET",
    f"{STORAGE}/io/read",
    "The bytes that the access token names; honours Range.",
    BYTES,
    grant=True,
)
IO_WRITE = Endpoint(
    "io_write",
    "POST",
    f"{STORAGE}/io/write",
    "The body becomes the next version of the file that the access token names.",
    Version,
    body=BYTES,
    status=201,
    grant=True,
)
EXPLORE_BUCKETS = Endpoint(
    "explore_buckets", "GET", f"{EXPLORER}/bucket", "All buckets.", list[Vertex]
)
EXPLORE_BUCKET = Endpoint(
    "explore_bucket", "GET", f"{EXPLORER}/bucket/{{bucket}}", "One bucket.", Vertex
)
EXPLORE_FILES = Endpoint(
    "explore_files",
    "GET",
    f"{EXPLORER}/bucket/{{bucket}}/files",
    "All files of a bucket, by their eldest names.",
    list[Vertex],
)
EXPLORE_FILE = Endpoint(
    "explore_file",
    "GET",
    f"{EXPLORER}/file/{{file}}",
    "One file or one version.",
    VertexData,
)
EXPLORE_VERSIONS = Endpoint(
    "explore_versions",
    "GET",
    f"{EXPLORER}/file/{{file}}/versions",
    "All versions of a file.",
    list[Vertex],
)

# --- beside it: what a filesystem needs -----------------------------------------------

SERVICE = Endpoint("service", "GET", f"{FS}/service", "Who answers, and for whom.", ServiceInfo)
NODE = Endpoint("node", "GET", f"{FS}/node/{{node}}", "The attributes of a node.", Node, query=At)
ENTRIES = Endpoint(
    "entries",
    "GET",
    f"{FS}/node/{{node}}/entries",
    "A page of a directory, with attributes.",
    Page,
    query=ListEntries,
)
ENTRY = Endpoint(
    "entry",
    "GET",
    f"{FS}/node/{{node}}/entry",
    "One name of a directory.",
    Entry,
    query=FindEntry,
)
PATH = Endpoint("path", "GET", f"{FS}/path", "What stands at a path.", Entry, query=FindPath)
HISTORY = Endpoint(
    "history",
    "GET",
    f"{FS}/node/{{node}}/history",
    "Every save that was ever current under a name of a directory.",
    Versions,
    query=NameHistory,
)
PAST_NAMES = Endpoint(
    "past_names",
    "GET",
    f"{FS}/node/{{node}}/past",
    "Every name that a directory has or had.",
    PastNames,
    query=ListPage,
)
PAST_NAME = Endpoint(
    "past_name",
    "GET",
    f"{FS}/node/{{node}}/past/name",
    "One name that a directory has or had.",
    PastName,
    query=Named,
)
IMPORT: Endpoint[bytes] = Endpoint(
    "import",
    "POST",
    f"{FS}/node/{{node}}/import",
    "Fetch a URL into a file, as its next version; a JSON line of progress now and then.",
    LINES,
    body=Import,
)
LABELS = Endpoint(
    "labels",
    "GET",
    f"{FS}/node/{{node}}/labels",
    "The labels of the bucket where a node stands, by their moments.",
    list[Label],
)
LABEL = Endpoint(
    "label",
    "GET",
    f"{FS}/node/{{node}}/label",
    "One label of the bucket where a node stands.",
    Label,
    query=Named,
)
DIFFERENCES = Endpoint(
    "differences",
    "GET",
    f"{FS}/differences",
    "In what a path differs between two changes.",
    list[Difference],
    query=Compare,
)
LOG = Endpoint(
    "log", "GET", f"{FS}/log", "What happened to a path, and to all below it.", Log, query=LogOf
)
LAST = Endpoint(
    "last",
    "GET",
    f"{FS}/last",
    "The last change as of which a path was whole that has been deleted.",
    Moment,
    query=LastPath,
)
VERSION = Endpoint("version", "GET", f"{FS}/version/{{version}}", "One version.", Version)
CONTENT: Endpoint[bytes] = Endpoint(
    "content",
    "GET",
    f"{FS}/version/{{version}}/content",
    "The bytes of a version; honours Range.",
    BYTES,
)
WHEREABOUTS = Endpoint(
    "whereabouts",
    "GET",
    f"{FS}/version/{{version}}/whereabouts",
    "The key of a version's blob; who asks over a Unix socket is told its file, too.",
    Whereabouts,
)
READ: Endpoint[bytes] = Endpoint(
    "read",
    "POST",
    f"{FS}/read",
    "Many small reads in one round trip; answered as frames.",
    FRAMES,
    body=list[Read],
)
APPLY = Endpoint(
    "apply",
    "POST",
    f"{FS}/apply",
    "Operations, in order, in one round trip.",
    list[Outcome],
    body=FRAMES,
)
USAGE = Endpoint(
    "usage",
    "GET",
    f"{FS}/usage",
    "How much there is, and may be, in all buckets that one may see, or in one.",
    Usage,
    query=UsageOf,
)
RESERVE = Endpoint(
    "reserve",
    "POST",
    f"{FS}/reserve",
    "Ids for files that are made later; nobody else is given them.",
    Reserved,
    body=Reserve,
)
USAGES = Endpoint(
    "usages",
    "GET",
    f"{FS}/usages",
    "How much each bucket holds, its past apart, and what is stored for them.",
    Usages,
    query=UsagesOf,
)
RETENTION = Endpoint(
    "retention",
    "GET",
    f"{FS}/bucket/{{bucket}}/retention",
    "How much of its past a bucket keeps.",
    Retention,
)
PRUNE = Endpoint(
    "prune",
    "POST",
    f"{FS}/bucket/{{bucket}}/prune",
    "Take from history what the bucket's retention does not keep.",
    Pruned,
    body=PruneHistory,
)
HOLD = Endpoint(
    "hold",
    "POST",
    f"{FS}/hold",
    "Keep versions from being pruned for a while: a client has them open or pinned.",
    Held,
    body=Hold,
)
MOMENT = Endpoint(
    "moment", "GET", f"{FS}/moment", "The last change until a moment.", Moment, query=When
)
FEED: Endpoint[bytes] = Endpoint(
    "feed",
    "GET",
    f"{FS}/feed",
    "The stream of changes, a JSON line each, with heartbeats.",
    LINES,
    query=Since,
)

ALL: tuple[Endpoint[Any], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Endpoint)
)

LOGIN = Endpoint("login", "GET", f"{FS}/login", "Where people log in.", Login)
"""Apart from the others: who has no token yet asks here."""

__all__ = [
    "ALL",
    "Authorize",
    "CopyFile",
    "CreateBucket",
    "CreateFile",
    "Created",
    "CreatedBucket",
    "CreatedFile",
    "Endpoint",
    "Grant",
    "Media",
    "Metadata",
    "Operation",
]
