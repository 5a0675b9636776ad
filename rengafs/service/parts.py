"""What the handlers of one service share. Made by `create_app`; nothing is global."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from cachetools import LRUCache

from rengafs.backends.base import HASHED_BYTES, Backend
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Content, TokenHolder
from rengafs.protocol.errors import Unavailable
from rengafs.service.authority import Authority
from rengafs.service.feeding import Hub
from rengafs.service.issuing import Issuer

READERS = 6
"""Threads that read the catalog. Its answers are quick: more would fight for one lock."""
WRITERS = 2
"""One writes, one waits."""
SAVERS = 8
"""Threads that carry small saves out: as many as a disk takes syncs of at a time."""
CONTENTS = 4096
"""Versions whose place is remembered: a stream of blocks asks for the same one each time."""
KEPT_PIECES = 64 << 10
"""Bytes of hashes of a version's pieces, up to which its place is remembered: of 16 GiB."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Parts:
    """A service's parts."""

    catalog: Catalog
    backends: Mapping[str, Backend]
    authority: Authority
    hub: Hub
    version: str
    issuer: Issuer | None = None
    """Whose tokens are taken beside the catalog's own."""
    fetch_private: bool = False
    """Whether URLs are imported from private addresses too."""
    presigned: bool = False
    """Whether readers are sent straight to backends: see `directing`."""
    _readers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS))
    _writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(WRITERS))
    _savers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(SAVERS))
    _contents: LRUCache[int, Content] = field(default_factory=lambda: LRUCache(CONTENTS))

    async def read(
        self,
        method: Callable[Concatenate[Catalog, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Ask the catalog, in a thread."""
        call = partial(method, self.catalog, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._readers)

    async def read_for(
        self,
        holder: TokenHolder,
        method: Callable[Concatenate[Catalog, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Ask the catalog as a user sees it: names of hidden buckets are not there."""
        seen = self.catalog.seen_by(None if holder.everywhere else holder.user)
        call = partial(method, seen, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._readers)

    async def write(
        self,
        method: Callable[Concatenate[Catalog, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Change the catalog, in a thread, and wake the feeds."""
        return await self._change(self._writers, method, *args, **kwargs)

    async def save(
        self,
        method: Callable[Concatenate[Catalog, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Do the same where *method* stores bytes, too, before it has its turn to write."""
        return await self._change(self._savers, method, *args, **kwargs)

    async def _change(
        self,
        limiter: anyio.CapacityLimiter,
        method: Callable[Concatenate[Catalog, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        call = partial(method, self.catalog, *args, **kwargs)
        try:
            return await anyio.to_thread.run_sync(call, limiter=limiter)
        finally:
            self.hub.look()

    def backend(self, name: str) -> Backend:
        """Return a backend. Raises `Unavailable` for one that this service has not."""
        try:
            return self.backends[name]
        except KeyError:
            raise Unavailable(
                f"the backend {name!r} is not enabled in this service; ask its administrator"
            ) from None

    async def content(self, version: int) -> Content:
        """Return where a version lies. Raises `NotFound`."""
        content = self._contents.get(version)
        if content is None:
            content = await self.read(Catalog.content, version)
            if content.size > HASHED_BYTES:
                content = await self.read(Catalog.with_pieces, content)
            if content.blob is None or len(content.blob.pieces) <= KEPT_PIECES:
                self._contents[version] = content
        return content

    def forget(self, version: int) -> None:
        """Ask the catalog anew where a version lies: its blob may have been healed."""
        self._contents.pop(version, None)
