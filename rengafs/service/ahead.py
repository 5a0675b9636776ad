"""Content that comes before its commit: sent while it was being written.

A client that writes a large file does not know its length, nor what it will be saved as, until
it is closed. So its request begins with the content, in pieces, and ends with the commit. The
pieces are in the body, or in a file that the client has written: see `lying`.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Actor, Base, Blob
from rengafs.protocol.digests import damaged
from rengafs.protocol.errors import BadRequest, BodyMismatch
from rengafs.protocol.frames import Line
from rengafs.protocol.operations import Commit, Outcome, Piece
from rengafs.service import storing
from rengafs.service.calls import decode
from rengafs.service.lying import Source
from rengafs.service.parts import Parts


class Lines(Protocol):
    """The frames of a body."""

    async def line(self) -> Line | None:
        """Return the next line, or None at the end of the body."""

    def payload(self, count: int) -> AsyncIterator[bytes]:
        """Yield the payload of the line before."""


class Ahead:
    """What came ahead for one file, until a commit takes it."""

    def __init__(self, parts: Parts, actor: Actor, node: int, source: Source | None = None) -> None:
        self._parts = parts
        self._source = source
        self._actor = actor
        self._node = node
        self._blob: Blob | None = None

    async def receive(self, lines: Lines) -> None:
        """Store the pieces, up to the first that is empty. Raises as a commit would."""
        commit = Commit(node=self._node, length=0)
        base = await self._parts.read(Catalog.prepare_commit, self._actor, commit)
        assert not isinstance(base, Outcome), "without a key there is no receipt"
        if self._source is None:
            self._blob = await storing.put(self._parts, base, _pieces(lines))
        else:
            self._source.feed(_lying(lines))
            self._blob = await storing.take(self._parts, base, self._source)

    def check(self, operation: Commit) -> None:
        """Raise `Unavailable` where what came is not what was sent, by the hash at its end."""
        blob, wanted = self._blob, operation.payload_sha256.lower()
        if operation.ahead and wanted and blob is not None and blob.sha256 != wanted:
            raise damaged("the content has another hash")

    def take(self, operation: Commit, base: Base) -> Blob:
        """Return the blob for a commit that says it came ahead. Raises `BadRequest`."""
        blob = self._blob
        fits = (
            blob is not None
            and operation.node == self._node
            and operation.length == blob.size
            and base.backend == blob.backend
            and not operation.extents
        )
        if blob is None or not fits:
            raise BadRequest("no content came ahead that this commit describes")
        self._blob = None
        return blob

    async def discard(self) -> None:
        """Remove what no commit took."""
        blob, self._blob = self._blob, None
        if blob is not None:
            await storing.discard(self._parts, blob)


async def _pieces(lines: Lines) -> AsyncIterator[bytes]:
    async for line in _until_empty(lines):
        async for piece in lines.payload(line.payload):
            yield piece


async def _lying(lines: Lines) -> AsyncIterator[int]:
    async for line in _until_empty(lines):
        if line.payload:
            raise BadRequest("content that lies in a source has no payload")
        yield decode(line.json, Piece).lying


async def _until_empty(lines: Lines) -> AsyncIterator[Line]:
    while True:
        line = await lines.line()
        if line is None:
            raise BodyMismatch("the body ended within content that came ahead")
        if not line.payload and decode(line.json, Piece).lying <= 0:
            return
        yield line
