"""`Reading`: a position in the bytes that an access token may read. No I/O of its own.

Bytes are asked for in blocks of bounded size, each its own request: a block that fails is
asked for again, and a handle that nobody closes holds no connection. An access token
stands for one version, so the blocks fit together whatever is saved meanwhile.
"""

from collections.abc import Iterator

from rengafs.client import calls
from rengafs.client.flow import Flow
from rengafs.client.retry import ask
from rengafs.protocol.errors import RangeNotSatisfiable, UnexpectedAnswer

READ_AHEAD_BYTES = 1 << 20
"""The least that is asked for, so that many small reads are few requests."""
BLOCK_BYTES = 4 << 20
"""The most that is asked for at a time: what a slow line carries within a driver's patience."""


class Reading:
    """Reads on from where the last read ended. One reader at a time."""

    def __init__(self, resource: int, token: str) -> None:
        self.resource = resource
        """The id of the file or version."""
        self._token = token
        self._position = 0
        self._block = b""
        self._start = 0
        """Where the block stands in the version."""
        self._size: int | None = None
        """Of the version, once an answer has told it."""
        self._given = 0
        """Bytes that the last flow of `read` returned."""

    def read(self, size: int | None = -1) -> Iterator[Flow[bytes]]:
        """Yield flows; run in order, they return the next *size* bytes, fewer at the end.

        Without a size, all that are left. They are several so that patience, which bounds
        a flow, is for a block and not for a file. If one raises, the position stays.
        """
        wanted = float("inf") if size is None or size < 0 else size
        at = self._position
        while wanted > 0:
            yield self._next(at, wanted)
            if not self._given:
                break
            at += self._given
            wanted -= self._given
        self._position = at

    def _next(self, at: int, wanted: float) -> Flow[bytes]:
        """Return some bytes from *at* on; none at the end."""
        self._given = 0
        if not self._start <= at < self._start + len(self._block):
            yield from self._fetch(at, wanted)
        first = at - self._start
        last = min(first + wanted, len(self._block))
        piece = self._block[first : int(last)]
        self._given = len(piece)
        return piece

    def _fetch(self, at: int, wanted: float) -> Flow[None]:
        """Make *at* the beginning of the block, which stays empty at the end."""
        self._start, self._block = at, b""
        if self._size is not None and at >= self._size:
            return
        stop = at + int(max(READ_AHEAD_BYTES, min(wanted, BLOCK_BYTES)))
        request = calls.io_read(token=self._token, start=at, stop=stop)
        try:
            reply = yield from ask(request, harmless=True)
        except RangeNotSatisfiable:
            self._size = at
            return
        if reply.status == 206:
            self._size = _size_in(reply.headers.get("content-range", ""), at, len(reply.body))
            self._block = reply.body
        else:
            # The whole version: the answer of a service that does not care for ranges.
            self._size = len(reply.body)
            self._block = reply.body[at:]


def _size_in(content_range: str, at: int, length: int) -> int:
    """Return the size that ``bytes FIRST-LAST/SIZE`` tells."""
    given, _, size = content_range.partition("/")
    if given != f"bytes {at}-{at + length - 1}" or not length or not size.isdigit():
        raise UnexpectedAnswer(f"the service answered with other bytes: {content_range!r}")
    return int(size)
