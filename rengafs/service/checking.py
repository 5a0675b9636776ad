"""`check`: do catalog and backends agree? It may run beside a service.

Every blob that the catalog knows must be there, of its size, and, if asked for, of its
hash; the running sums must be what is counted. What a backend has beyond that is the
sweeper's, and only counted here.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import anyio.to_thread

from rengafs.backends.base import Backend
from rengafs.backends.pieces import is_mark
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.stock import LOST, Known
from rengafs.catalog.values import Blob, Content
from rengafs.protocol.errors import Corrupt
from rengafs.service.fetching import fetch
from rengafs.service.sweeping import GRACE_SECONDS, orphans

PAGE = 500


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what it should be."""

    blob: int
    backend: str
    what: str
    key: str
    """As the catalog has it."""
    better_key: str
    """As a repair sets it."""
    versions: list[int]
    """Whose bytes it holds; the first hundred."""


@dataclass(slots=True)
class Report:
    """What a check found."""

    blobs: int = 0
    size: int = 0
    """Bytes of them."""
    damaged: list[Damage] = field(default_factory=list)
    sums_agree: bool = True
    orphans: int = 0
    """Blobs that no version needs, older than the sweeper's grace."""
    stored: int = 0
    """Blobs that the backends have."""

    @property
    def clean(self) -> bool:
        """Whether catalog and backends agree."""
        return self.sums_agree and not self.damaged


async def check(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    *,
    contents: bool = False,
    repair: bool = False,
    grace_seconds: float = GRACE_SECONDS,
    told: Callable[[Report], None] = lambda so_far: None,
) -> Report:
    """Compare; return what was found, before any repair.

    :param contents: read every blob and compare its hash.
    :param repair: mark damaged blobs as lost: the next save of the same bytes then heals
        their versions, and until then reading them fails as before. What was marked and is
        whole again (its disk was not there) is unmarked. The sums are corrected.
    :param told: called now and then, with what was looked at so far.
    """
    report = Report(sums_agree=await anyio.to_thread.run_sync(catalog.sums_agree))
    after = 0
    while page := await anyio.to_thread.run_sync(catalog.blobs, after, PAGE):
        for known in page:
            end = report.size + known.blob.size

            def read(count: int, end: int = end) -> None:
                report.size = min(end, report.size + count)
                told(report)

            damage = await _examine(catalog, known, backends, contents, read)
            if damage is not None:
                report.damaged.append(damage)
            report.blobs += 1
            report.size = end
            told(report)
        after = page[-1].id
    await _count_stored(report, catalog, backends, grace_seconds, told)
    if repair and not report.clean:
        keys = {damage.blob: damage.better_key for damage in report.damaged}
        await anyio.to_thread.run_sync(catalog.repair, keys)
    return report


async def _count_stored(
    report: Report,
    catalog: Catalog,
    backends: Mapping[str, Backend],
    grace_seconds: float,
    told: Callable[[Report], None],
) -> None:
    """Count what the backends have, and what of it no version needs."""
    before = time.time() - grace_seconds

    def looked(count: int) -> None:
        report.stored += count
        told(report)

    for backend in backends.values():
        async for orphan in orphans(catalog, backend, looked):
            report.orphans += orphan.at <= before


async def _examine(
    catalog: Catalog,
    known: Known,
    backends: Mapping[str, Backend],
    contents: bool,
    read: Callable[[int], None],
) -> Damage | None:
    blob = known.blob
    backend = backends.get(blob.backend)
    key = blob.key.removeprefix(LOST)
    better = blob.key
    if backend is None:
        what = f"the backend {blob.backend!r} is not enabled"
    else:
        what = await _fault(backend, replace(blob, key=key), contents, read)
        better = LOST + key if what else key
    if not what and blob.key == key:
        return None
    versions = await anyio.to_thread.run_sync(catalog.versions_of, known.id)
    what = what or "it was lost, and is there again"
    return Damage(known.id, blob.backend, what, blob.key, better, versions)


async def _fault(backend: Backend, blob: Blob, contents: bool, read: Callable[[int], None]) -> str:
    """Return what is wrong with a blob, or nothing."""
    stop = blob.size if contents else min(blob.size, 1)
    found = hashlib.sha256()
    content = Content(0, 0, blob.size, blob.sha256, blob)
    try:
        if contents and is_mark(blob.sha256):
            # Nobody knows the hash of the whole; those of the pieces are compared.
            async for piece in fetch(backend, blob, content, 0, blob.size):
                read(len(piece))
            return ""
        async for piece in backend.read(blob.key, 0, stop, size=blob.size):
            await anyio.to_thread.run_sync(found.update, piece)
            read(len(piece))
    except Corrupt as error:
        return error.message
    if contents and found.hexdigest() != blob.sha256:
        return f"the blob {blob.key} has other bytes than were stored"
    return ""
