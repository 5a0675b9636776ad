"""Sweep and check of a service's data, beside the service or without it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
import anyio.to_thread

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.service.checking import Report, check
from rengafs.service.run import ServeOptions, open_backends, open_service_catalog
from rengafs.service.settling import Settler
from rengafs.service.sweeping import GRACE_SECONDS, Looked, Swept, sweep

T = TypeVar("T")


def sweep_data(
    options: ServeOptions,
    *,
    grace_seconds: float = GRACE_SECONDS,
    dry_run: bool = False,
    looked: Looked = lambda count: None,
) -> Swept:
    """Remove blobs that nothing refers to; see `sweeping`. Raises `SetupError`.

    Small blobs that wait in the catalog are put into their backends first.
    """

    async def work(catalog: Catalog, backends: Mapping[str, Backend]) -> Swept:
        if not dry_run:
            await Settler(catalog, backends).settle_all()
        return await sweep(
            catalog, backends, grace_seconds=grace_seconds, dry_run=dry_run, looked=looked
        )

    return with_data(options, work)


def check_data(
    options: ServeOptions,
    *,
    contents: bool = False,
    repair: bool = False,
    told: Callable[[Report, int], None] = lambda so_far, total: None,
) -> Report:
    """Compare catalog and backends; see `checking`. Raises `SetupError`.

    :param told: called now and then, with what was looked at so far, and with the bytes of all.
    """

    async def work(catalog: Catalog, backends: Mapping[str, Backend]) -> Report:
        total = await anyio.to_thread.run_sync(catalog.bytes_of_blobs)
        return await check(
            catalog,
            backends,
            contents=contents,
            repair=repair,
            told=lambda so_far: told(so_far, total),
        )

    return with_data(options, work)


def with_data(
    options: ServeOptions, work: Callable[[Catalog, Mapping[str, Backend]], Awaitable[T]]
) -> T:
    """Run *work* with the catalog and the backends of a service's data. Raises `SetupError`."""

    async def run(catalog: Catalog) -> T:
        backends = open_backends(options, catalog, parks=False)
        try:
            return await work(catalog, backends)
        finally:
            for backend in backends.values():
                await backend.aclose()

    catalog = open_service_catalog(options)
    try:
        return anyio.run(run, catalog)
    finally:
        catalog.close()
