"""What the kernel's requests come with, and how a mount is told to show itself. Values only."""

from dataclasses import dataclass

from rengafs.fs.attributes import Ownership


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


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr is to set; None leaves."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
