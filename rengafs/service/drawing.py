"""Draws blobs out: what a backend left for later when an edit of a large file was saved.

See `rengafs.backends.local.laid`. Only what people can see of history is worth it: a save that
a later one of the same handle superseded stays as it is until it is pruned.
"""

import logging
from collections.abc import Mapping

import anyio
import anyio.to_thread

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.protocol.errors import RengafsError

REST_SECONDS = 60.0
"""So old is a save that no further one of the same edit supersedes it soon."""
EVERY_SECONDS = 20.0
AT_ONCE = 500

log = logging.getLogger(__name__)


async def draw_out_for_ever(catalog: Catalog, backends: Mapping[str, Backend]) -> None:
    """Draw out what waits, one at a time, until cancelled."""
    while True:
        for backend in backends.values():
            await draw_out(catalog, backend, REST_SECONDS)
        await anyio.sleep(EVERY_SECONDS)


async def draw_out(catalog: Catalog, backend: Backend, rest_seconds: float) -> None:
    """Draw out what has waited for so long; what fails is tried again the next time."""
    try:
        waiting = (await backend.waiting(rest_seconds))[:AT_ONCE]
        if not waiting:
            return
        shown = await anyio.to_thread.run_sync(catalog.shown_keys, backend.name, waiting)
        for key in waiting:
            if key in shown:
                await backend.draw_out(key)
    except RengafsError as error:
        log.warning("%s: blobs stay laid over others for now: %s", backend.name, error)
