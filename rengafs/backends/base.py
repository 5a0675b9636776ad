"""`Backend`: what the service asks of a place for bytes. The contract is this text.

A blob is immutable: stored once under a key that the backend makes up, read often, deleted
by the sweeper. What a blob belongs to, and which blobs are still needed, the backend does
not know. ``tests/support/backend_contract.py`` tests every sentence below.

**Atomic.** A blob is there whole or not at all. `put` and `compose` return when the bytes
are durable: they survive a power cut. If they raise, are cancelled, or the process dies,
nothing is there under any key; at most a temporary that `sweep_temporaries` removes.

**Twice.** `put` of the same bytes twice makes two blobs. `delete` of what is gone is good.
`read` may be called any number of times, side by side.

**Errors.** `NoSpace` when full. `Corrupt` when a blob is missing or is shorter than it was:
before the first byte where that can be seen, else in the middle; wrong bytes are never
given silently short. `Unavailable` for what may pass (a timeout, a 503); callers may repeat
any call after it. `BodyMismatch` when the payload of `compose` is not what was announced.

**Waiting.** Nothing blocks the event loop; memory is bounded by a few pieces a call.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass

PIECE_BYTES = 1 << 20
"""Streams are cut into pieces of about this size."""

Extent = tuple[int, int]
"""(offset, length)."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob as it was stored."""

    key: str
    size: int
    sha256: str
    """Of the whole blob, in hex."""


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

    @property
    def payload(self) -> int:
        """Bytes of the payload."""
        return sum(length for _, length in self.extents)


@dataclass(frozen=True, slots=True)
class Space:
    """How much a backend holds. Bytes; None: not known."""

    capacity: int | None = None
    free: int | None = None


class Backend(ABC):
    """A place for blobs."""

    name: str
    """As buckets name it."""

    @abstractmethod
    async def put(self, stream: AsyncIterable[bytes]) -> Stored:
        """Store a stream, whatever the size of its pieces."""

    @abstractmethod
    async def compose(self, plan: Composition, payload: AsyncIterable[bytes]) -> Stored:
        """Store what *plan* says, without moving the base over a network.

        Raises `BodyMismatch` if *payload* is not as long as the extents, or has another hash.
        """

    @abstractmethod
    def read(self, key: str, start: int, stop: int, *, size: int) -> AsyncIterator[bytes]:
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
        """Return how much there is room for."""

    @abstractmethod
    async def sweep_temporaries(self, older_than_seconds: float) -> int:
        """Remove what calls that never ended left behind; return how many."""
