"""Following the feed: what changed elsewhere, and what the kernel must forget because of it.

One streaming request is held for as long as the mount lives. Our own changes come back in
it too, under this mount's name, and are passed over: the kernel has seen them. When the
stream is lost, what the kernel was told to believe for hours is not true for longer than
a second any more, so it is told to forget all of it; the stream then resumes behind the
last change seen, and nothing is missed.
"""

import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
import trio

from rengafs.fs.absence import Absence
from rengafs.fs.kernel import Forget, ForgetEntry, ForgetInode, Kernel
from rengafs.fs.names.inodes import Inode
from rengafs.fs.names.listings import key_of
from rengafs.fs.remote import Remote
from rengafs.fs.volume.volume import Volume
from rengafs.protocol import names
from rengafs.protocol.errors import BadRequest, RengafsError, Unavailable, UnexpectedAnswer
from rengafs.protocol.records import Change, Event, Heartbeat

log = logging.getLogger(__name__)

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
MAX_LINE = 64 << 20
"""Bytes of one change: a rename of a directory is one event, however full it is."""

_change = msgspec.json.Decoder(Change)
_heartbeat = msgspec.json.Decoder(Heartbeat)


class Hearer(Protocol):
    """Who else wants to know what the feed says."""

    def heard(self, event: Event) -> None:
        """Take in a change, this mount's own too."""

    def missed(self) -> None:
        """Take in that the service was away; the feed goes on where it broke off."""

    def began_anew(self) -> None:
        """Take in that the feed could not go on: anything may have changed."""


class Follower:
    """Keeps a volume and the kernel's caches up with the feed."""

    def __init__(
        self,
        volume: Volume,
        remote: Remote,
        kernel: Kernel,
        since: int,
        *,
        absence: Absence | None = None,
        hearers: Sequence[Hearer] = (),
    ) -> None:
        self._volume = volume
        self._remote = remote
        self._kernel = kernel
        self._absence = absence
        self._hearers = hearers
        self.last = since
        """The number of the last change that was taken in; negative: it is still to be asked."""
        self.heard = 0.0
        """When the feed last said something, in seconds since 1970."""
        self.lag = 0.0
        """How long the last change of others took to come here, by both clocks, in seconds."""

    async def run(self) -> None:
        """Follow until cancelled."""
        delay = FIRST_DELAY
        while True:
            try:
                if self.last < 0:
                    self.last = await self._remote.begin()
                async with self._remote.feed(self.last) as stream:
                    async for line in _lines(stream):
                        await self._take(line)
                        delay = FIRST_DELAY
                log.info("the feed has ended after change %d", self.last)
            except BadRequest as error:
                # The catalog is younger than we are: it was restored from a copy.
                log.warning("the feed does not know change %d (%s)", self.last, error)
                await self._restart()
            except RengafsError as error:
                if self._volume.feed_is_live:
                    log.warning("the feed is lost after change %d: %s", self.last, error)
                elif isinstance(error, Unavailable):
                    await self._find_out()
                elif self.last < 0:
                    log.warning("the mount waits for its service: %s", error)
            await self._lost()
            await trio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def _take(self, line: bytes) -> None:
        change = _decoded(line)
        self.heard = time.time()
        if self._absence is not None and self._absence.is_on:
            await self._back(self._absence)
        if change is not None:
            for event in change.events:
                # Also of our own: an answer that is under way may be older.
                self._volume.touched.note(event.node)
            if change.client != self._remote.client:
                self.lag = max(0.0, self.heard - change.at_ms / 1000)
                for event in change.events:
                    for what in self.consequences(event):
                        await self._kernel.forget(what)
                    if event.what == "saved":
                        self._volume.saver.conflicts.heard(event.node, event.version)
            for hearer in self._hearers:
                for event in change.events:
                    hearer.heard(event)
            self.last = change.number
        self._volume.feed_is_live = True

    def consequences(self, event: Event) -> list[Forget]:
        """Take *event* in, and return what the kernel must forget because of it."""
        match event.what:
            case "entered" | "left":
                return self._name_changed(event)
            case "taken":
                return self._name_changed(event)  # of the root, as if it were deleted
            case "saved" | "attributes" | "gone":
                inode = self._volume.inodes.of_node(event.node)
                return [] if inode is None else [_outdated(inode)]
            case _:
                return []

    def _name_changed(self, event: Event) -> list[Forget]:
        found: list[Forget] = []
        name = names.from_wire(event.name)
        self._volume.touched.note(key_of(event.parent, name))
        self._volume.listings.changed(event.parent)
        parent = self._volume.inodes.of_node(event.parent)
        if parent is not None:
            self._volume.directories.changed(parent.number)
            parent.stale = True
            parent.names = None
            found.append(ForgetEntry(parent.number, name))
            found.append(ForgetInode(parent.number, attributes_only=True))
        inode = self._volume.inodes.of_node(event.node)
        if inode is not None:
            found.append(_outdated(inode))
        return found

    async def _lost(self) -> None:
        if not self._volume.feed_is_live:
            return
        self._volume.feed_is_live = False
        self._volume.listings.clear()
        await self._forget_all()

    async def _find_out(self) -> None:
        """Take in that the service is away, if it is, and not only its feed."""
        absence = self._absence
        if absence is not None and not absence.is_on and not await self._remote.answers():
            absence.begin()

    async def _back(self, absence: Absence) -> None:
        """Take in that the service is there again: what was told meanwhile may be outdated."""
        absence.end()
        await self._forget_all()
        for hearer in self._hearers:
            hearer.missed()

    async def _forget_all(self, *, anew: bool = False) -> None:
        """Have everything asked for again; if *anew*, names of directories and history, too.

        A directory whose name the kernel forgets is cut off from the tree for whoever works
        in it, until the name is looked up again: getcwd() fails. What happens to directories
        meanwhile is told as soon as the feed goes on.
        """
        for directory, name in self._volume.absent.take():
            await self._kernel.forget(ForgetEntry(directory, name))
        for inode in self._volume.inodes:
            if not inode.is_live:
                if anew and inode.parent:
                    await self._kernel.forget(ForgetEntry(inode.parent, inode.name))
                continue
            inode.names = None
            if inode.parent and (anew or not inode.node.kind.is_directory):
                await self._kernel.forget(ForgetEntry(inode.parent, inode.name))
            await self._kernel.forget(_outdated(inode))

    async def _restart(self) -> None:
        try:
            self.last = (await self._remote.info()).change
        except RengafsError as error:
            log.warning("the service does not say where its history ends: %s", error)
            return
        if self._absence is not None:
            self._absence.end()  # what is known without the service is outdated as well
        self._volume.touched.note_all()
        self._volume.listings.clear()
        await self._volume.begin_anew()
        await self._forget_all(anew=True)
        for hearer in self._hearers:
            hearer.began_anew()


def _decoded(line: bytes) -> Change | None:
    """Return the change that a line of the feed tells of; None: it tells that the feed lives."""
    try:
        if line.startswith(b'{"heartbeat"'):
            _heartbeat.decode(line)
            return None
        return _change.decode(line)
    except msgspec.DecodeError as error:
        # A proxy's page instead of the service's answer, for one.
        raise UnexpectedAnswer(f"the feed can't be read ({error}): {line[:80]!r}") from None


def _outdated(inode: Inode) -> ForgetInode:
    inode.stale = True
    if not inode.handles:
        inode.cached_version = None
    return ForgetInode(inode.number, attributes_only=inode.handles > 0)


async def _lines(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for piece in stream:
        buffer += piece
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(memoryview(buffer)[:end])
            del buffer[: end + 1]
            if line:
                yield line
        if len(buffer) > MAX_LINE:
            raise UnexpectedAnswer("a line of the feed does not end")
