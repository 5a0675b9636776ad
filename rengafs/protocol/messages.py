"""`Request` and `Reply`: HTTP as data, without a socket."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from rengafs.protocol import digests

Stream = Iterable[bytes] | AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A body that can be streamed again after a failure: *make* begins it anew."""

    make: Callable[[], Stream]


Body = bytes | Fresh | Stream
"""Bytes, a stream that can be begun again, or one that can be sent only once."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = b""
    digested: bool = False
    """Its hash goes with the body, if that is bytes and not too long: see `digests`."""

    @property
    def repeatable(self) -> bool:
        """Whether the body can be sent again after a failure."""
        return isinstance(self.body, bytes | Fresh)

    @property
    def hashed(self) -> bytes | None:
        """The body whose hash is to be sent with it; None: it is sent without."""
        body = self.body
        fits = self.digested and isinstance(body, bytes) and len(body) <= digests.MOST_BYTES
        return body if fits and isinstance(body, bytes) else None

    @property
    def content(self) -> bytes | Stream:
        """The body for one sending."""
        return self.body.make() if isinstance(self.body, Fresh) else self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, read to its end. Header names are lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
