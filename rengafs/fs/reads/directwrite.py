"""Bytes written past the page cache: of what is long and read once, nobody needs two copies there.

O_DIRECT, see open(2): memory, offset and length are whole units, so the bytes go by way of a
buffer of the thread's own, and the file is cut to its length afterwards. Everything here blocks.
"""

import mmap
import os
import threading
from collections.abc import Sequence

UNIT = 4096
"""No disk has longer sectors."""
MOST_BYTES = (1 << 20) + UNIT

_own = threading.local()


def can_write(size: int) -> bool:
    """Whether so many bytes go into the buffer."""
    return size <= MOST_BYTES


def write(descriptor: int, parts: Sequence[bytes]) -> None:
    """Write *parts*, one behind another, to the beginning of a file opened with O_DIRECT.

    Raises OSError; the file is of no use then.
    """
    buffer: mmap.mmap | None = getattr(_own, "buffer", None)
    if buffer is None:
        buffer = _own.buffer = mmap.mmap(-1, MOST_BYTES)
    size = 0
    for part in parts:
        buffer[size : size + len(part)] = part
        size += len(part)
    with memoryview(buffer) as view:
        at, end = 0, -(-size // UNIT) * UNIT
        while at < end:
            # A write that ends early ends with a unit; the next one tells why.
            at += os.pwrite(descriptor, view[at:end], at)
    os.ftruncate(descriptor, size)
