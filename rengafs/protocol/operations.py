"""Every change that a client may ask for, as one union; and what comes of it.

``POST /fs/apply`` takes a list of them in order and answers with as many outcomes. An
operation is one transaction and one change, unless the request says ``atomic``: then all
are one, and a failure undoes them together. Without ``atomic`` the first failure ends the
list: what follows may depend on it, and is answered ``code: "skipped"``.

*key*: a client that repeats an operation after a lost answer gives it the same key, and
gets the first outcome again instead of a second change, with node and version as they are by
then. Keys are kept for 90 days.
"""

from typing import Literal

import msgspec

from rengafs.protocol.errors import Problem, TooLarge
from rengafs.protocol.records import Kind, Node, Version

MAX_LENGTH = 1 << 50
"""Bytes of one version: a mistake, not a file, is longer."""


def refuse_too_long(length: int) -> None:
    """Raise `TooLarge` for a length that no version may have."""
    if length > MAX_LENGTH:
        raise TooLarge(f"a version has at most {MAX_LENGTH} bytes, not {length}")


class _Operation(
    msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="op", tag=True
):
    key: str = ""


class MakeBucket(_Operation, frozen=True, kw_only=True, tag="make_bucket"):
    """A directory of the root. Unlike the original call, refuses a name that is taken."""

    name: str
    backend: str = ""
    """Empty: the service's default."""
    mode: int = 0o755


class MakeDirectory(_Operation, frozen=True, kw_only=True, tag="make_directory"):
    """An empty directory."""

    parent: int
    name: str
    mode: int = 0o755
    uid: int | None = None
    gid: int | None = None


class MakeFile(_Operation, frozen=True, kw_only=True, tag="make_file"):
    """An empty file, without a version until something is saved.

    Raises `AlreadyExists` if the name is taken, unless *exclusive* is off and a file
    stands there: then the outcome is that file, unchanged.
    """

    id: int | None = None
    """One of ``POST /fs/reserve`` that nothing bears yet: what is saved in it can be sent in
    the same request. None: a new one."""

    parent: int
    name: str
    mode: int = 0o644
    uid: int | None = None
    gid: int | None = None
    exclusive: bool = True


class MakeSymlink(_Operation, frozen=True, kw_only=True, tag="make_symlink"):
    """A symbolic link; *target* is any path of at most 4,095 bytes."""

    parent: int
    name: str
    target: str
    uid: int | None = None
    gid: int | None = None


class MakeSpecial(_Operation, frozen=True, kw_only=True, tag="make_special"):
    """A FIFO, socket or device node."""

    parent: int
    name: str
    kind: Kind
    mode: int = 0o644
    device: int = 0
    uid: int | None = None
    gid: int | None = None


class Link(_Operation, frozen=True, kw_only=True, tag="link"):
    """Another name for *node*, in the same bucket. Not for directories."""

    node: int
    parent: int
    name: str


class Unlink(_Operation, frozen=True, kw_only=True, tag="unlink"):
    """Take a name from the live tree. The versions stay in history."""

    parent: int
    name: str


class RemoveDirectory(_Operation, frozen=True, kw_only=True, tag="remove_directory"):
    """Remove an empty directory; of the root, an empty bucket."""

    parent: int
    name: str


class Rename(_Operation, frozen=True, kw_only=True, tag="rename"):
    """Give an entry another name, directory or bucket, atomically.

    ``replace`` over a file follows the history rule: the file that was there keeps its id
    and its history, and what is renamed becomes its newest version. The outcome's *node*
    is the node that bears the new name afterwards.
    """

    parent: int
    name: str
    new_parent: int
    new_name: str
    how: Literal["replace", "noreplace", "exchange"] = "replace"


class SetAttributes(_Operation, frozen=True, kw_only=True, tag="set_attributes"):
    """Set what is given, leave the rest. Makes no version."""

    node: int
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class SetXattr(_Operation, frozen=True, kw_only=True, tag="set_xattr"):
    """Set an extended attribute; at most 64 KiB each and 64 KiB in all."""

    node: int
    name: str
    value: bytes
    how: Literal["any", "create", "replace"] = "any"


class RemoveXattr(_Operation, frozen=True, kw_only=True, tag="remove_xattr"):
    """Remove an extended attribute."""

    node: int
    name: str


class Commit(_Operation, frozen=True, kw_only=True, tag="commit"):
    """Make a new version: *base* cut or grown to *length*, with *extents* written over it.

    In a frame, *payload* bytes follow: those of the extents, one after another. Bytes that
    neither base nor extents give are zero. Content equal to the current version's makes no
    new version. If *base* is no longer current, both are versions, this one is current,
    and `Version.conflict` says so.
    """

    node: int
    length: int
    """Bytes of the whole new content."""
    base: int | None = None
    """The version that the edit started from; None for a first one, or unknown."""
    whole: bool = False
    """Nothing of *base* shows through: bytes that the extents don't give are zero."""
    extents: list[tuple[int, int]] = []
    """(offset, length), ascending, not overlapping, within *length*."""
    payload: int = 0
    """Sum of the extents' lengths."""
    ahead: bool = False
    """The content came ahead: see `Apply`. No extents then, and no payload."""
    payload_sha256: str = ""
    """Checked before anything is stored, if given; *ahead*: of the content that came."""
    mtime_ns: int | None = None
    """The time of the last write; None: the service's now."""
    atime_ns: int | None = None
    """Set with it; None leaves."""
    handle: str = ""
    """Names the open file. A later commit of the same handle supersedes its earlier one."""
    only_if_base: bool = False
    """Raise `BaseChanged` rather than commit over another version than *base*."""
    origin: str = ""
    """The URL that the content was read from."""


class Clone(_Operation, frozen=True, kw_only=True, tag="clone"):
    """A copy of *source*, without moving bytes; it has a history of its own.

    *source* is a file, one version, a directory with all that is in it, or a bucket, which
    is cloned to a new one among the buckets.
    """

    source: int
    parent: int
    name: str
    at: int | None = None
    """Copy it as it was as of this change; None: as it is. Not for a version."""


class Restore(_Operation, frozen=True, kw_only=True, tag="restore"):
    """Make a path, with all below it, what it was, in one change.

    What is deleted comes back with its id and its history; what has other content gets the
    old one as a new version; what came to be since stays. Raises `NotFound` for a path that
    was not there then, `AlreadyExists` where something of another kind is in the way.
    """

    path: str
    """``bucket/dir/file``, of shown names."""
    at: int
    """The change as of which."""


class PutLabel(_Operation, frozen=True, kw_only=True, tag="label"):
    """Name a moment of a bucket; a label of that name is moved.

    Raises `InvalidName` for what reads as a moment or can't be a name, `BadRequest` for a
    moment to come or before the bucket was made.
    """

    bucket: int
    name: str
    at_ms: int | None = None
    """None: now."""


class DropLabel(_Operation, frozen=True, kw_only=True, tag="unlabel"):
    """Take a label away. What it named stays in history. Raises `NotFound`."""

    bucket: int
    name: str


class SetRetention(_Operation, frozen=True, kw_only=True, tag="retention"):
    """Say how much of its past a bucket keeps: see `rengafs.protocol.retention`.

    Nothing goes before somebody prunes. Raises `BadRequest` for what is no rule.
    """

    bucket: int
    rule: str
    """``all`` keeps everything for ever."""


Operation = (
    MakeBucket
    | MakeDirectory
    | MakeFile
    | MakeSymlink
    | MakeSpecial
    | Link
    | Unlink
    | RemoveDirectory
    | Rename
    | SetAttributes
    | SetXattr
    | RemoveXattr
    | Commit
    | Clone
    | Restore
    | PutLabel
    | DropLabel
    | SetRetention
)


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What came of one operation: a change, or a problem."""

    change: int = 0
    """0: nothing had to change, or there is a problem."""
    node: Node | None = None
    """The node that the operation made, changed, or left at the name."""
    version: Version | None = None
    """Of a commit: the version that is current now, new or not."""
    moved: int | None = None
    """Of a rename: the id of the node that stood at the old name."""
    replaced: int | None = None
    """Of a rename: the id of the node that lost a name by it, often its last."""
    restored: int = 0
    """Of a restore or a clone: entries that were made, brought back or changed."""
    problem: Problem | None = None


SOURCE_DATA, SOURCE_ABOUT = "data", "about.json"


class FileHere(msgspec.Struct, frozen=True, kw_only=True):
    """A file on the service's own machine: `SOURCE_DATA` in a directory.

    Beside it, `SOURCE_ABOUT` is JSON of which the member ``file`` is the node whose content it is.
    """

    directory: str
    device: int
    """Of the file, as stat(2) tells it."""
    inode: int


class Apply(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The first frame of an ``apply`` request."""

    atomic: bool = False
    client: str = ""
    """Comes back in `Change.client`."""
    ahead: int | None = None
    """A file of which the whole new content comes first, before its length is known: `Piece`
    frames, an empty one at the end. A `Commit` behind them takes it."""
    source: FileHere | None = None
    """Where that content lies, if it need not travel: with *ahead*, over a Unix socket, from who
    is the same user as the service. The file may become the blob itself: once the request's end
    is sent, nobody may write to it."""


class Piece(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A frame of content that comes ahead: bytes that follow, or that lie in the source."""

    payload: int = 0
    lying: int = 0
    """So many bytes more of the source are as they are to be saved."""
