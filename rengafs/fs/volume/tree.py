"""`Tree`: what the parts of a volume share: the inode table, the service, what both say.

Names are changed in `naming`, attributes and contents in `volume`; both stand on this.
"""

from dataclasses import replace
from itertools import pairwise

import msgspec
import trio

from rengafs.fs.absence import Absence
from rengafs.fs.names import attributes, entering
from rengafs.fs.names.absent import Absent
from rengafs.fs.names.attributes import Stat
from rengafs.fs.names.directories import OpenDirectories
from rengafs.fs.names.history import History
from rengafs.fs.names.inodes import Inode, Inodes, Past, What
from rengafs.fs.names.listings import Listings, key_of
from rengafs.fs.names.markers import Markers
from rengafs.fs.names.requests import Caller, VolumeOptions
from rengafs.fs.names.touched import Touched
from rengafs.fs.reads.neighbours import Neighbours, is_small
from rengafs.fs.remote import Remote
from rengafs.fs.volume.contents import Contents
from rengafs.fs.volume.openfiles import OpenFiles
from rengafs.protocol import names
from rengafs.protocol.errors import NotAuthenticated, NotFound, ReadOnly, RengafsError, Unavailable
from rengafs.protocol.operations import Operation, Outcome
from rengafs.protocol.records import ROOT, Node

LIVE_SECONDS = 3600.0
"""How long the kernel may believe what we said while the feed lives: it is told of changes."""
LOST_SECONDS = 1.0
"""How long it may while the feed is lost."""
TOP_SECONDS = 0.5
"""How long the top waits to be told anew: what it says of the mount needs no service."""
HISTORY_SECONDS = 1.0
"""How long a name under ``.versions/`` is believed: the feed does not speak of those."""


class Tree:
    """One mounted tree, as far as its parts share it."""

    def __init__(
        self,
        remote: Remote,
        root: Node,
        contents: Contents,
        options: VolumeOptions,
        background: trio.Nursery | None = None,
    ) -> None:
        self.inodes = Inodes(root)
        self.touched = Touched()
        self.absent = Absent(LIVE_SECONDS)
        self.listings = Listings(self.touched, self._is_fresh)
        self.neighbours = Neighbours()
        self._readers = contents.readers
        self._background = background
        """Where pages of directories are fetched ahead of time."""
        self.feed_is_live = False
        """Set by whoever follows the feed."""
        self.absence = Absence(float("inf"))
        """Whether the service is away; set by whoever mounts."""
        self._remote = remote
        self.saver = contents.saver
        self.files = OpenFiles(self.inodes, contents)
        self.directories = OpenDirectories(self.inodes)
        self._options = options
        self._history = History(remote)
        self._markers = Markers(shown=not options.index)

    def stat(self, inode: Inode) -> Stat:
        """Return what stat says, without asking anybody."""
        stat = attributes.describe(inode.number, inode.what, self._options.owner)
        if inode.content is not None and inode.content.is_unsaved:
            return stat.with_draft(inode.content.size, inode.content.mtime_ns)
        held_back = inode.held_back
        return stat if held_back is None else replace(stat, size=held_back.size)

    def told(self, inode: Inode) -> tuple[Stat, float]:
        """Return what the kernel is told of an inode, and for how many seconds it is good."""
        inode.told_old = inode.held_back is not None
        if inode.stale or inode.told_old:
            return self.stat(inode), 0.0
        return self.stat(inode), self.validity(inode.what)

    def validity(self, what: What) -> float:
        """Return for how many seconds the kernel may believe what we say."""
        if isinstance(what, Past) and not what.top:
            return LIVE_SECONDS  # what was stays as it was
        if not isinstance(what, Node):
            return HISTORY_SECONDS
        return LIVE_SECONDS if self.feed_is_live else LOST_SECONDS

    async def begin_anew(self) -> None:
        """Take in that the service is an older copy of itself.

        It gives the numbers of the versions that are lost to others, so no bytes that are kept
        by a number are believed: neither in the kernel nor here. Who has a lost version open
        gets an error; other open files go on.
        """
        for inode in self.inodes:
            inode.cached_version = None
        for opened in self.files:
            opened.content.hold()
        answers = True
        lost = set()
        for version in self._readers.held:
            if answers:
                try:
                    await self._remote.version(version)
                    continue
                except Unavailable:
                    answers = False  # nobody can say; an error is better than wrong bytes
                except RengafsError:
                    pass
            self._readers.lose(version)
            lost.add(version)
        self.files.lose(lost)
        await self._readers.begin_anew()

    def held_in(self, directory: int) -> dict[str, Node]:
        """Return what is open or unsent in a directory (its node), and what there leads to such."""
        found: dict[str, Node] = {}
        held = {opened.inode.number: opened.inode for opened in self.files}
        held |= {inode.number: inode for inode in self.saver.waiting()}
        for inode in held.values():
            way = self.inodes.way_to(inode)
            if way[-1].number != ROOT or not all(
                one.is_live and one.node.links for one in way[:-1]
            ):
                continue
            for below, parent in pairwise(way):
                if parent.node.id == directory:
                    found[names.to_wire(below.name)] = below.node
        return found

    def was_overtaken(self, mark: int, parent: int, name: bytes, inode: Inode | None) -> bool:
        """Whether the feed spoke of a name, or of what stands there, after *mark*.

        Then what we found may be the state before that, and nobody is to rely on it.
        """
        directory = self.inodes.find(parent)
        if directory is None or not directory.is_live:
            return False
        if inode is not None and inode.is_live and self.touched.since(mark, inode.node.id):
            inode.stale = True
            return True
        return self.touched.since(mark, key_of(directory.node.id, name))

    def _expect_more(self, inode: Inode) -> None:
        """Have those small files fetched that will be opened after this one, if that shows."""
        directory = self.inodes.find(inode.parent)
        if directory is None or not directory.is_live or not is_small(inode.node):
            return
        listing = self.listings.get(directory.node.id)
        if listing is not None and inode.name in listing.rows:
            soon = self.neighbours.opened(inode.name, listing)
            if soon:
                self._readers.expect(soon)

    def note_change(self, node: int) -> None:
        """Take in that a node is not what listings say."""
        self.touched.note(node)

    def _is_fresh(self, node: Node) -> bool:
        known = self.inodes.of_node(node.id)
        return known is not None and not known.stale

    def _entered(self, directory: Inode, name: bytes, node: Node) -> Inode:
        inode = self.inodes.add(node)
        inode.parent, inode.name = directory.number, name
        inode.checked = trio.current_time()
        return inode

    def _owners(self, directory: Inode, caller: Caller) -> entering.Owners:
        return entering.owners(directory.node, caller, self._options.owner)

    async def _change(self, inode: Inode, operation: Operation) -> None:
        outcome = await self._apply(operation)
        if outcome.node is not None:
            inode.learn(outcome.node)

    async def _apply(self, operation: Operation) -> Outcome:
        """Carry out a change, after all that it depends on."""
        await self.saver.make_way(operation)
        outcome = await self._remote.change(operation)
        if outcome.node is not None:
            # Not only once the feed says so: till then a listing has the node as it was.
            self.note_change(outcome.node.id)
        return outcome

    def _directory_changed(self, directory: Inode, why: Node | None = None) -> None:
        """Take in that a change of ours has changed a directory; *why*, its times are those of."""
        self.directories.changed(directory.number)
        if why is None:
            directory.stale = True
        else:
            at_ns = why.ctime_ns
            links = directory.node.links
            if why.kind.is_directory:
                links += 1 if why.links else -1
            node = msgspec.structs.replace(
                directory.node, links=links, mtime_ns=at_ns, ctime_ns=at_ns
            )
            directory.learn(node)

    async def _refresh(self, inode: Inode) -> None:
        """Ask the service for the node again where what we know may be old."""
        if not self._is_to_be_asked(inode):
            return
        asked = inode.node.id
        mark = self.touched.mark()
        node = None
        try:
            with trio.move_on_after(TOP_SECONDS if asked == ROOT else float("inf")) as wait:
                node = await self._remote.node(asked)
            if wait.cancelled_caught:
                return
        except NotFound:
            pass
        except (Unavailable, NotAuthenticated):
            if inode.number == ROOT:
                return  # there it is told what has failed, just now
            raise
        if inode.node.id != asked:
            return  # renamed meanwhile: the answer is about another file
        inode.checked = trio.current_time()
        if node is not None:
            inode.told_old = inode.told_old or node.version != inode.node.version
            inode.learn(node)
            inode.stale = self.touched.since(mark, asked)

    def _is_to_be_asked(self, inode: Inode) -> bool:
        if not inode.is_live or (inode.node.links == 0 and inode.number != ROOT):
            return False
        age = trio.current_time() - inode.checked
        if not inode.stale and (self.feed_is_live or age < LOST_SECONDS):
            return False
        if self.saver.waits(inode.node.id):
            return False  # what is here is newer than what the service would say
        # While it is away, nobody says anything; when it is back, all is asked for again.
        return not self.absence.is_on

    def _writable(self, number: int) -> Inode:
        inode = self.inodes.get(number)
        if not inode.is_live:
            raise ReadOnly("history can't be changed; copy the version out of it")
        if self._options.read_only:
            raise ReadOnly("this mount is read-only")
        if self.absence.from_start:
            raise ReadOnly("the service is away; nothing can be changed until it is back")
        return inode

    def _named(self, number: int) -> Inode:
        """Return the inode if it may be changed, and has a name by which others know it."""
        inode = self._writable(number)
        if not inode.node.links:
            # Its id may be that of the file that replaced it.
            raise NotFound("the file has been deleted, and is only open still")
        return inode

    def _writable_directory(
        self, number: int, new_name: bytes | None = None, *, files: bool = False
    ) -> Inode:
        """Return the directory if an entry of it may change, and be called *new_name*."""
        inode = self._writable(number)
        if new_name is not None:
            entering.check_new_name(inode, new_name, files=files)
        return inode
