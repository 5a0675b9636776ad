"""Segments that no manifest names any more are removed.

A container's listing may lag behind what is stored, so the catalog tells too which blobs there
are: their manifests count whatever the listing shows, and while one of them can't be read, no
segment goes.
"""

import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from rengafs.backends.base import Needed
from rengafs.backends.flights import Flights
from rengafs.backends.swift.account import Account, moment
from rengafs.backends.swift.manifests import entries_of
from rengafs.protocol.errors import Corrupt

READS_AT_ONCE = 8

log = logging.getLogger(__name__)


async def sweep(
    account: Account, container: str, segments: str, before: float, needed: Needed
) -> int:
    """Remove segments that were sent before a moment and that nothing names; return how many.

    :param container: where the manifests are; *segments*: the container of what they name.
    """
    old = [
        item["name"]
        async for item in account.listing(segments)
        if moment(item["last_modified"]) < before
    ]
    named = _Named(account, container, {name.partition("/")[0] for name in old})
    for _ in range(2):  # again for what became a manifest while the others were read
        if not old:
            break
        await named.read(await needed())
        old = [name for name in old if name not in named.segments]
    if old and named.missing:
        log.warning(
            "%d segments in %s stay, as long as blobs can't be read that the catalog knows (one is "
            "%s): rengafs check --contents tells of them, and with --repair marks them as lost",
            len(old),
            segments,
            min(named.missing),
        )
        return 0
    for name in old:
        await account.delete(segments, name)
    return len(old)


class _Named:
    """The segments that manifests name. A blob never changes: each manifest is read once."""

    def __init__(self, account: Account, container: str, owners: AbstractSet[str]) -> None:
        """Mistrust what has no manifest, but is one of *owners*: segments were sent for it."""
        self._account = account
        self._container = container
        self._owners = owners
        self._seen: set[str] = set()
        self.segments: set[str] = set()
        self.missing: set[str] = set()
        """Blobs that are needed and not there."""

    async def read(self, needed: Sequence[str]) -> None:
        """Read the manifests of what is needed, and of what is listed beside."""
        self.missing.clear()
        flights = Flights(READS_AT_ONCE)
        try:
            for key in needed:
                if key not in self._seen:
                    await flights.add(self._one(key, needed=True))
            await flights.land()
            async for item in self._account.listing(self._container):
                if "slo_etag" in item and item["name"] not in self._seen:
                    await flights.add(self._one(item["name"]))
            await flights.land()
        finally:
            await flights.cancel()

    async def _one(self, key: str, *, needed: bool = False) -> None:
        try:
            names = await self._names(self._container, key)
        except Corrupt:
            if needed:
                self.missing.add(key)
            return  # else deleted just now
        if needed and not names and key in self._owners:
            self.missing.add(key)
            return
        self.segments |= names
        self._seen.add(key)

    async def _names(self, container: str, name: str) -> set[str]:
        names: set[str] = set()
        for entry in entries_of(await self._account.manifest(container, name) or b"[]"):
            there, _, segment = entry.path.removeprefix("/").partition("/")
            names.add(segment)
            if entry.nested:
                names |= await self._names(there, segment)
        return names
