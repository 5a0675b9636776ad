"""Old versions as Swift kept them before it had object versioning: in another container.

A container names it by ``X-Versions-Location`` or ``X-History-Location``. What an object was is
there as ``LLLNAME/TIMESTAMP``: the length of its name in three hex digits, and when it was
stored. With the latter header a deletion lies there too.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from rengafs.backends.foreign import Found

HEADERS = ("x-versions-location", "x-history-location")
DIGITS = 3


def archive_of(headers: Mapping[str, str]) -> str:
    """Return the container that holds old versions, or nothing."""
    return next((headers[name].strip("/") for name in HEADERS if name in headers), "")


def archived(container: str, item: Found) -> Found | None:
    """Return what an object of the archive *container* was; None: it is something else."""
    stem, _, stamp = item.name.rpartition("/")
    try:
        length, at = int(stem[:DIGITS], 16), float(stamp)
    except ValueError:
        return None
    name = stem[DIGITS:]
    if len(name.encode()) != length and len(name) != length:
        return None
    return replace(item, name=name, at=at, latest=False, place=(container, item.name))


async def woven(
    present: AsyncIterator[Found], archive: AsyncIterator[Found]
) -> AsyncIterator[Found]:
    """Yield all versions, those of one object together, the newest first."""
    past: dict[str, list[Found]] = {}
    async for item in archive:
        past.setdefault(item.name, []).append(item)
    async for item in present:
        yield item
        for old in _newest_first(past.pop(item.name, [])):
            yield old
    for items in past.values():
        newest, *rest = _newest_first(items)
        if newest.deleted:
            yield replace(newest, latest=True)
        else:
            # It is not there any more, and nothing tells since when.
            yield replace(newest, latest=True, deleted=True)
            yield newest
        for old in rest:
            yield old


def _newest_first(items: list[Found]) -> list[Found]:
    return sorted(items, key=lambda item: item.at, reverse=True)
