"""Commits under way: what is being sent of a draft, and what keeps it as it was.

Records and arithmetic; `drafts` moves the bytes.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from rengafs.fs.writes.extents import Extents


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """What is to be sent, so that the service has what the draft was at the snapshot."""

    base: int | None
    """The version that shows through; None if no byte of it does."""
    length: int
    extents: list[tuple[int, int]]
    """(offset, length), as `Commit` has them. Neither here nor in the base: zero."""
    payload_bytes: int
    open_payload: Callable[[], AsyncIterator[bytes]]
    """Begins the payload anew each time; `trio.ClosedResourceError` once the plan is over."""
    begun_on: int | None
    """The version that the edit started from, whether it shows or not."""
    mtime_ns: int
    is_small: bool = False
    """The payload is in memory."""
    is_filled: bool = False
    """It has bytes of the base too, as there are too many extents otherwise."""


@dataclass(slots=True, eq=False)
class Flight:
    """A commit under way, as the draft sees it."""

    sent: Extents
    local: Extents
    """Of what is sent, the part that is in the draft's file."""
    base_stop: int
    """Of what is sent, bytes below this and not local are the base's; the others are zero."""
    cut: int
    """The least length that the draft has had since."""
    generation: int
    since: Extents = field(default_factory=Extents)
    """Written after the snapshot."""
    saved: Extents = field(default_factory=Extents)
    """Copied aside, because written over."""
    inline: bytes | None = None
    """The whole payload, if it is small: then nothing needs to be kept as it was."""
    plan: CommitPlan | None = None


def coarsened(extents: Extents, most: int) -> Extents:
    """Return *extents* with the smallest gaps filled, so that there are at most *most*."""
    surplus = len(extents) - most
    if surplus <= 0:
        return extents
    ranges = list(extents)
    gaps = sorted(extents.gaps(ranges[0][0], ranges[-1][1]), key=lambda gap: gap[1] - gap[0])
    fewer = extents.copy()
    for start, stop in gaps[:surplus]:
        fewer.add(start, stop)
    return fewer
