"""What a call of the filesystem's API asks for, behind the ``?``: one struct a kind of question."""

import msgspec


class At(msgspec.Struct, frozen=True, kw_only=True):
    """``at``: the change whose view is meant; None is now."""

    at: int | None = None


class ListEntries(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a directory."""

    at: int | None = None
    after: str = ""
    """The shown name behind which the page begins; it may have left the directory since."""
    limit: int = 1000


class FindEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One shown name of a directory."""

    name: str
    at: int | None = None


class FindPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path of shown names from the root: ``bucket/dir/file``."""

    path: str
    at: int | None = None


class NameHistory(msgspec.Struct, frozen=True, kw_only=True):
    """The history of one shown name of a directory."""

    name: str
    after: str = ""
    limit: int = 1000
    from_ms: int | None = None
    """Only what was saved then or later."""
    until_ms: int | None = None
    """Only what was saved then or before."""


class Compare(msgspec.Struct, frozen=True, kw_only=True):
    """Two states of a path; None is now."""

    path: str
    before: int | None = None
    after: int | None = None


class LogOf(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the log of a path."""

    path: str
    before: int = 0
    """Only changes before this one; 0: all."""
    limit: int = 1000


class LastPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path that has been deleted."""

    path: str


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """One thing by its name."""

    name: str


class ListPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of anything."""

    after: str = ""
    limit: int = 1000


class UsageOf(msgspec.Struct, frozen=True, kw_only=True):
    """How much the bucket of a node holds; None: all buckets that the user may see."""

    node: int | None = None


class UsagesOf(msgspec.Struct, frozen=True, kw_only=True):
    """How much one bucket holds; None: each bucket that the user may see."""

    bucket: int | None = None


class When(msgspec.Struct, frozen=True, kw_only=True):
    """A moment, in milliseconds since 1970."""

    at_ms: int


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """The last change that the client knows."""

    since: int = 0
