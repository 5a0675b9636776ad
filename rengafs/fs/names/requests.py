"""What the kernel's requests come with, and how a mount is told to show itself. Values only."""

from dataclasses import dataclass

import msgspec

from rengafs.fs.names.attributes import Ownership
from rengafs.protocol.operations import SetAttributes
from rengafs.protocol.records import Node


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """How the mount shows itself."""

    owner: Ownership
    backend: str = ""
    """Where new buckets put their blobs; empty: the service's default."""
    read_only: bool = False
    show_versions: bool = False
    """Whether ``.versions`` is listed."""
    index: bool = False
    """Whether desktops may index the buckets: no markers."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr is to set; None leaves."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None

    def then(self, later: "Changes") -> "Changes":
        """Return what comes of these and then *later*."""
        return Changes(
            **{
                name: getattr(self, name) if (new := getattr(later, name)) is None else new
                for name in self.__slots__
            }
        )

    def operation(self, node: int) -> SetAttributes | None:
        """Return what the service must do to *node*; None for nothing. The size is not in it."""
        asked = self._asked()
        return (
            msgspec.convert({"op": "set_attributes", "node": node, **asked}, SetAttributes)
            if asked
            else None
        )

    def applied(self, node: Node, now_ns: int) -> Node:
        """Return *node* with these attributes, as the service would."""
        asked = self._asked()
        return msgspec.structs.replace(node, ctime_ns=now_ns, **asked) if asked else node

    def _asked(self) -> dict[str, int]:
        asked = {
            "mode": None if self.mode is None else self.mode & 0o7777,
            "uid": self.uid,
            "gid": self.gid,
            "atime_ns": self.atime_ns,
            "mtime_ns": self.mtime_ns,
        }
        return {name: value for name, value in asked.items() if value is not None}
