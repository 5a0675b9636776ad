"""`SwiftStore`: a container of OpenStack Swift, over its own API. One request a method.

A small blob is an object. A long one is a static large object: its segments lie in the
container ``NAME+segments``, as ``KEY/NUMBER`` under the key of the blob for which they were
sent, and the manifest is the blob. A composition's manifest names ranges of its base's
segments, so that keeping a piece costs nothing; therefore deleting a blob deletes its manifest
only, and `sweep` removes segments that no manifest names any more.
"""

import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

import msgspec

from rengafs.backends.base import HASHED_BYTES, Listed, Needed, Space, nobody
from rengafs.backends.foreign import Found, is_foreign, parse
from rengafs.backends.patience import Patience
from rengafs.backends.sending import Body
from rengafs.backends.store import Bytes, Part, Store, Upload
from rengafs.backends.swift.access import Entrance, Login
from rengafs.backends.swift.account import Account, moment
from rengafs.backends.swift.asking import Answer, Asker
from rengafs.backends.swift.errors import told
from rengafs.backends.swift.manifests import (
    NESTED,
    Entry,
    Manifests,
    cut,
    entries_named,
    entries_of,
    grouped,
)
from rengafs.backends.swift.others import others
from rengafs.backends.swift.ranges import Range, check_size, etag_of, in_turn
from rengafs.backends.swift.sweeping import sweep
from rengafs.protocol.errors import BackendRefused, Corrupt, RengafsError

READ_SECONDS = 20.0
COPY_SECONDS = 120.0
"""Longest silence of the store while it copies, or looks at all segments of a manifest."""
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class SwiftSettings:
    """Where a container is, and how to get in."""

    container: str
    login: Login
    tempurl_key: str = field(default="", repr=False)
    """The account's or container's key for TempURL; empty: no presigned URLs."""


class SwiftStore(Store):
    """See the module."""

    part_bytes = 2 * HASHED_BYTES
    copied_bytes = 512 << 20
    max_entries = 1000
    """Of a manifest, as Swift allows it by default; a longer one names others."""
    max_parts = max_entries * max_entries

    def __init__(self, settings: SwiftSettings, *, read_seconds: float = READ_SECONDS) -> None:
        self._settings = settings
        self._container = settings.container
        self._segments = f"{settings.container}+segments"
        self._asker = Asker(read_seconds, COPY_SECONDS)
        self._entrance = Entrance(settings.login, self._asker)
        self._account = Account(self._entrance, self._asker)
        self._manifests = Manifests()
        self._keeps_manifests = False
        """Whether that was tried."""

    @property
    def page_items(self) -> int:
        """What the account asks for."""
        return self._account.page_items

    @page_items.setter
    def page_items(self, most: int) -> None:
        self._account.page_items = most

    @property
    def patience(self) -> Patience:
        """With what the account asks for pages."""
        return self._account.patience

    @patience.setter
    def patience(self, patience: Patience) -> None:
        self._account.patience = patience

    async def put(self, key: str, data: Bytes) -> None:
        """Store a small object; the store compares its MD5."""
        await self._put(self._container, key, data)

    async def begin(self, upload: Upload) -> None:
        """Nothing is there before the first segment; a base is looked at."""
        if not self._keeps_manifests:
            await self._try_manifests(upload.key)
            self._keeps_manifests = True
        if upload.base is None:
            return
        # Whatever is remembered of it: somebody may have put another thing in its place.
        await self.check(upload.base, upload.base_size)
        if not is_foreign(upload.base):
            upload.notes["base"] = await self._entries(upload.base, upload.base_size)

    async def send_part(self, upload: Upload, number: int, data: Bytes) -> Part:
        """Store a segment."""
        name = _segment(upload.key, number)
        await self._put(self._segments, name, data)
        path = f"/{self._segments}/{name}"
        entry = {"path": path, "size_bytes": data.size, "etag": data.md5.hex()}
        return Part(number, data.size, [entry])

    async def copy_part(self, upload: Upload, number: int, start: int, stop: int) -> Part:
        """Name ranges of the base's segments; copy what is no manifest."""
        base = upload.notes.get("base")
        if base:
            assert isinstance(base, list)
            return Part(number, stop - start, [entry.named() for entry in cut(base, start, stop)])
        assert upload.base is not None
        name = _segment(upload.key, number)
        container, source, query = self._place(upload.base)
        headers = {
            "x-copy-from": f"/{quote(container, safe='')}/{quote(source)}",
            # Else what goes with the source comes along: that it expires, for one.
            "x-fresh-metadata": "true",
            "content-type": OCTETS,
            "range": f"bytes={start}-{stop - 1}",
            "content-length": "0",
        }
        if is_foreign(upload.base):
            headers["if-match"] = f'"{parse(upload.base).etag}"'  # or others were here meanwhile
        answer = await self._account.put(
            self._segments, name, headers, seconds=COPY_SECONDS, query=query
        )
        entry = {"path": f"/{self._segments}/{name}", "size_bytes": stop - start}
        if etag := etag_of(answer):
            entry["etag"] = etag
        return Part(number, stop - start, [entry])

    async def finish(self, upload: Upload, parts: Sequence[Part]) -> None:
        """Put the manifest. Swift compares each segment's length and hash before it takes it."""
        entries = named = [entry for part in parts for entry in part.entries]
        while len(entries) > self.max_entries:
            entries = await self._nest(upload.key, entries)
        try:
            await self._put_manifest(self._container, upload.key, entries)
        except RengafsError:
            self._manifests.forget(upload.base or "")  # perhaps it is not what it was
            raise
        self._manifests.remember(upload.key, entries_named(named))

    async def _nest(
        self, key: str, entries: Sequence[dict[str, object]]
    ) -> list[dict[str, object]]:
        """Put manifests of as many entries as one may have; return entries that name them."""
        above: list[dict[str, object]] = []
        for number, group in enumerate(grouped(entries, self.max_entries)):
            name = f"{key}/{NESTED}{len(entries):07}-{number:06}"  # each layer has its own
            await self._put_manifest(self._segments, name, group)
            size = sum(entry.size for entry in entries_named(group))
            above.append({"path": f"/{self._segments}/{name}", "size_bytes": size})
        return above

    async def abandon(self, upload: Upload) -> None:
        """Remove the manifest, should it be there, and then the segments sent for it."""
        await self._account.delete(self._container, upload.key)
        async for item in self._account.listing(self._segments, prefix=f"{upload.key}/"):
            await self._account.delete(self._segments, item["name"])

    async def get(self, key: str, start: int, stop: int, size: int) -> AsyncGenerator[bytes, None]:
        """Yield a range; the answers tell the sizes of the objects that it consists of."""
        ranges = await self._ranges(key, start, stop, size)
        try:
            async with aclosing(in_turn(self._account, f"the blob {key}", ranges)) as pieces:
                async for piece in pieces:
                    yield piece
        except Corrupt:
            self._manifests.forget(key)
            raise

    async def check(self, key: str, size: int) -> None:
        """Ask for the object's size."""
        container, name, query = self._place(key)
        answer = await self._account.request("HEAD", container, name, query=query)
        if not answer.good:
            raise told(f"the blob {key}", answer.status, "")
        check_size(f"the blob {key}", answer, size)
        if is_foreign(key) and etag_of(answer) != parse(key).etag:
            raise Corrupt(_changed(key))

    async def delete(self, key: str) -> None:
        """Remove an object; the sweeper removes segments that nothing needs any more."""
        self._manifests.forget(key)
        await self._account.delete(self._container, key)

    async def list(self) -> AsyncIterator[Listed]:
        """Yield all objects."""
        async for item in self._account.listing(self._container):
            yield Listed(item["name"], item["bytes"], moment(item["last_modified"]))

    async def space(self) -> Space:
        """Return what the quotas of container and account leave."""
        answer = await self._account.request("HEAD", self._container)
        if answer.status == 404:
            await self._account.make_container(self._container)
            answer = await self._account.request("HEAD", self._container)
        if not answer.good:
            raise told(f"the container {self._container}", answer.status, "")
        account = await self._account.request("HEAD", "")
        found = [
            _room(answer, "x-container-meta-quota-bytes", "x-container-bytes-used"),
            _room(account, "x-account-meta-quota-bytes", "x-account-bytes-used"),
        ]
        limited = [space for space in found if space.free is not None]
        return min(limited, key=lambda space: space.free or 0) if limited else Space()

    async def sweep(self, before: float, needed: Needed = nobody) -> int:
        """Remove segments that no manifest names, and that were sent before a moment."""
        return await sweep(self._account, self._container, self._segments, before, needed)

    async def presign(self, key: str, seconds: int) -> str | None:
        """Return a TempURL, if the backend knows the key for them."""
        if not self._settings.tempurl_key or is_foreign(key):
            return None
        access = await self._entrance.access()
        url = f"{access.storage_url}/{quote(self._container, safe='')}/{quote(key)}"
        until = int(time.time()) + seconds
        signed = f"GET\n{until}\n{urlsplit(url).path}".encode()
        sign = hmac.new(self._settings.tempurl_key.encode(), signed, hashlib.sha256).hexdigest()
        return f"{url}?temp_url_sig={sign}&temp_url_expires={until}"

    def others(self, container: str) -> AsyncIterator[Found]:
        """Yield all versions of all objects of a container, by name."""
        return others(self._account, container)

    async def aclose(self) -> None:
        """Close connections."""
        await self._entrance.aclose()
        await self._asker.aclose()

    # --- manifests --------------------------------------------------------------------

    async def _ranges(self, key: str, start: int, stop: int, size: int) -> Sequence[Range]:
        """Return where bytes of a blob are."""
        if not is_foreign(key) and size > self.part_bytes:
            entries = await self._entries(key, size)
            if entries:
                changed = f"a segment of the blob {key} was changed by another program"
                return [_range(entry, changed) for entry in cut(entries, start, stop)]
        container, name, query = self._place(key)
        etag, changed = (parse(key).etag, _changed(key)) if is_foreign(key) else ("", "")
        return [Range(container, name, query, start, stop, size, etag, changed)]

    async def _entries(self, key: str, size: int) -> Sequence[Entry]:
        """Return a blob's segments. Raises `Corrupt` if they are not *size* bytes together."""
        entries = self._manifests.find(key)
        if entries is None:
            entries = await self._manifest(self._container, key)
            self._manifests.remember(key, entries)
        found = sum(entry.size for entry in entries)
        if entries and found != size:
            self._manifests.forget(key)
            raise Corrupt(f"the blob {key} has {found} bytes; it was stored with {size}")
        return entries

    async def _manifest(self, container: str, name: str) -> Sequence[Entry]:
        """Return the segments of an object, those of nested manifests in their place."""
        manifest = await self._account.manifest(container, name)
        if manifest is None:
            return []
        found: list[Entry] = []
        for entry in entries_of(manifest):
            path = entry.path.removeprefix("/").partition("/")
            if entry.nested and entry.whole:
                found += await self._manifest(path[0], path[2])
            else:
                found.append(entry)
        return found

    async def _try_manifests(self, key: str) -> None:
        """Raise `BackendRefused` unless the store takes a manifest of a range, and shows it.

        Ceph's Swift API takes one and forgets the range, without a word.
        """
        segment, name = f"{key}/probe", f"{key}-probe"
        path = f"/{self._segments}/{segment}"
        await self._account.put(self._segments, segment, {}, b"12")
        try:
            entries: list[dict[str, object]] = [{"path": path, "size_bytes": 2, "range": "1-1"}]
            await self._put_manifest(self._container, name, entries)
            manifest = await self._account.manifest(self._container, name)
            if [entry.first for entry in entries_of(manifest or b"[]")] != [1]:
                raise BackendRefused(
                    "the store does not keep manifests as OpenStack's Swift does, so that blobs of "
                    f"over {self.part_bytes >> 20} MiB can't be stored there; does it speak S3?"
                )
        finally:
            await self._account.delete(self._container, name)
            await self._account.delete(self._segments, segment)

    async def _put_manifest(
        self, container: str, name: str, entries: Sequence[dict[str, object]]
    ) -> None:
        body = msgspec.json.encode(entries)
        query = {"multipart-manifest": "put"}
        await self._account.put(container, name, {}, body, seconds=COPY_SECONDS, query=query)

    # --- places -----------------------------------------------------------------------

    async def _put(self, container: str, name: str, data: Bytes) -> None:
        headers = {"etag": data.md5.hex(), "content-length": str(data.size)}
        await self._account.put(container, name, headers, Body(data.pieces))

    def _place(self, key: str) -> tuple[str, str, dict[str, str] | None]:
        if not is_foreign(key):
            return self._container, key, None
        there = parse(key)
        query = {"version-id": there.version} if there.version else None
        return there.container, there.name, query


def _range(entry: Entry, changed: str) -> Range:
    container, _, name = entry.path.removeprefix("/").partition("/")
    stop = entry.last + 1
    return Range(container, name, None, entry.first, stop, entry.segment_bytes, entry.etag, changed)


def _changed(key: str) -> str:
    return f"{parse(key).name} was changed by another program; see rengafs bucket refresh"


def _segment(key: str, number: int) -> str:
    return f"{key}/{number:08}"


def _room(answer: Answer, quota: str, used: str) -> Space:
    limit, taken = answer.headers.get(quota, ""), answer.headers.get(used, "0")
    if not limit.isdecimal():
        return Space()
    return Space(int(limit), max(int(limit) - int(taken), 0))
