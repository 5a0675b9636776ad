"""What other programs stored in a container: every version of every object.

A listing tells of no bytes where an object only points to where they are: a dynamic large
object to its segments, a link to another object. So what seems to be empty is asked itself.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from rengafs.backends.flights import Flights
from rengafs.backends.foreign import UNNAMED, Found
from rengafs.backends.swift.account import Account, moment
from rengafs.backends.swift.errors import told
from rengafs.backends.swift.legacy import archive_of, archived, woven
from rengafs.protocol.errors import BackendRefused

ASKED_AT_ONCE = 8
TOGETHER = 500
"""Items of a listing among which the empty ones are asked for at a time."""


async def others(account: Account, container: str) -> AsyncIterator[Found]:
    """Yield them by name, the newest version first. Raises `BackendRefused`: no such container."""
    answer = await account.request("HEAD", container)
    if answer.status == 404:
        raise BackendRefused(f"the store has no container {container!r}")
    if not answer.good:
        raise told(f"the container {container}", answer.status, "")
    kept = answer.headers.get("x-versions-enabled", "").lower() == "true"
    found = _found(account, container, kept)
    archive = archive_of(answer.headers)
    async for item in woven(found, _archived(account, archive)) if archive else found:
        yield item


async def _archived(account: Account, container: str) -> AsyncIterator[Found]:
    async for item in _found(account, container, False):
        old = archived(container, item)
        if old is not None:
            yield old


async def _found(account: Account, container: str, kept: bool) -> AsyncIterator[Found]:
    several: list[Found] = []
    async for item in account.listing(container, versions=kept):
        several.append(_of_listing(item, kept))
        if len(several) >= TOGETHER:
            for found in await _looked_at(account, container, several):
                yield found
            several = []
    for found in await _looked_at(account, container, several):
        yield found


async def _looked_at(account: Account, container: str, several: list[Found]) -> list[Found]:
    """Return *several* with the true lengths of those that seem to be empty."""
    looked_at = list(several)

    async def look(number: int) -> None:
        looked_at[number] = await _asked(account, container, several[number])

    flights = Flights(ASKED_AT_ONCE)
    try:
        for number, item in enumerate(several):
            if not item.size and not item.deleted and not item.name.endswith("/"):
                await flights.add(look(number))
        await flights.land()
    finally:
        await flights.cancel()
    return looked_at


async def _asked(account: Account, container: str, item: Found) -> Found:
    query = {"version-id": item.version} if item.version else None
    answer = await account.request("HEAD", container, item.name, query=query)
    if answer.status == 404:
        return replace(item, fault="it points to what is not there, or has gone just now")
    if not answer.good:
        raise told(f"{container}/{item.name}", answer.status, "")
    length = answer.headers.get("content-length", "")
    etag = answer.headers.get("etag", "").strip('"')
    if not length or not etag:
        return replace(item, fault="it has more segments than the store counts")
    return replace(item, size=int(length), etag=etag) if int(length) else item


def _of_listing(item: dict[str, Any], kept: bool) -> Found:
    latest = bool(item.get("is_latest", True))
    version = str(item.get("version_id", "")) if kept else ""
    return Found(
        name=item["name"],
        # From before versions were kept; as long as nothing came after it, it needs no name.
        version="" if version == UNNAMED and latest else version,
        etag=str(item.get("slo_etag", item["hash"])).strip('"'),
        size=item["bytes"],
        at=moment(item["last_modified"]),
        latest=latest,
        deleted=item.get("content_type", "").startswith("application/x-deleted"),
    )
