"""Sweep and check of a service's data, beside the service or without it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.service.checking import Report, check
from rengafs.service.run import ServeOptions, open_backends, open_service_catalog
from rengafs.service.settling import Settler
from rengafs.service.sweeping import GRACE_SECONDS, Swept, sweep

T = TypeVar("T")


def sweep_data(
    options: ServeOptions, *, grace_seconds: float = GRACE_SECONDS, dry_run: bool = False
) -> Swept:
    """Remove blobs that nothing refers to; see `sweeping`. Raises `SetupError`.

    Small blobs that wait in the catalog are put into their backends first.
    """

    async def work(catalog: Catalog, backends: Mapping[str, Backend]) -> Swept:
        if not dry_run:
            await Settler(catalog, backends).settle_all()
        return await sweep(catalog, backends, grace_seconds=grace_seconds, dry_run=dry_run)

    return with_data(options, work)


def check_data(options: ServeOptions, *, contents: bool = False, repair: bool = False) -> Report:
    """Compare catalog and backends; see `checking`. Raises `SetupError`."""
    return with_data(
        options,
        lambda catalog, backends: check(catalog, backends, contents=contents, repair=repair),
    )


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
