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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import msgspec
import trio

from rengafs.fs import attributes, entering, xattrs
from rengafs.fs.attributes import Stat
from rengafs.fs.contents import Contents
from rengafs.fs.directories import LiveDirectory, OpenDirectories, Row, directory_of_view
from rengafs.fs.entering import VERSIONS
from rengafs.fs.history import History, history_of
from rengafs.fs.inodes import Inode, Inodes, Past, What
from rengafs.fs.openfiles import Opened, OpenFiles
from rengafs.fs.remote import Remote
from rengafs.fs.requests import Caller, Changes, VolumeOptions
from rengafs.protocol import names
from rengafs.protocol.errors import (
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotFound,
    NotSupported,
    ReadOnly,
    RengafsError,
)
from rengafs.protocol.operations import (
    Link,
    MakeBucket,
    MakeDirectory,
    Operation,
    RemoveDirectory,
    RemoveXattr,
    Rename,
    SetXattr,
    Unlink,
)
from rengafs.protocol.records import ROOT, Kind, Node, Usage

LIVE_SECONDS = 3600.0
"""How long the kernel may believe what we said while the feed lives: it is told of changes."""
LOST_SECONDS = 1.0
"""How long it may while the feed is lost."""
HISTORY_SECONDS = 1.0
"""How long a name under ``.versions/`` is believed: the feed does not speak of those."""
USAGE_SECONDS = 1.0


class Volume:
    """One mounted tree."""

    def __init__(
        self, remote: Remote, root: Node, contents: Contents, options: VolumeOptions
    ) -> None:
        self.inodes = Inodes(root)
        self.feed_is_live = False
        """Set by whoever follows the feed."""
        self._remote = remote
        self.files = OpenFiles(self.inodes, contents)
        self.directories = OpenDirectories(self.inodes)
        self._options = options
        self._history = History(remote)
        self._usage: tuple[float, Usage] | None = None

    # --- names ------------------------------------------------------------------------

    async def lookup(self, parent: int, name: bytes) -> Inode | None:
        """Return what stands at *name*, counted as looked up; None where nothing does."""
        directory = self.inodes.get(parent)
        if name in (b".", b".."):
            raise NotSupported("the kernel resolves '.' and '..' itself")
        if len(name) > names.MAX_COMPONENT:
            raise NameTooLong(f"a name has {len(name)} bytes; 255 are the most")
        if not isinstance(directory.what, Node):
            return self.inodes.add(await self._history.find(directory.what, name))
        if name == VERSIONS:
            return self.inodes.add(history_of(directory.node))
        if entering.cannot_exist(directory, name):
            return None
        if self.feed_is_live and directory.lacks(name):
            return None
        entry = await self._remote.find(directory.node.id, names.to_wire(name))
        if entry is None:
            return None
        return self._entered(directory, name, entry.node)

    def forget(self, forgotten: Sequence[tuple[int, int]]) -> None:
        """Take back (inode number, look-ups) that the kernel no longer needs."""
        for number, lookups in forgotten:
            self.inodes.forget(number, lookups)

    async def make_directory(self, parent: int, name: bytes, mode: int, caller: Caller) -> Inode:
        """Make a directory; at the top, a bucket."""
        directory = self._writable_directory(parent, name)
        operation = entering.directory(
            directory.node, name, mode, self._owners(directory, caller), self._options.backend
        )
        return await self._make(directory, name, operation)

    async def make_symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Inode:
        """Make a symbolic link."""
        directory = self._writable_directory(parent, name, files=True)
        owners = self._owners(directory, caller)
        operation = entering.symlink(directory.node, name, target, owners)
        return await self._make(directory, name, operation)

    async def make_node(
        self, parent: int, name: bytes, mode: int, device: int, caller: Caller
    ) -> Inode:
        """Make an empty file, FIFO, socket or device node."""
        directory = self._writable_directory(parent, name, files=True)
        owners = self._owners(directory, caller)
        operation = entering.node(directory.node, name, mode, device, owners)
        return await self._make(directory, name, operation)

    async def link(self, number: int, parent: int, name: bytes) -> Inode:
        """Give a file another name in its bucket."""
        inode = self._named(number)
        directory = self._writable_directory(parent, name, files=True)
        operation = Link(node=inode.node.id, parent=directory.node.id, name=names.to_wire(name))
        return await self._make(directory, name, operation)

    async def unlink(self, parent: int, name: bytes) -> None:
        """Take a name away. What has the file open goes on with it."""
        directory = self._writable_directory(parent)
        operation = Unlink(parent=directory.node.id, name=names.to_wire(name))
        outcome = await self._remote.change(operation)
        self._left(directory, name, outcome.node)

    async def remove_directory(self, parent: int, name: bytes) -> None:
        """Remove an empty directory or bucket."""
        directory = self._writable_directory(parent)
        if name == VERSIONS:
            raise ReadOnly("history can't be removed")
        operation = RemoveDirectory(parent=directory.node.id, name=names.to_wire(name))
        outcome = await self._remote.change(operation)
        self._left(directory, name, outcome.node)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None:
        """Rename; *flags* as of renameat2(2)."""
        how = _RENAMES.get(flags)
        if how is None:
            raise NotSupported("rename takes RENAME_NOREPLACE or RENAME_EXCHANGE, no other flags")
        source = self._writable_directory(parent)
        target = self._writable_directory(new_parent, new_name)
        await self._commit_before_rename(source, name)
        operation = Rename(
            parent=source.node.id,
            name=names.to_wire(name),
            new_parent=target.node.id,
            new_name=names.to_wire(new_name),
            how=how,  # type: ignore[arg-type]  # the table holds nothing else
        )
        outcome = await self._remote.change(operation)
        self._directory_changed(source)
        self._directory_changed(target)
        source.names_changed(left=name if how != "exchange" else None)
        target.names_changed(entered=new_name)
        moved = None if outcome.moved is None else self.inodes.of_node(outcome.moved)
        if how == "exchange":
            for inode in self._open_at(target, new_name):
                inode.parent, inode.name = source.number, name
        if moved is not None:
            moved.parent, moved.name = target.number, new_name
        if outcome.replaced is not None and outcome.replaced != outcome.moved:
            await self._lost_a_name(outcome.replaced)
        if moved is not None and outcome.node is not None:
            self._goes_on_as(moved, outcome.node)

    def _goes_on_as(self, moved: Inode, now: Node) -> None:
        """Let a renamed inode stand for the node that bears its new name."""
        if moved.node.id != now.id:
            old = self.inodes.of_node(now.id)
            if old is not None and old.content is not None:
                old.content.abandon()
            self.inodes.replaced(moved, now)
            if moved.content is not None:
                moved.content.belongs_to(now)
        else:
            moved.learn(now)

    async def _commit_before_rename(self, directory: Inode, name: bytes) -> None:
        """Commit what is written: what is renamed is the bytes as they are now."""
        open_there = self._open_at(directory, name)
        for opened in self.files:
            if opened.inode in open_there:
                await opened.flush()

    def _open_at(self, directory: Inode, name: bytes) -> list[Inode]:
        """Return the inodes of open files that were last seen at a name."""
        return [
            opened.inode
            for opened in self.files
            if opened.inode.parent == directory.number and opened.inode.name == name
        ]

    # --- attributes -------------------------------------------------------------------

    async def get_attributes(self, number: int) -> Stat:
        """Return what stat says."""
        inode = self.inodes.get(number)
        await self._refresh(inode)
        return self.stat(inode)

    def stat(self, inode: Inode) -> Stat:
        """Return what stat says, without asking anybody."""
        stat = attributes.describe(inode.number, inode.what, self._options.owner)
        if inode.content is not None and inode.content.is_dirty:
            return stat.with_draft(inode.content.size, inode.content.mtime_ns)
        return stat

    def stat_of(self, what: What) -> Stat:
        """Return what stat says of something that the kernel may not know yet."""
        if isinstance(what, Node):
            known = self.inodes.of_node(what.id)
            if known is not None and known.content is not None and known.content.is_dirty:
                return self.stat(known)
            return attributes.describe(self.inodes.number_of(what.id), what, self._options.owner)
        return attributes.describe(self.inodes.number_of_view(what), what, self._options.owner)

    def validity(self, what: What) -> float:
        """Return for how many seconds the kernel may believe what we say."""
        if isinstance(what, Past) and not what.top:
            return LIVE_SECONDS  # what was stays as it was
        if not isinstance(what, Node):
            return HISTORY_SECONDS
        return LIVE_SECONDS if self.feed_is_live else LOST_SECONDS

    def validity_of_absence(self, parent: int) -> float:
        """Return for how many seconds the kernel may believe that a name does not exist."""
        directory = self.inodes.get(parent)
        return self.validity(directory.what) if directory.is_live else 0.0

    async def set_attributes(self, number: int, changes: Changes, handle: int | None) -> Stat:
        """Set attributes; a new size makes a version unless a writer has the file open."""
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
        await self._refresh(inode)
        return await xattrs.get(self._remote, inode.what, names.to_wire(name))

    async def list_xattrs(self, number: int) -> list[bytes]:
        """Return the names of the extended attributes."""
        inode = self.inodes.get(number)
        await self._refresh(inode)
        return [names.from_wire(name) for name in xattrs.listed(inode.what)]

    async def set_xattr(self, number: int, name: bytes, value: bytes) -> None:
        """Set an extended attribute of the ``user.`` kind."""
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
            self._writable(number)
        await self._refresh(inode)
        opened = await self.files.open(inode, flags)
        if (
            flags & os.O_TRUNC
            and not self.stat(inode).size
            and not (inode.content and inode.content.is_dirty)
        ):
            # It was empty: no version is made, but `: > stamp` is to renew the stamp.
            await self._set(inode, Changes(mtime_ns=time.time_ns()))
        return opened

    def open_directory(self, number: int) -> int:
        """Open a directory, of the live tree or of history."""
        inode = self.inodes.get(number)
        if not isinstance(inode.what, Node):
            opened = directory_of_view(self._remote, self._history, inode.what)
            return self.directories.open(inode, opened)
        if not inode.node.kind.is_directory:
            raise NotADirectory("only directories can be listed")
        extra: list[Row] = []
        if self._options.show_versions:
            extra.append((VERSIONS, history_of(inode.node)))
        return self.directories.open(inode, LiveDirectory(self._remote, inode.node.id, extra))

    # --- helpers of the above ---------------------------------------------------------

    def _entered(self, directory: Inode, name: bytes, node: Node) -> Inode:
        inode = self.inodes.add(node)
        inode.parent, inode.name = directory.number, name
        inode.checked = trio.current_time()
        return inode

    def _owners(self, directory: Inode, caller: Caller) -> entering.Owners:
        return entering.owners(directory.node, caller, self._options.owner)

    async def _change(self, inode: Inode, operation: Operation) -> None:
        outcome = await self._remote.change(operation)
        if outcome.node is not None:
            inode.learn(outcome.node)

    async def _make(self, directory: Inode, name: bytes, operation: Operation) -> Inode:
        outcome = await self._remote.change(operation)
        assert outcome.node is not None, "the protocol promises the node that was made"
        self._directory_changed(directory, outcome.node)
        directory.names_changed(entered=name)
        made = self._entered(directory, name, outcome.node)
        if isinstance(operation, MakeDirectory | MakeBucket):
            made.names = set()  # new, so empty
        return made

    def _left(self, directory: Inode, name: bytes, node: Node | None) -> None:
        self._directory_changed(directory, node)
        directory.names_changed(left=name)
        if node is None:
            return
        inode = self.inodes.of_node(node.id)
        if inode is None:
            return
        inode.learn(node)
        if not inode.node.links and inode.content is not None:
            inode.content.abandon()

    async def _lost_a_name(self, node: int) -> None:
        """Take in that a rename replaced a node; it may have other names, also made elsewhere."""
        inode = self.inodes.of_node(node)
        if inode is None:
            return
        inode.stale = True
        with suppress(RengafsError):  # the rename is done: its caller is told so
            await self._refresh(inode)
        if inode.content is not None and not inode.node.links:
            inode.content.abandon()

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
        if not inode.is_live or (inode.node.links == 0 and inode.number != ROOT):
            return
        age = trio.current_time() - inode.checked
        if not inode.stale and (self.feed_is_live or age < LOST_SECONDS):
            return
        asked = inode.node.id
        try:
            node = await self._remote.node(asked)
        except NotFound:
            node = None
        if inode.node.id != asked:
            return  # renamed meanwhile: the answer is about another file
        inode.checked = trio.current_time()
        if node is not None:
            inode.learn(node)
            inode.stale = False

    def _writable(self, number: int) -> Inode:
        inode = self.inodes.get(number)
        if not inode.is_live:
            raise ReadOnly("history can't be changed; copy the version out of it")
        if self._options.read_only:
            raise ReadOnly("this mount is read-only")
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


_RENAMES = {0: "replace", 1: "noreplace", 2: "exchange"}
