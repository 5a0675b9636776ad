"""Small records that the catalog takes and gives beside those of the wire."""

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["reader", "writer", "owner"]
"""What a member of a bucket may: see it; change what is in it; rename, remove and share it."""
ROLES: tuple[Role, ...] = ("reader", "writer", "owner")
"""Each may what those before it may."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for a change, for the log and for receipts."""

    user: int
    """users.id; receipts are kept per user."""
    name: str
    host: str = ""
    client: str = ""
    execution: int | None = None
    project: int | None = None
    everywhere: bool = False
    """May do everything in every bucket, member or not."""


ADMIN = Actor(user=0, name="")
"""Whoever administers the catalog itself, by the command line."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Where bytes lie, and what they are."""

    backend: str
    key: str
    size: int
    sha256: str
    """Hex, or a mark: see `rengafs.backends.pieces`."""
    pieces: bytes = field(default=b"", repr=False, compare=False)
    """The hashes of its pieces, where they are known and were asked for."""
    data: bytes = field(default=b"", repr=False, compare=False)
    """The bytes of what is about to be parked: see `rengafs.catalog.parking`."""


@dataclass(frozen=True, slots=True)
class Content:
    """A version as a reader needs it. *blob* is None for an empty one."""

    version: int
    file: int
    size: int
    sha256: str
    blob: Blob | None


@dataclass(frozen=True, slots=True)
class Base:
    """What a commit is composed from, and where the result belongs."""

    backend: str
    """Of the node's bucket: where the new blob goes."""
    content: Content | None
    """The base version, if the commit has one."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the catalog is told when it is opened."""

    backends: tuple[str, ...] = ("local",)
    """Names that a bucket may have as its backend; the first is the default."""
    droppings: tuple[str, ...] = field(default=())
    """Patterns of names that editors leave behind; see `droppings`."""


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """What a user's token proves."""

    user: int
    name: str
    read_only: bool
    expires_ms: int | None
    everywhere: bool = False
    """May do everything in every bucket, member or not."""
    token: int = 0
    """tokens.id; 0: the token is not one of the catalog's."""


@dataclass(frozen=True, slots=True)
class TokenListing:
    """A token as its list shows it. Moments in ms since 1970; None: never, or not."""

    name: str
    read_only: bool
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None


@dataclass(frozen=True, slots=True)
class Member:
    """A user in a bucket."""

    bucket: int
    name: str
    """Of the user."""
    role: Role
