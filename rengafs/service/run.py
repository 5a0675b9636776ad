"""`serve`: a service's life, from its options to its end.

Stops at SIGTERM, SIGINT, or when its last user leaves: it takes no more connections, ends
the feeds at once, and gives requests under way a bounded time.
"""

import asyncio
import importlib.metadata
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from rengafs.backends.base import Backend
from rengafs.backends.local import open_local
from rengafs.catalog import droppings
from rengafs.catalog.catalog import Catalog, open_catalog
from rengafs.catalog.database import sqlite_url
from rengafs.protocol.errors import SetupError
from rengafs.service.app import create_app
from rengafs.service.leaving import leave_after_users
from rengafs.service.listening import listening
from rengafs.service.parts import Parts
from rengafs.service.place import open_place
from rengafs.service.trickles import TrickleProtocol

STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections: they, not we, close them, so no request is lost."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeOptions:
    """What a service is started with."""

    listen: str
    """``HOST:PORT`` (port 0: any that is free) or ``unix:PATH``."""
    data: Path
    catalog: str = ""
    """URL of the catalog's database; empty: SQLite in *data*."""
    users_lock: Path | None = None
    """Leave when nobody holds a shared lock on this file: see `leaving`."""
    workers: int = 1
    insecure: bool = False
    """Listen on other hosts than this one, without TLS."""
    droppings: tuple[str, ...] = droppings.DEFAULT
    """Patterns of names that editors leave behind: see `rengafs.catalog.droppings`."""
    import_private: bool = False
    """Import URLs from private addresses too: see `importing`."""


def serve(options: ServeOptions, *, ready: Callable[[str], None] | None = None) -> None:
    """Serve until told to stop. *ready* gets the address once connections are accepted.

    Raises `SetupError` for what keeps it from starting.
    """
    if options.workers != 1:
        raise SetupError("one process has one worker; start several behind a proxy instead")
    with listening(options.listen, insecure=options.insecure) as (sock, address):
        catalog = open_service_catalog(options)
        try:
            backends = open_backends(options, catalog)
            version = importlib.metadata.version("rengafs")
            private = options.import_private
            app = create_app(catalog, backends, version=version, fetch_private=private)
            config = uvicorn.Config(
                app,
                loop="uvloop",
                http=TrickleProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
            server = _Server(config, app.state.parts, options.users_lock)
            server.run_on(sock, lambda: _tell(address, ready))
        finally:
            catalog.close()


def open_service_catalog(options: ServeOptions) -> Catalog:
    """Open the catalog that *options* mean, made if need be. Raises `SetupError`."""
    data = open_place(options.data.absolute())
    url = options.catalog or sqlite_url(data / "catalog.sqlite")
    return open_catalog(url, droppings=options.droppings)


def open_backends(options: ServeOptions, catalog: Catalog) -> dict[str, Backend]:
    """Open the backends that *options* mean, by name. Raises `SetupError`."""
    local = open_local(options.data.absolute() / "blobs", owner=catalog.identity.catalog)
    return {local.name: local}


def _tell(address: str, ready: Callable[[str], None] | None) -> None:
    log.info("serving at %s", address)
    if ready is not None:
        ready(address)


class _Server(uvicorn.Server):
    """uvicorn's server, with our beginning and end."""

    def __init__(self, config: uvicorn.Config, parts: Parts, users_lock: Path | None) -> None:
        super().__init__(config)
        self._parts = parts
        self._users_lock = users_lock
        self._started: Callable[[], None] = lambda: None
        self._leaving: asyncio.Task[None] | None = None

    def run_on(self, sock: socket.socket, started: Callable[[], None]) -> None:
        """Serve on a socket that listens; call *started* when requests are answered."""
        self._started = started
        self.run(sockets=[sock])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin; see uvicorn."""
        await super().startup(sockets)
        if self._users_lock is not None:
            self._leaving = asyncio.create_task(leave_after_users(self._users_lock, self._leave))
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; see uvicorn. The feeds never would by themselves."""
        self._parts.hub.close()
        if self._leaving is not None:
            self._leaving.cancel()
        await super().shutdown(sockets)

    def _leave(self) -> None:
        log.info("nobody uses this service any more; it leaves")
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT.

        uvicorn's own raises them again at the end, which would kill the process before the
        socket's file is removed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._stop) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        log.info("stopping (%s)", signal.Signals(number).name)
        self.should_exit = True
