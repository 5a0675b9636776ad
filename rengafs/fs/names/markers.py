"""Names that hold indexers back, at the top and in each bucket.

An indexer reads every byte that it comes to, over the line, and again in each mount. Those of
desktops leave a directory alone where a file of one of these names is in it. So the mount
answers for an empty one wherever no real one is. It is found by name and never listed, for
`cp -r` and `rsync` must not carry it away.

To whoever changes it, it is a file like any other: it is made, and `LookAgain` has the kernel
look the name up a second time. Whoever removes it has it removed, as long as the mount lasts;
so a tool that unlinks and makes anew works too.

A ``CACHEDIR.TAG`` would hold others back as well, and backups with them.
"""

import errno

from rengafs.fs.names.inodes import Inode, Marker
from rengafs.protocol.errors import Conflict
from rengafs.protocol.records import ROOT, Kind

NAMES = frozenset({b".nomedia", b".trackerignore"})


class LookAgain(Conflict):
    """What was looked up is something else now; the kernel repeats the call by its path."""

    errno = errno.ESTALE


class Markers:
    """Where the mount answers for a marker.

    :param shown: False for a mount that lets indexers in.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._removed: set[tuple[int, bytes]] = set()
        """(node id of the directory, name): no more than two a bucket."""

    def find(self, directory: Inode, name: bytes) -> Marker | None:
        """Return what stands at a name of a live directory where nothing real does."""
        if not self._shown or name not in NAMES:
            return None
        node = directory.node
        if node.kind is not Kind.BUCKET and node.id != ROOT:
            return None
        return None if (node.id, name) in self._removed else Marker(node.id, name, node)

    def removed(self, directory: Inode, name: bytes) -> None:
        """Take in that somebody has taken a name away, and is not to find it again."""
        if self.find(directory, name) is not None:
            self._removed.add((directory.node.id, name))
