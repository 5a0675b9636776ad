"""How this process takes memory from the system: once, for all blocks.

A mount takes and frees a mebibyte for each part of a file that it moves. The C library by
itself gives such pieces back to the system at once, and the next one is all new pages, each
to be zeroed and faulted in: that takes ten times as long as to copy the bytes. glibc's
alone; elsewhere nothing is done.
"""

import ctypes
import logging

log = logging.getLogger(__name__)

KEPT_BYTES = 16 << 20
"""What the end of the heap may hold unused."""
FROM_HEAP_BYTES = 4 << 20
"""Pieces up to this come out of the heap."""
# Of glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8


def keep_memory(*, heaps: int) -> None:
    """Have freed blocks stay with this process, within bounds.

    :param heaps: how many there are at most: each may hold that much unused, and more in
        pieces that lie between others. Threads share them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_TRIM_THRESHOLD, KEPT_BYTES),
        (_MMAP_THRESHOLD, FROM_HEAP_BYTES),
        (_ARENA_MAX, heaps),
    ):
        if not mallopt(parameter, value):
            log.debug("malloc does not take parameter %d", parameter)
