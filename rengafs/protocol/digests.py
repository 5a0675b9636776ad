"""Hashes that go with a request's body, so that what was damaged on its way is not taken.

A body that is sent in one piece has a header, `CONTENT_DIGEST` (RFC 9530). The hash of one
that is streamed is known at its end only: its last frame is a `Sum`, as `SUMMED_HEADER` says.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping

import msgspec

from rengafs.protocol import frames
from rengafs.protocol.errors import BadRequest, Unavailable

CONTENT_DIGEST = "content-digest"
SUMMED_HEADER = "rengafs-summed"
MOST_BYTES = 8 << 20
"""Of a body with a header: it is taken whole before anything in it is carried out."""

_ALGORITHM = "sha-256"
_MARK = b'{"sum":'


class Sum(msgspec.Struct, frozen=True):
    """The end of a body: the SHA-256, as hex digits, of all lines before it and of payloads.

    Pieces that came ahead of a commit are left out: `Commit.payload_sha256` has theirs.
    """

    sum: str


def header_of(body: bytes) -> dict[str, str]:
    """Return the header that goes with a body."""
    text = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {CONTENT_DIGEST: f"{_ALGORITHM}=:{text}:"}


def announced(headers: Mapping[str, str]) -> bytes | None:
    """Return the SHA-256 that a header announces; None: none does.

    Raises `BadRequest` for a header that can't be read. Hashes of other kinds are passed over.
    """
    for field in headers.get(CONTENT_DIGEST, "").split(","):
        name, _, value = field.strip().partition("=")
        if name.strip().lower() == _ALGORITHM:
            try:
                return base64.b64decode(value.strip().strip(":"), validate=True)
            except binascii.Error:
                raise BadRequest(
                    f"the header {CONTENT_DIGEST} is not {_ALGORITHM}=:BASE64:"
                ) from None
    return None


def damaged(why: str = "its hash is another") -> Unavailable:
    """Return the error for a body that is not what was sent; it is worth sending again."""
    return Unavailable(f"the request was damaged on its way: {why}")


class Summing:
    """Takes the hash of a body's lines and payloads as they go by."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Take in a line, without its end, or some of a payload."""
        self._digest.update(data)

    def line(self, record: msgspec.Struct) -> bytes:
        """Return a frame's line, and take it in."""
        text = frames.encode(record)
        self.add(text[:-1])
        return text

    def end(self) -> bytes:
        """Return the last frame."""
        return frames.encode(Sum(sum=self._digest.hexdigest()))

    def is_end(self, line: bytes) -> bool:
        """Whether a line is a good last frame. Raises `Unavailable` for one that is another's."""
        if not line.startswith(_MARK):
            return False
        if line != self.end()[:-1]:
            raise damaged()
        return True
