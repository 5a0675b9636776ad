"""What a mount has yet to send, as it tells of it. Values only."""

import msgspec


class Unsent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A file of which something waits, was refused, or met another's save; for people."""

    file: int
    name: str
    state: str
    """``uploading``, ``failed: …``, ``conflict: …``."""
    entries: int = 0
    bytes: int = 0
    since_ms: int = 0
    kept: str = ""
    """Where its bytes lie, if they are on the local disk."""


def told(one: Unsent) -> str:
    """Return what became of a file, and where its bytes are, for people."""
    return f"{one.state}; its bytes are in {one.kept}" if one.kept else one.state


class Report(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a mount has yet to send."""

    write_back: bool = False
    files: int = 0
    bytes: int = 0
    oldest_ms: int = 0
    """When the eldest entry was written; 0: there is none."""
    problem: str = ""
    """Why nothing can be sent at present."""
    unsent: list[Unsent] = []
    """The eldest of them."""
    failed: list[Unsent] = []
    conflicts: list[Unsent] = []
