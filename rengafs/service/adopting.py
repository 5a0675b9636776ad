"""``rengafs bucket adopt`` and ``refresh``: containers of other programs shown as buckets.

Not a byte is copied or read: an object's ETag, which the store tells, stands for its content
(`rengafs.backends.pieces`), and reading checks it.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import anyio.to_thread

from rengafs.backends.base import Backend
from rengafs.backends.foreign import UNNAMED, Foreign, Found, parse
from rengafs.backends.pieces import seen_mark
from rengafs.catalog.adopting import Adopted, Adoption, Object
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Blob
from rengafs.protocol.errors import UnknownBackend

AT_ONCE = 200
"""Objects in one transaction: others wait for it."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Taken:
    """What was found."""

    objects: int = 0
    versions: int = 0
    """New ones."""
    deleted: int = 0
    """Files whose objects are gone."""


async def adopt(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    backend: str,
    container: str,
    name: str,
    told: Callable[[Taken], None],
) -> tuple[int, Taken]:
    """Make a container a bucket; return its id too. Raises `AlreadyExists`, `UnknownBackend`."""
    store = _backend(backends, backend)
    objects = _objects(backend, container, store.others(container))
    # The first is asked for before anything is made: is there such a container?
    first = await anext(objects, None)
    adoption = await anyio.to_thread.run_sync(catalog.begin_adoption, name, backend, container)
    taken = Taken()
    if first is not None:
        await _take(catalog, adoption, _chained(first, objects), taken, told, set())
    return adoption.bucket, taken


async def refresh(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    bucket: int,
    told: Callable[[Taken], None],
) -> Taken:
    """Take over what others changed since. Raises `NotFound` for a bucket of our own."""
    adoption = await anyio.to_thread.run_sync(catalog.adoption, bucket)
    store = _backend(backends, adoption.backend)
    taken, seen = Taken(), set[str]()
    # As of before: what is saved meanwhile is not taken for gone.
    shown = await anyio.to_thread.run_sync(catalog.adopted, adoption)
    objects = _objects(adoption.backend, adoption.container, store.others(adoption.container))
    await _take(catalog, adoption, objects, taken, told, seen)
    gone = [file for file, key in shown if parse(key).name not in seen]
    for start in range(0, len(gone), AT_ONCE):
        several = gone[start : start + AT_ONCE]
        taken.deleted += await anyio.to_thread.run_sync(catalog.drop_adopted, several)
    return taken


async def _take(
    catalog: Catalog,
    adoption: Adoption,
    objects: AsyncIterator[Object],
    taken: Taken,
    told: Callable[[Taken], None],
    seen: set[str],
) -> None:
    several: list[Object] = []

    async def flush() -> None:
        new, gone = await anyio.to_thread.run_sync(catalog.adopt, adoption, several)
        taken.versions += new
        taken.deleted += gone
        taken.objects += len(several)
        told(taken)

    async for found in objects:
        several.append(found)
        seen.add(found.name)
        if len(several) >= AT_ONCE:
            await flush()
            several = []
    if several:
        await flush()


async def _chained(first: Object, rest: AsyncIterator[Object]) -> AsyncIterator[Object]:
    yield first
    async for item in rest:
        yield item


async def _objects(
    backend: str, container: str, found: AsyncIterator[Found]
) -> AsyncIterator[Object]:
    """Yield objects, each with its versions from the oldest on."""
    same: list[Found] = []
    async for item in found:
        if item.fault:
            log.warning("%s of %s is left out: %s", item.name, container, item.fault)
        if same and same[0].name != item.name:
            yield _object(backend, container, same)
            same = []
        same.append(item)
    if same:
        yield _object(backend, container, same)


def _object(backend: str, container: str, same: list[Found]) -> Object:
    # The newest come first; within the same moment that order holds.
    oldest_first = same[::-1]
    ordered = sorted(oldest_first, key=lambda item: (item.latest, item.at))
    kept = [
        _adopted(backend, container, item) for item in ordered if not (item.deleted or item.fault)
    ]
    return Object(same[0].name, kept, deleted=ordered[-1].deleted)


def _adopted(backend: str, container: str, item: Found) -> Adopted:
    place, name = item.place or (container, item.name)
    foreign = Foreign(place, name, item.version, item.etag)
    formerly = ""
    if item.place or item.version == UNNAMED:
        # As it was known while nothing had come after it.
        earlier = "" if item.version == UNNAMED else item.version
        formerly = Foreign(container, item.name, earlier, item.etag).key
    # By what the store tells: without versions an object of the same name may come again.
    mark = seen_mark(place, name, item.version, item.etag, str(item.size))
    blob = Blob(backend, foreign.key, item.size, mark)
    return Adopted(blob, round(item.at * 1_000_000), formerly)


def _backend(backends: Mapping[str, Backend], name: str) -> Backend:
    if name not in backends:
        raise UnknownBackend(f"there is no backend {name!r}; choose of: {', '.join(backends)}")
    return backends[name]
