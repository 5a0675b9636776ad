"""`Backend`: what the service asks of a place for bytes. The contract is this text.

A blob is immutable: stored once under a key that the backend makes up, read often, deleted
by the sweeper. What a blob belongs to, and which blobs are still needed, the backend does
not know. ``tests/support/backend_contract.py`` tests every sentence below.

**Atomic.** A blob is there whole or not at all. `put`, `take`, `compose` and `copy` return when the
bytes are durable: they survive a power cut, or the store has promised so. If they raise, are
cancelled, or the process dies, nothing is there under any key that a caller knows; what the
list shows nevertheless is the sweeper's, and what it does not show `sweep_temporaries`
removes.

**Twice.** `put` of the same bytes twice makes two blobs. `delete` of what is gone is good.
`read` may be called any number of times, side by side.

**Errors.** `NoSpace` when full, or a quota is used up. `Corrupt` when a blob is missing or is
not as long as it was: before the first byte where that can be seen, else in the middle; wrong
bytes are never given silently short. `Unavailable` for what may pass (a timeout, a 503);
callers may repeat any call after it. `BackendRefused` when the store does not let us: another
try would not mend it. `BodyMismatch` when the payload of `compose` is not what was announced.

**Hashes.** `put` tells the sha256 of the whole. What is composed inside a remote store is never
seen whole by the service, so there `compose` may tell a `mark` instead: ``tree:`` and the hash
of the hashes of its pieces, which are of `HASHED_BYTES` each. Equal marks are equal bytes; the
pieces' own hashes go with it, and what is read is compared with them.

**Waiting.** Nothing blocks the event loop; memory is bounded by a few pieces a call (three parts
where bytes are sent over a network: see `rengafs.backends.parts`); every wait has a bound.
"""

from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from dataclasses import dataclass
from pathlib import Path

from rengafs.backends.foreign import Found
from rengafs.protocol.errors import NotSupported

PIECE_BYTES = 1 << 20
"""Streams are cut into pieces of about this size."""
HASHED_BYTES = 8 << 20
"""Length of the pieces that have hashes of their own; the last one may be shorter."""

Extent = tuple[int, int]
"""(offset, length)."""
Needed = Callable[[], Awaitable[Sequence[str]]]
"""Tells, each time anew, the keys of the long blobs that somebody needs."""


async def nobody() -> Sequence[str]:
    """Tell that no blob is needed but those that are listed."""
    return ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob as it was stored."""

    key: str
    size: int
    sha256: str
    """Of the whole blob, in hex; or a mark, see `rengafs.backends.pieces`."""
    pieces: bytes = b""
    """The sha256 of each piece of `HASHED_BYTES`, 32 bytes each; empty: not told."""
    data: bytes = b""
    """All of it, where it is in no store yet: the caller keeps it until it is. No backend of
    this package gives that; see `rengafs.service.parking`."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A blob as a backend's list shows it."""

    key: str
    size: int
    at: float
    """When it was stored, or at the latest begun: seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Composition:
    """A blob to be made of another one and of new bytes.

    The first *length* bytes of the base, zeros behind its end, and over both the payload:
    the bytes of all *extents*, one after another.
    """

    length: int
    base: str | None = None
    """Key of the base; None: there is none, so all but the extents is zero."""
    base_size: int = 0
    extents: Sequence[Extent] = ()
    """Ascending, not overlapping, within *length*."""
    payload_sha256: str = ""
    """Checked if given."""
    base_sha256: str = ""
    """As `Stored` told it."""
    base_pieces: bytes = b""
    """As `Stored` told them; empty: not known."""

    @property
    def payload(self) -> int:
        """Bytes of the payload."""
        return sum(length for _, length in self.extents)


@dataclass(frozen=True, slots=True)
class Space:
    """How much a backend holds. Bytes; None: not known."""

    capacity: int | None = None
    free: int | None = None


class Growing(ABC):
    """A file on this machine that is written from its beginning on, and never over."""

    descriptor: int
    """Of the open file, for reading."""

    @abstractmethod
    def lengths(self) -> AsyncIterator[int]:
        """Yield how much of it is there, until it is whole."""

    @abstractmethod
    def stream(self) -> AsyncIterator[bytes]:
        """Yield its bytes as they come."""


class Backend(ABC):
    """A place for blobs."""

    name: str
    """As buckets name it."""
    distant = False
    """Whether each call is a request over a network."""

    @abstractmethod
    async def put(self, stream: AsyncIterable[bytes], length: int | None = None) -> Stored:
        """Store a stream, whatever its length and the size of its pieces.

        *length* is its length where it is known: it is sent in parts that fit.
        """

    @abstractmethod
    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says, without moving the base over a network.

        Raises `BodyMismatch` if *payload* is not as long as the extents, or has another hash.
        """

    async def take(self, file: Growing) -> Stored:
        """Store what is written to a file.

        It may become the blob itself: once its last length was told, nobody may write to it, and
        it may be made read-only.
        """
        return await self.put(file.stream())

    async def put_as(self, key: str, data: bytes) -> None:
        """Store a small blob under a key of the caller's; distant backends only.

        May be done again, and by several at a time, with the same bytes: if it raises, the blob
        may be there.
        """
        raise NotSupported(f"the backend {self.name} makes its keys itself")

    def compose_now(self, plan: Composition, payload: bytes) -> Stored | None:
        """Do what `compose` does in the calling thread, for a small content.

        None: this backend must be awaited, and has done nothing.
        """
        return None

    async def copy(self, key: str, size: int, *, sha256: str = "", pieces: bytes = b"") -> Stored:
        """Store the bytes of a blob once more. Raises `Corrupt` if it is missing."""
        plan = Composition(size, key, size, base_sha256=sha256, base_pieces=pieces)
        return await self.compose(plan, nothing())

    @abstractmethod
    def read(self, key: str, start: int, stop: int, *, size: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes *start* to *stop* (excluded) of a blob of *size* bytes.

        Raises `Corrupt` if the blob is missing or has not *size* bytes.
        """

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove a blob, if it is there."""

    @abstractmethod
    def list(self) -> AsyncIterator[Listed]:
        """Yield all blobs, in any order; one that comes or goes meanwhile may be missing."""

    @abstractmethod
    async def space(self) -> Space:
        """Return how much there is room for; raise if the backend does not work."""

    @abstractmethod
    async def sweep_temporaries(self, older_than_seconds: float, needed: Needed = nobody) -> int:
        """Remove what calls that never ended left behind; return how many.

        :param needed: tells of all blobs of over `HASHED_BYTES` that are known: what they are
            made of stays, even if the store's list does not show them yet.
        """

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a URL from which anybody may read a blob for a while; None: there is none."""
        return None

    def file_of(self, key: str) -> Path | None:
        """Return the file that is a blob, where it is one on this machine. It need not exist."""
        return None

    async def waiting(self, older_than_seconds: float) -> Sequence[str]:
        """Return the keys of blobs that `draw_out` has work with."""
        return ()

    async def draw_out(self, key: str) -> None:
        """Do what could wait when a blob was stored. It reads the same before, meanwhile, after.

        May be repeated, or left undone for ever; nothing if the blob is gone.
        """
        return

    def others(self, container: str) -> AsyncIterator[Found]:
        """Yield what other programs stored in a container: all versions of all objects.

        Versions of one object come one after another. Their keys are `Foreign`'s. Raises
        `NotSupported` where there is nothing of the kind, `BackendRefused`.
        """
        raise NotSupported(f"the backend {self.name} has no containers to adopt")

    async def aclose(self) -> None:
        """Let go of connections. Nothing may be asked afterwards."""
        return


async def nothing() -> AsyncIterator[bytes]:
    """Yield no bytes."""
    pieces: tuple[bytes, ...] = ()
    for piece in pieces:
        yield piece
