"""What the service remembers, as it travels: frozen structs, integers in plain units.

Ids (buckets, directories, files, versions, …) share one 64-bit space; the root, whose
entries are the buckets, is `ROOT`. Moments are milliseconds since 1970 (``_ms``), file
times nanoseconds (``_ns``), sizes bytes. Names are wire names (see `names`).
"""

from enum import StrEnum
from typing import Any

import msgspec

from rengafs.protocol.errors import Problem

ROOT = 1
"""The id of the directory of all buckets; also FUSE's root inode."""

FIRST_ID = 256
"""Ids below are reserved for what is not in the catalog."""


class Kind(StrEnum):
    """What stands at a name."""

    BUCKET = "bucket"
    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER = "character"
    BLOCK = "block"

    @property
    def is_directory(self) -> bool:
        """Whether entries can stand below it."""
        return self in (Kind.BUCKET, Kind.DIRECTORY)


class Node(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A bucket, directory, file, … with its attributes as they are, or were at a change."""

    id: int
    kind: Kind
    mode: int
    """Permission bits, 0 to 0o7777."""
    size: int = 0
    """Bytes of content; of a symlink's target; 0 for directories."""
    links: int = 1
    """Names that the node has now; of a directory 2, and one more for each subdirectory.
    0: it has been deleted."""
    uid: int | None = None
    """Owner once set by chown; else whoever mounts."""
    gid: int | None = None
    mtime_ns: int = 0
    ctime_ns: int = 0
    atime_ns: int = 0
    created_ns: int = 0
    version: int | None = None
    """Id of the current version; None for a file never saved and for all but files."""
    sha256: str = ""
    """Of the current version, in hex; empty where the node has none."""
    target: str = ""
    """Of a symlink."""
    device: int = 0
    """``st_rdev`` of a device node."""
    xattrs: dict[str, bytes] = {}
    """``user.*`` and the like; values are base64 in JSON."""
    backend: str = ""
    """Of a bucket: the name of the backend where its blobs lie."""
    origin: str = ""
    """The URL of what came ``from_url``."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A name in a directory."""

    name: str
    """As a path shows it (see `names`): fit for a path component, unique in its directory."""
    node: Node
    raw: str = ""
    """The name in the catalog, where it is not the shown one."""
    parent: int = 0
    """Id of the directory."""


class Page(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of a directory, sorted by name bytes."""

    entries: list[Entry]
    change: int
    """The listing is as of this change; ask for the other pages with ``at`` = this."""
    next: str = ""
    """What to give as ``after`` for the next page: the last shown name; empty at the end."""


class Version(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One immutable state of a file's bytes."""

    id: int
    file: int
    size: int
    sha256: str
    created_ms: int
    change: int
    author: str = ""
    base: int | None = None
    """The version that the edit started from; None for a new file or unknown."""
    conflict: bool = False
    """Another version had become current since *base*."""
    mtime_ns: int = 0
    mode: int = 0o644
    name: str = ""
    """The raw name under which it was current (wire form); in histories of a name."""
    backend: str = ""
    """The name of the backend where its blob lies."""


class Versions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of a history, oldest first."""

    versions: list[Version]
    next: str = ""


class PastName(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A name that a directory has or once had, with something to show for it."""

    name: str
    """As a path shows it."""
    kind: Kind
    node: int
    """The node that bears the name, or bore it last."""
    live: bool
    """Whether the name is in the directory now."""
    until_ms: int = 0
    """When it left, if it did."""
    raw: str = ""


class PastNames(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of the names of a directory, past and present, sorted by name bytes."""

    names: list[PastName]
    next: str = ""


class Label(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A name for a moment of a bucket: ``.versions/@NAME/``."""

    bucket: int
    name: str
    at_ms: int
    """The moment that was named."""
    change: int
    """The last change until then: what the view shows."""
    author: str = ""
    created_ms: int = 0
    """When the label was put."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing in which two states of a path differ."""

    path: str
    """Below the path that was compared; empty: itself."""
    how: str
    """``added``, ``removed``, ``changed`` (other content), ``replaced`` (of another kind),
    ``attributes`` (mode, owner, xattrs)."""
    kind: Kind
    """After; of what was removed, before."""
    before: int | None = None
    """Version, of a file that was there before and saved."""
    after: int | None = None
    size_before: int = 0
    size_after: int = 0


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one change did to one file or directory."""

    change: int
    at_ms: int
    what: str
    """``made``, ``saved``, ``replaced`` (saved by a rename over it), ``renamed``,
    ``deleted``, ``linked``, ``unlinked``, ``attributes``, ``restored``, ``cloned``,
    ``labelled``, ``unlabelled``, ``retention`` (*label* is the new rule), ``pruned``,
    ``shared``, ``unshared``."""
    action: str
    """The operation, or ``apply`` for several in one change."""
    node: int
    kind: Kind
    path: str
    """``bucket/dir/file`` by the directory's present name; of a rename, the new path."""
    source: str = ""
    """Of a rename: the old path."""
    author: str = ""
    host: str = ""
    version: int | None = None
    size: int | None = None
    """Bytes that were saved."""
    conflict: bool = False
    """Of a save: it was begun on an older version than the one it replaced. Both are kept."""
    pruned: int = 0
    """Of a save: 1 if its bytes went, as the retention says; of a prune: versions that went."""
    label: str = ""


class Log(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A piece of a log, newest first."""

    entries: list[LogEntry]
    next: int = 0
    """What to give as ``before`` for the next piece; 0 at the end."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much there is, and how much more there may be. Bytes; None: not known."""

    live_bytes: int
    """Of current versions."""
    history_bytes: int
    """Of all other versions."""
    files: int
    capacity_bytes: int | None = None
    free_bytes: int | None = None
    quota_bytes: int | None = None
    """The most that live and history together may be; of all buckets, if each has a quota."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that a change did. Which fields are set depends on *what*."""

    what: str
    """``entered``: *node* now stands at (*parent*, *name*). ``left``: no longer.
    ``saved``: *node* has the new *version*. ``attributes``: *node*'s were set.
    ``made`` and ``gone``: *node* came to be, or lost its last name.
    ``labelled`` and ``unlabelled``: the bucket *node* has, or lost, the label *name*.
    ``retention``: the bucket *node* has the rule *name*. ``pruned``: *other* versions went.
    ``taken``: the bucket *node*, called *name*, may no longer be seen by who is told this."""
    node: int
    bucket: int = 0
    parent: int = 0
    name: str = ""
    """Shown name."""
    version: int = 0
    kind: Kind | None = None
    other: int = 0
    """``entered`` by a rename over a file: the node whose name went away."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A numbered entry of the catalog's history: one transaction."""

    number: int
    at_ms: int
    action: str
    """What was asked for: ``commit``, ``rename``, …"""
    author: str = ""
    host: str = ""
    """The machine that asked, as it calls itself."""
    client: str = ""
    """The mount or client that asked, so that it knows its own changes in the feed."""
    events: list[Event] = []


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """What the feed says when nothing happens: the stream lives, and nothing is missing."""

    heartbeat: int
    """The number of the last change."""


class Import(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is to be fetched into a file."""

    url: str
    """http or https, without user name and password."""
    max_bytes: int
    """More is refused, and nothing saved."""


class ImportProgress(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How far an import is; the last line has *version* or *problem*."""

    done: int
    """Bytes that came so far."""
    total: int | None = None
    """Bytes that are announced."""
    version: Version | None = None
    problem: Problem | None = None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A moment, and the last change until then."""

    at_ms: int
    change: int


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, and for whom."""

    service: str
    """Version of rengafs."""
    catalog: str
    """Identity of the data, made with the catalog: keys caches, survives a move."""
    change: int
    user: str
    now_ms: int
    backends: list[str]


class Whereabouts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where the blob of a version lies: in its backend, and in a file for who may open that."""

    blob: str = ""
    """Its key in the backend, under which other tools find it there; empty: no bytes."""
    path: str = ""
    """Absolute; empty where the bytes are not in a file of that machine."""
    device: int = 0
    """``st_dev`` and ``st_ino``: on another machine, the same path is another file."""
    inode: int = 0
    size: int = 0
    sha256: str = ""


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """How many ids a client wants for files that it is going to make."""

    count: int


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """Ids from *first* on, *count* of them."""

    first: int
    count: int


class Login(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where people log in; without an *issuer*, tokens are given by hand."""

    issuer: str = ""
    """The address of an OpenID Connect issuer."""
    client_id: str = ""
    """What rengafs is called there."""
    scope: str = "openid"
    """What to ask for."""


class Read(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One of many small reads in one request; a *length* of None reads to the end."""

    version: int
    offset: int = 0
    length: int | None = None


class ReadResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The answer to a `Read`; its *payload* bytes follow in the frame."""

    version: int
    offset: int
    payload: int
    size: int
    """Of the whole version."""
    sha256: str = ""
    problem: dict[str, Any] | None = None
    """A `Problem` where this one read failed; then *payload* is 0."""
