"""How much of a draft is in memory, and when it goes to disk. Bytes, unless it says otherwise."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """The defaults are for people; tests make all of it small."""

    buffer: int = 1 << 20
    """Of small writes in memory, for each draft."""
    all_buffers: int = 64 << 20
    """The same, for all drafts of a mount together."""
    pieces: int = 4096
    """Scattered writes in one buffer: each costs more than its bytes."""
    join: int = 64 << 10
    """Smaller writes are joined to the one before; larger ones are kept as they came."""
    through: int = 512 << 10
    """Writes of this size gain nothing from a buffer."""
    far: int = 1 << 40
    """Beyond this offset a disk may refuse for the offset alone: that write must be told."""
    inline: int = 1 << 20
    """Payloads up to this are taken into memory with the snapshot: no flight to protect."""
    payload_piece: int = 1 << 20
    extents: int = 50_000
    """Of one commit: they are one line of JSON. With more, bytes between them are sent too."""
    checkpoint: int = 16 << 20
    """Written to disk before ``about.json`` is brought up to date unasked."""
    ahead: int = 16 << 20
    """A new file that grows beyond this is sent while it is written."""
