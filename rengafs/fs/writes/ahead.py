"""Content sent while it is being written, so that close has little left to send.

A file that is written from its beginning on, as cp and tar do, is followed: what is there is
sent as the content of a commit to come. If it is then saved as it was sent, the commit is the
last line of the same request. Whatever else happens (bytes are written over, the file is cut,
the service does not answer), the sending is broken off, nothing has come of it, and the commit
goes the way of all others; it has the same key, so it is carried out once.

A service on this machine need not be sent the bytes: it is told which file they lie in, and how
many of them are there. It may make that file the blob; so before the commit is sent, the file is
given away, and what is written later goes to a copy.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import trio
from msgspec.structs import replace

from rengafs.protocol.digests import Summing
from rengafs.protocol.errors import NotSupported, RengafsError
from rengafs.protocol.operations import (
    Apply,
    Commit,
    FileHere,
    Outcome,
    Piece,
    SetAttributes,
)

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
LYING_BYTES = 8 << 20
"""The same, of what need not travel."""
AT_ONCE = 4
"""Files that are followed: each has a connection of its own."""
IDLE_SECONDS = 10.0
"""A writer that pauses for longer does not keep a request waiting."""


class Written(Protocol):
    """Who writes the file. A `Draft`."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes from an offset on, as they are now."""

    async def lying(self) -> FileHere:
        """Return the file on this disk that has all that was written."""

    async def give(self) -> None:
        """Write to that file no more."""


class Service(Protocol):
    """Who takes it. A `Remote`."""

    client: str

    async def apply_ahead(self, body: AsyncIterator[bytes]) -> list[Outcome]:
        """Send a body of ``apply``, once."""


class Sending:
    """The content of one file on its way. Made by `Senders`."""

    def __init__(
        self, service: Service, node: int, written: int, source: Written, *, here: bool
    ) -> None:
        self.node = node
        self.here = here
        """Whether the service reads the file itself."""
        self._service = service
        self._source = source
        self._piece = LYING_BYTES if here else PIECE_BYTES
        self._written = written
        """All bytes below are there."""
        self._sent = 0
        self._tail: list[Commit | SetAttributes] = []
        """What ends the request: then only bytes below *_target* are sent."""
        self._target: int | None = None
        self._is_over = False
        """Broken off, or the end is sent: what is written now is of no concern."""
        self._is_broken = False
        self._news = trio.Event()
        self._done = trio.Event()
        self._scope = trio.CancelScope()
        self._outcomes: list[Outcome] | None = None

    def wrote(self, start: int, stop: int) -> None:
        """Take in that bytes *start* to *stop* (excluded) are new."""
        if self._is_over:
            return
        if self._target is not None:
            if start < self._target:
                self.break_off()
        elif start < self._sent or start > self._written:
            self.break_off()  # sent already, or not from beginning to end
        else:
            self._written = max(self._written, stop)
            if self._written - self._sent >= self._piece:
                self._news.set()

    def cut(self, length: int) -> None:
        """Take in that the file has become shorter."""
        if length < (self._written if self._target is None else self._target):
            self.break_off()

    def break_off(self) -> None:
        """Send no more; nothing comes of what was sent, unless it has been committed."""
        if not self._is_over:
            self._is_over = self._is_broken = True
            self._scope.cancel()

    async def commit(
        self, operation: Commit, before: Sequence[SetAttributes]
    ) -> list[Outcome] | None:
        """Send the rest, and what it is to be saved as; None: it must be sent another way.

        :param operation: has a key; it may have been carried out even if the answer is None.
        """
        if self._is_over or (operation.node, operation.length) != (self.node, self._written):
            self.break_off()
            return None
        self._tail = [*before, operation]
        self._target = operation.length
        self._news.set()
        try:
            await self._done.wait()
        except BaseException:
            self._scope.cancel()
            raise
        return self._outcomes

    async def run(self) -> None:
        """Send until it is committed or broken off. Raises `NotSupported`: it can't lie here."""
        try:
            with self._scope:
                self._outcomes = await self._service.apply_ahead(self._body())
        except NotSupported:
            raise
        except (RengafsError, trio.ClosedResourceError, trio.TooSlowError) as error:
            log.info("file %d is sent when it is closed: %r", self.node, error)
        finally:
            self._is_over = True
            self._done.set()

    async def _body(self) -> AsyncIterator[bytes]:
        summing, content = Summing(), hashlib.sha256()
        source = await self._source.lying() if self.here else None
        yield summing.line(Apply(client=self._service.client, ahead=self.node, source=source))
        while True:
            end = self._written if self._target is None else self._target
            at, size = self._sent, min(self._piece, end - self._sent)
            if size == self._piece or (size and self._target is not None):
                self._sent = at + size  # from here on it must not change
                if self.here:
                    await self._source.lying()
                    self._refuse_broken()
                    yield summing.line(Piece(lying=size))
                else:
                    data = await self._source.read(at, size)
                    await trio.to_thread.run_sync(content.update, data)
                    self._refuse_broken()
                    yield summing.line(Piece(payload=size)) + data
            elif self._target is not None:
                if self.here:
                    await self._source.give()
                self._refuse_broken()
                self._is_over = True
                sha256 = "" if self.here else content.hexdigest()
                tail = [
                    replace(last, payload_sha256=sha256) if isinstance(last, Commit) else last
                    for last in self._tail
                ]
                yield b"".join(map(summing.line, [Piece(), *tail])) + summing.end()
                return
            else:
                with trio.fail_after(IDLE_SECONDS):
                    await self._news.wait()
                self._news = trio.Event()

    def _refuse_broken(self) -> None:
        if self._is_broken:
            raise trio.ClosedResourceError("the content has changed since")


class Senders:
    """Begins sending.

    :param nursery: where it is done; it must not end before the last commit.
    :param here: whether the service may be able to read this machine's files.
    """

    def __init__(self, service: Service, nursery: trio.Nursery, *, here: bool = False) -> None:
        self._service = service
        self._nursery = nursery
        self._here = here
        self._count = 0

    def begin(self, node: int, written: int, source: Written) -> Sending | None:
        """Send a file that has *written* bytes by now; None: enough others are sent."""
        if self._count >= AT_ONCE:
            return None
        self._count += 1
        sending = Sending(self._service, node, written, source, here=self._here)
        self._nursery.start_soon(self._run, sending)
        return sending

    async def _run(self, sending: Sending) -> None:
        try:
            await sending.run()
        except NotSupported as error:
            log.info("bytes are sent to the service from now on: %s", error)
            self._here = False
        finally:
            self._count -= 1
