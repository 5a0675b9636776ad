"""The ``Range`` header: one range of bytes. More than one, or nonsense, is as none."""

import re

from rengafs.protocol.errors import RangeNotSatisfiable

_ONE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Return (start, stop) of what is asked of *size* bytes; None: all of it.

    Raises `RangeNotSatisfiable` for a range beyond the end.
    """
    match = _ONE.fullmatch(header)
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
        if not int(match[2]) or not size:
            raise _beyond(header, size)
        return start, stop
    start = int(match[1])
    stop = min(int(match[2]) + 1, size) if match[2] else size
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise _beyond(header, size)
    return start, stop


def _beyond(header: str, size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(f"{header!r} is beyond the {size} bytes there are", size=size)
