"""The names of a volume: found, made, taken away, changed."""

from collections.abc import Sequence
from contextlib import suppress

from rengafs.fs.names import entering
from rengafs.fs.names.entering import VERSIONS
from rengafs.fs.names.history import history_of
from rengafs.fs.names.inodes import HistoryOf, Inode, Marker, SavesOf, View
from rengafs.fs.names.listings import Listing
from rengafs.fs.names.markers import LookAgain
from rengafs.fs.names.requests import Caller
from rengafs.fs.volume.tree import Tree
from rengafs.protocol import names
from rengafs.protocol.errors import (
    BadRequest,
    NameTooLong,
    NotFound,
    NotSupported,
    ReadOnly,
    RengafsError,
)
from rengafs.protocol.operations import (
    Link,
    MakeBucket,
    MakeDirectory,
    MakeFile,
    Operation,
    RemoveDirectory,
    Rename,
    Unlink,
)
from rengafs.protocol.records import Node

HISTORY_PATIENCE_SECONDS = 2.0


class Names(Tree):
    """What the kernel asks of names."""

    async def lookup(self, parent: int, name: bytes) -> Inode | None:
        """Return what stands at *name*, counted as looked up; None where nothing does."""
        directory = self.inodes.get(parent)
        if name in (b".", b".."):
            raise NotSupported("the kernel resolves '.' and '..' itself")
        if len(name) > names.MAX_COMPONENT:
            raise NameTooLong(f"a name has {len(name)} bytes; 255 are the most")
        if not isinstance(directory.what, Node):
            await self._complete_history(directory.what)
            return self.inodes.add(await self._history.find(directory.what, name))
        if name == VERSIONS:
            return self.inodes.add(history_of(directory.node))
        found = await self._find(directory, name)
        if found is None and (marker := self._markers.find(directory, name)) is not None:
            return self.inodes.add(marker)
        return found

    async def _find(self, directory: Inode, name: bytes) -> Inode | None:
        """Return what stands at a name of a live directory, counted as looked up."""
        if entering.cannot_exist(directory, name):
            return None
        if (made := self.saver.made(directory, name)) is not None:
            made.lookups += 1
            return made
        if self.feed_is_live and directory.lacks(name):
            return None
        node = await self._standing(directory.node.id, name)
        return None if node is None else self._entered(directory, name, node)

    async def _complete_history(self, view: View) -> None:
        """Give saves that are on their way a moment to arrive, before their history is shown."""
        if isinstance(view, HistoryOf | SavesOf):
            with suppress(RengafsError):
                await self.saver.settle_in(view.directory, HISTORY_PATIENCE_SECONDS)

    async def _standing(self, directory: int, name: bytes) -> Node | None:
        """Return what stands at a name: by the listing, where there is one, or by asking."""
        if self.feed_is_live:
            listing = self.listings.get(directory) or await self._fill(directory)
            if listing is not None:
                node = listing.rows.get(name)
                if node is None or not self.touched.since(listing.mark, node.id):
                    return node
                known = self.inodes.of_node(node.id)
                if known is not None and not known.stale:
                    return known.node
        entry = await self._remote.find(directory, names.to_wire(name))
        return None if entry is None else entry.node

    async def _fill(self, directory: int) -> Listing | None:
        """Ask for all names of a directory if many of them are being looked up."""
        limit = self.listings.worth_filling(directory)
        if not limit:
            return None
        mark = self.touched.mark()
        page = await self._remote.page(directory, "", limit)
        if page.next:
            self.listings.too_many(directory, limit)
            return None
        rows = {names.from_wire(entry.name): entry.node for entry in page.entries}
        self.listings.keep(directory, rows, mark)
        return self.listings.get(directory)

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

    async def _make_real(self, inode: Inode) -> None:
        """Make the file that a marker stands in for: it is about to be changed.

        Raises `LookAgain`, upon which the kernel finds the file.
        """
        if not isinstance(inode.what, Marker):
            return
        name, number = inode.what.name, self.inodes.number_of(inode.what.directory)
        directory = self._writable_directory(number, name, files=True)
        owners = directory.node.uid, directory.node.gid
        mode = self.stat(inode).mode
        operation = entering.file(directory.node, name, mode, owners, exclusive=False)
        made = await self._make(directory, name, operation)
        self.inodes.forget(made.number, 1)
        raise LookAgain("there is a real file of that name now")

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
        try:
            gone = (await self._apply(operation)).node
        except NotFound:
            if self._markers.find(directory, name) is None:
                raise
            gone = None
        self._left(directory, name, gone)

    async def remove_directory(self, parent: int, name: bytes) -> None:
        """Remove an empty directory or bucket."""
        directory = self._writable_directory(parent)
        if name == VERSIONS:
            raise ReadOnly("history can't be removed")
        operation = RemoveDirectory(parent=directory.node.id, name=names.to_wire(name))
        outcome = await self._apply(operation)
        self._left(directory, name, outcome.node)

    async def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int
    ) -> None:
        """Rename; *flags* as of renameat2(2)."""
        how = _RENAMES.get(flags)
        if how is None:
            raise BadRequest("rename takes RENAME_NOREPLACE or RENAME_EXCHANGE, no other flags")
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
        outcome = await self._apply(operation)
        self._directory_changed(source)
        self._directory_changed(target)
        source.names_changed(left=name if how != "exchange" else None)
        if how != "exchange":
            self._markers.removed(source, name)
        target.names_changed(entered=new_name)
        if how == "exchange" or outcome.node is None:
            self.listings.changed(source.node.id)
            self.listings.changed(target.node.id)
        else:
            self.listings.left(source.node.id, name)
            self.listings.entered(target.node.id, new_name, outcome.node)
        moved = None if outcome.moved is None else self.inodes.of_node(outcome.moved)
        if how == "exchange":
            for inode in self._open_at(target, new_name):
                inode.parent, inode.name = source.number, name
        if moved is not None:
            moved.parent, moved.name = target.number, new_name
        if outcome.replaced is not None and outcome.replaced != outcome.moved:
            await self._lost_a_name(outcome.replaced)
        if moved is not None and outcome.node is not None:
            self.goes_on_as(moved, outcome.node)

    def goes_on_as(self, inode: Inode, now: Node, *, same_bytes: bool = True) -> None:
        """Let an inode stand for the node that bears its name now.

        :param same_bytes: the node's version is what the inode reads as: it was renamed.
        """
        if inode.node.id != now.id:
            old = self.inodes.of_node(now.id)
            if old is not None and old.content is not None:
                old.content.abandon()
            self.inodes.replaced(inode, now)
            if inode.content is not None:
                inode.content.belongs_to(now, same_bytes=same_bytes)
        else:
            inode.learn(now)

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

    async def _make(self, directory: Inode, name: bytes, operation: Operation) -> Inode:
        if isinstance(operation, MakeFile):
            node = self.saver.make(directory, name, operation)
            if node is not None:
                made = self._made(directory, name, node)
                self.saver.made_as(made, operation)
                return made
        outcome = await self._apply(operation)
        assert outcome.node is not None, "the protocol promises the node that was made"
        made = self._made(directory, name, outcome.node)
        self.saver.accepted(made)
        if isinstance(operation, MakeDirectory | MakeBucket):
            made.names = set()  # new, so empty
        return made

    def _made(self, directory: Inode, name: bytes, node: Node) -> Inode:
        self._directory_changed(directory, node)
        directory.names_changed(entered=name)
        self.listings.entered(directory.node.id, name, node)
        return self._entered(directory, name, node)

    def _left(self, directory: Inode, name: bytes, node: Node | None) -> None:
        self._directory_changed(directory, node)
        directory.names_changed(left=name)
        self._markers.removed(directory, name)
        self.listings.left(directory.node.id, name)
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


_RENAMES = {0: "replace", 1: "noreplace", 2: "exchange"}
