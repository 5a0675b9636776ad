"""The file system as logic: inodes and handles in, rengafs errors out. No FUSE in here.

Every method is one request of the kernel. Methods of different requests interleave at each
``await``; what they share and what protects it:

==========================  ============================================================
the inode table             no ``await`` inside its methods
an inode's node             `Inode.learn` keeps the newer of two answers
an inode's content          its own lock around commits (`contents`)
an open directory           the kernel reads one at a time under its inode lock
==========================  ============================================================
"""

import os
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import trio

from rengafs.fs.names import attributes, entering, xattrs
from rengafs.fs.names.attributes import Stat
from rengafs.fs.names.directories import LiveDirectory, Row, directory_of_view
from rengafs.fs.names.entering import VERSIONS
from rengafs.fs.names.history import history_of
from rengafs.fs.names.inodes import Inode, Past, What
from rengafs.fs.names.requests import Caller, Changes, VolumeOptions
from rengafs.fs.pins.records import Served
from rengafs.fs.remote import Remote
from rengafs.fs.volume.contents import Contents
from rengafs.fs.volume.naming import Names
from rengafs.fs.volume.openfiles import Opened
from rengafs.fs.volume.tree import LOST_SECONDS
from rengafs.protocol import names
from rengafs.protocol.errors import IsADirectory, NotADirectory, RengafsError
from rengafs.protocol.operations import RemoveXattr, SetXattr
from rengafs.protocol.records import ROOT, Kind, Node, Usage

USAGE_SECONDS = 1.0


class Volume(Names):
    """One mounted tree."""

    def __init__(
        self,
        remote: Remote,
        root: Node,
        contents: Contents,
        options: VolumeOptions,
        background: trio.Nursery | None = None,
    ) -> None:
        super().__init__(remote, root, contents, options, background)
        self._usage: tuple[float, Usage] | None = None
        self.served: Served | None = None
        """Which service it is of; set by whoever mounts."""
        self.poke_pins: Callable[[], None] | None = None
        """Has somebody look whether pins have come or gone."""

    # --- attributes -------------------------------------------------------------------

    async def get_attributes(self, number: int) -> Stat:
        """Return what stat says."""
        inode = self.inodes.get(number)
        await self._refresh(inode)
        return self.stat(inode)

    def row(self, what: What, mark: int) -> tuple[Stat, bool]:
        """Return what stat says of a row of a directory, and whether that may be outdated.

        :param mark: from before the row was asked for.
        """
        if not isinstance(what, Node):
            number = self.inodes.number_of_view(what)
            return attributes.describe(number, what, self._options.owner), False
        known = self.inodes.of_node(what.id)
        dirty = known is not None and known.content is not None and known.content.is_unsaved
        if known is not None and (dirty or known.stale or known.node.ctime_ns > what.ctime_ns):
            return self.stat(known), known.stale
        if known is not None:
            known.learn(what)
        if known is not None and known.held_back is not None:
            known.told_old = True
            return self.stat(known), True
        number = self.inodes.number_of(what.id)
        overtaken = known is None and self.touched.since(mark, what.id)
        return attributes.describe(number, what, self._options.owner), overtaken

    def validity_of_absence(self, parent: int, name: bytes) -> float:
        """Return for how many seconds the kernel may believe that *name* does not exist."""
        directory = self.inodes.get(parent)
        if not directory.is_live:
            return 0.0
        valid = self.validity(directory.what)
        if valid > LOST_SECONDS and not self.absent.note(parent, name):
            return LOST_SECONDS
        return valid

    async def set_attributes(self, number: int, changes: Changes, handle: int | None) -> Stat:
        """Set attributes; a new size makes a version unless a writer has the file open."""
        await self._make_real(self.inodes.get(number))
        inode = self._writable(number)
        if changes.size is not None:
            same = changes.size == self.stat(inode).size
            await self._truncate(inode, changes.size, handle)
            if same and handle is not None and changes.mtime_ns is None:
                # ftruncate marks the time even if nothing is cut; no version will.
                changes = replace(changes, mtime_ns=time.time_ns())
        content = inode.content
        if content is not None and content.is_dirty:
            # The commit that is to come carries them; sent now, it would undo the time.
            content.defer(changes)
            inode.what = changes.applied(inode.node, time.time_ns())
        else:
            await self._set(inode, changes)
        return self.stat(inode)

    async def _set(self, inode: Inode, changes: Changes) -> None:
        if not inode.node.links:
            # Without a name it is this mount's alone, and its id may be another file's.
            inode.what = changes.applied(inode.node, time.time_ns())
        elif self.saver.set_attributes(inode, changes):
            return
        elif operation := changes.operation(inode.node.id):
            await self._change(inode, operation)

    async def _truncate(self, inode: Inode, size: int, handle: int | None) -> None:
        if inode.node.kind is not Kind.FILE:
            raise IsADirectory("only a file has a size that can be set")
        if handle is not None:
            await self.files.get(handle).truncate(size)
            return
        shared = inode.content is not None and inode.content.is_dirty
        # Where another has bytes to save, the cut goes with them: a commit of ours would
        # show half of a save. Without the right to write, a handle commits nothing.
        opened = self.files.attach(inode, os.O_RDONLY if shared else os.O_WRONLY)
        try:
            if shared:
                await opened.content.truncate(size)
            else:
                await opened.truncate(size)
                await opened.flush()
        finally:
            await self.files.detach(opened)

    async def read_link(self, number: int) -> bytes:
        """Return the target of a symbolic link."""
        what = self.inodes.get(number).what
        assert isinstance(what, Node | Past), "only these are symbolic links"
        return names.from_wire(what.node.target if isinstance(what, Past) else what.target)

    async def usage(self) -> Usage:
        """Return how much there is; asked for once a second at most."""
        now = trio.current_time()
        if self._usage is None or now - self._usage[0] > USAGE_SECONDS:
            self._usage = (now, await self._remote.usage())
        return self._usage[1]

    # --- extended attributes ----------------------------------------------------------

    async def get_xattr(self, number: int, name: bytes) -> bytes:
        """Return an extended attribute. Raises `NoSuchAttribute`."""
        inode = self.inodes.get(number)
        if name == xattrs.STATE and inode.is_live and inode.node.kind is Kind.FILE:
            return self.saver.state(inode).encode()
        if name == xattrs.REPORT and number == ROOT:
            return msgspec.json.encode(self.saver.report())
        if name == xattrs.INODES and number == ROOT:
            return str(len(self.inodes)).encode()
        if name == xattrs.SERVICE and number == ROOT and self.served is not None:
            away_ms = self.absence.since_ms
            return msgspec.json.encode(msgspec.structs.replace(self.served, away_ms=away_ms))
        await self._refresh(inode)
        return await xattrs.get(self._remote, inode.what, names.to_wire(name))

    async def list_xattrs(self, number: int) -> list[bytes]:
        """Return the names of the extended attributes."""
        inode = self.inodes.get(number)
        await self._refresh(inode)
        return [names.from_wire(name) for name in xattrs.listed(inode.what)]

    async def set_xattr(self, number: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute of the ``user.`` kind."""
        if name == xattrs.PINS and number == ROOT and self.poke_pins is not None:
            self.poke_pins()
            return
        await self._make_real(self.inodes.get(number))
        inode = self._named(number)
        wire = xattrs.check_settable(names.to_wire(name))
        operation = SetXattr(node=inode.node.id, name=wire, value=value)
        await self._change(inode, operation)

    async def remove_xattr(self, number: int, name: bytes) -> None:
        """Remove an extended attribute."""
        inode = self._named(number)
        wire = xattrs.check_settable(names.to_wire(name))
        await self._change(inode, RemoveXattr(node=inode.node.id, name=wire))

    # --- opening ----------------------------------------------------------------------

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, caller: Caller
    ) -> tuple[Inode, Opened]:
        """Make a file and open it; without O_EXCL, open the one that is there."""
        directory = self._writable_directory(parent, name, files=True)
        owners = self._owners(directory, caller)
        exclusive = bool(flags & os.O_EXCL)
        operation = entering.file(directory.node, name, mode, owners, exclusive=exclusive)
        inode = await self._make(directory, name, operation)
        try:
            return inode, await self.files.open(inode, flags)
        except RengafsError:
            self.inodes.forget(inode.number, 1)
            raise

    async def open(self, number: int, flags: int) -> Opened:
        """Open a file; O_TRUNC empties it."""
        inode = self.inodes.get(number)
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            await self._make_real(inode)
            self._writable(number)
        await self._refresh(inode)
        opened = await self.files.open(inode, flags)
        if flags & os.O_ACCMODE == os.O_RDONLY and inode.is_live:
            self._expect_more(inode)
        if (
            flags & os.O_TRUNC
            and not self.stat(inode).size
            and not (inode.content and inode.content.is_dirty)
        ):
            # It was empty: no version is made, but `: > stamp` is to renew the stamp.
            await self._set(inode, Changes(mtime_ns=time.time_ns()))
        return opened

    async def open_directory(self, number: int) -> int:
        """Open a directory, of the live tree or of history."""
        inode = self.inodes.get(number)
        if isinstance(inode.what, Node):
            await self.saver.settle_names(inode.node.id)
        else:
            await self._complete_history(inode.what)
        if not isinstance(inode.what, Node):
            opened = directory_of_view(
                self._remote, self._history, inode.what, ahead=self._background
            )
            return self.directories.open(inode, opened)
        if not inode.node.kind.is_directory:
            raise NotADirectory("only directories can be listed")
        extra: list[Row] = []
        if self._options.show_versions:
            extra.append((VERSIONS, history_of(inode.node)))
        return self.directories.open(inode, self._live(inode.node.id, extra))

    def dots(self, handle: int) -> list[tuple[bytes, Stat]]:
        """Return the rows of an open directory that stand for itself and for what it is in."""
        inode = self.directories.inode_of(handle)
        above = self.inodes.find(inode.parent) or inode
        return [(b".", self.stat(inode)), (b"..", self.stat(above))]

    async def sync_directory(self, handle: int) -> None:
        """Wait until the service has what was written in a directory; of the root, anywhere."""
        inode = self.directories.inode_of(handle)
        if inode.number == ROOT:
            await self.saver.settle_all()
        elif inode.is_live:
            await self.saver.settle_in(inode.node.id)

    def _live(self, node: int, extra: list[Row]) -> LiveDirectory:
        return LiveDirectory(
            self._remote, node, extra, listings=self.listings, ahead=self._background
        )
