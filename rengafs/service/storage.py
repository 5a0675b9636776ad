"""Where buckets' blobs lie, changed beside the service: what ``rengafs bucket`` asks for."""

from collections.abc import Callable, Mapping

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.service.adopting import Taken, adopt, refresh
from rengafs.service.moving import Moved, move
from rengafs.service.run import ServeOptions
from rengafs.service.sharing import find_bucket
from rengafs.service.upkeep import with_data


def move_bucket(
    options: ServeOptions, bucket: str, backend: str, told: Callable[[Moved], None]
) -> Moved:
    """Move a bucket's blobs; see `moving`. Raises `NotFound`, `UnknownBackend`, `SetupError`."""

    async def work(catalog: Catalog, backends: Mapping[str, Backend]) -> Moved:
        return await move(catalog, backends, find_bucket(catalog, bucket), backend, told)

    return with_data(options, work)


def adopt_container(
    options: ServeOptions,
    backend: str,
    container: str,
    *,
    name: str,
    owner: str,
    told: Callable[[Taken], None],
) -> Taken:
    """Show a container as a bucket; see `adopting`.

    :param owner: a user who shall own it; empty: only users of everywhere see it.
    """

    async def work(catalog: Catalog, backends: Mapping[str, Backend]) -> Taken:
        bucket, taken = await adopt(catalog, backends, backend, container, name, told)
        if owner:
            catalog.set_role(bucket, owner, "owner")
        return taken

    return with_data(options, work)


def refresh_bucket(options: ServeOptions, bucket: str, told: Callable[[Taken], None]) -> Taken:
    """Take over what others changed in an adopted container."""

    async def work(catalog: Catalog, backends: Mapping[str, Backend]) -> Taken:
        return await refresh(catalog, backends, find_bucket(catalog, bucket), told)

    return with_data(options, work)
