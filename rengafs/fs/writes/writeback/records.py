"""What a journal's records say. Frozen values; `journal` puts them on disk."""

import msgspec

from rengafs.protocol.operations import Commit, MakeFile, SetAttributes

Range = tuple[int, int]


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Whose journal it is: only the same user of the same service may send it."""

    catalog: str
    user: str
    mount: str = ""
    """Which mount: its drafts may name local versions of this journal as their base."""
    mountpoint: str = ""
    """For people."""


class Queued(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="queued"):
    """Something that the service has yet to do."""

    number: int
    """Ascending in its journal. What a commit makes is the local version ``-number``, until
    the service has given it an id; later entries of the file name it so as their base."""
    file: int
    operation: MakeFile | Commit | SetAttributes
    name: str = ""
    """For people: where the file was last seen."""
    at_ms: int = 0
    draft: str = ""
    """The directory of the draft that holds the payload; empty: it follows the record."""
    local: list[Range] = []
    """Of a payload in a draft, what is in its file; the rest is zeros."""

    @property
    def payload(self) -> int:
        """Bytes that are to be sent."""
        return self.operation.payload if isinstance(self.operation, Commit) else 0


class Done(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag="done"):
    """An entry that the service has answered for, or that was put aside."""

    number: int
    version: int | None = None
    """What its local version is called by the service."""
    file: int | None = None
    """The file that it went to, where that is not the one that was meant."""
    meant: int | None = None
    """That one, then."""


Record = Queued | Done
