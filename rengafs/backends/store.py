"""`Store`: what a remote object store can do, one request a method. `remote` makes backends of it.

A method makes one attempt, bounded in time, and raises as `Backend` says; who calls it tries
again. Only a list does that itself, page by page: begun anew, it would tell everything again. An
object appears whole at the end of `put`, or of `finish`.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field

from rengafs.backends.base import Listed, Needed, Space, nobody
from rengafs.backends.foreign import Found
from rengafs.backends.patience import Patience


@dataclass(frozen=True, slots=True)
class Bytes:
    """The bytes of a part, as the pieces that came; joined only where a library needs it."""

    pieces: Sequence[bytes]
    md5: bytes

    @property
    def size(self) -> int:
        """Their number."""
        return sum(map(len, self.pieces))


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the store has."""

    number: int
    """From 0 on."""
    size: int
    entries: Sequence[dict[str, object]]
    """What the store needs to know of it at the end."""


@dataclass(slots=True)
class Upload:
    """An object that is being made of parts."""

    key: str
    id: str = ""
    base: str | None = None
    """Key of the blob from which parts are copied."""
    base_size: int = 0
    notes: dict[str, object] = field(default_factory=dict)
    """What the store keeps between calls."""


class Store(ABC):
    """An object store: a container of it that is ours."""

    part_bytes: int
    """Length of the parts that are sent, a multiple of `HASHED_BYTES`."""
    copied_bytes: int
    """The most that is copied at once, a multiple of `HASHED_BYTES`."""
    max_parts: int
    page_items: int
    """The most that is asked for in one page of a list."""
    patience = Patience()

    @abstractmethod
    async def put(self, key: str, data: Bytes) -> None:
        """Store a small object."""

    @abstractmethod
    async def begin(self, upload: Upload) -> None:
        """Begin an object of parts. Raises `Corrupt` unless its base is there in full length."""

    @abstractmethod
    async def send_part(self, upload: Upload, number: int, data: Bytes) -> Part:
        """Store a part."""

    @abstractmethod
    async def copy_part(self, upload: Upload, number: int, start: int, stop: int) -> Part:
        """Make a part of bytes *start* to *stop* of the upload's base."""

    @abstractmethod
    async def finish(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Make the object of its parts, which are all there. May be called again.

        Returns when the object is there, and has the length of all parts.
        """

    @abstractmethod
    async def abandon(self, upload: Upload) -> None:
        """Remove all parts, and the object if it should be there."""

    @abstractmethod
    def get(self, key: str, start: int, stop: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield a range of an object of *size* bytes. *start* is less than *stop*."""

    @abstractmethod
    async def check(self, key: str, size: int) -> None:
        """Raise `Corrupt` unless the object is there with that size."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

    @abstractmethod
    def list(self) -> AsyncIterator[Listed]:
        """Yield all objects."""

    @abstractmethod
    async def space(self) -> Space:
        """Return how much there is room for."""

    @abstractmethod
    async def sweep(self, before: float, needed: Needed = nobody) -> int:
        """Remove parts of uploads that were begun before a moment and never ended.

        :param needed: as `Backend.sweep_temporaries` has it.
        """

    @abstractmethod
    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a URL for reading an object, if the store can."""

    @abstractmethod
    def others(self, container: str) -> AsyncIterator[Found]:
        """Yield all versions of all objects of any container."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close connections."""
