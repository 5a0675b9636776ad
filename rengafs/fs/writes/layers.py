"""What lies over what: bytes put together from those written and those of the base.

In memory; only the base may have to be waited for.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

from rengafs.fs.writes.draftfiles import Piece, Range
from rengafs.protocol.errors import Corrupt


class BaseReader(Protocol):
    """What a draft was begun on. A `VersionReader`, say."""

    async def read(self, offset: int, size: int) -> bytes:
        """Return exactly these bytes; fewer only at the end."""


def laid(ranges: Sequence[Range], layers: Iterable[Piece]) -> bytes | bytearray:
    """Return the bytes of *ranges*, one range after another: *layers* in order, else zeros.

    :param ranges: ascending, not overlapping.
    """
    starts = [start for start, _ in ranges]
    stops = [stop for _, stop in ranges]
    places, total = [], 0
    for start, stop in ranges:
        places.append(total)
        total += stop - start
    layers = list(layers)
    if len(layers) == 1 and len(ranges) == 1:
        at, data = layers[0]
        if (at, at + len(data)) == ranges[0]:
            return data
    content = bytearray(total)
    for at, data in layers:
        end = at + len(data)
        index = max(bisect_right(starts, at) - 1, 0)
        while index < len(starts) and starts[index] < end:
            low, high = max(at, starts[index]), min(end, stops[index])
            if low < high:
                place = places[index] + low - starts[index]
                content[place : place + high - low] = data[low - at : high - at]
            index += 1
    return content


async def laid_over_base(
    content: bytes | bytearray, offset: int, reader: BaseReader | None, start: int, stop: int
) -> bytes | bytearray:
    """Return *content*, which begins at *offset*, with bytes *start* to *stop* of the base."""
    assert reader is not None, "a base without a reader shows nothing"
    data = await reader.read(start, stop - start)
    if len(data) != stop - start:
        raise Corrupt(f"the base has no bytes {start + len(data)} to {stop}, and should have")
    if len(data) == len(content):
        return data
    content = content if isinstance(content, bytearray) else bytearray(content)
    content[start - offset : stop - offset] = data
    return content
