"""`serve`: a service's life, from its options to its end.

Stops at SIGTERM, SIGINT, or when its last user leaves: it takes no more connections, ends
the feeds at once, and gives requests under way a bounded time.
"""

import asyncio
import gc
import importlib.metadata
import logging
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from rengafs.backends.base import Backend
from rengafs.backends.configuration import Configuration, load
from rengafs.catalog import droppings
from rengafs.catalog.catalog import Catalog, open_catalog
from rengafs.catalog.database import sqlite_url
from rengafs.memory import keep_memory
from rengafs.protocol.errors import SetupError
from rengafs.service.app import create_app
from rengafs.service.health import SHARED_METRICS, forget_process
from rengafs.service.issuing import Issuer, Trust, check_trust
from rengafs.service.leaving import leave_after_users
from rengafs.service.listening import listening
from rengafs.service.parking import Parking
from rengafs.service.parts import Parts
from rengafs.service.peers import PeerProtocol
from rengafs.service.place import BACKENDS, Elsewhere, find_place, make_place, remember
from rengafs.service.workers import Workers

STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep idle connections: they, not we, close them, so no request is lost."""
GARBAGE = 20_000
"""Objects more than before, and the collector looks for cycles among them."""

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
    """Processes; see `workers`."""
    insecure: bool = False
    """Listen on other hosts than this one, without TLS."""
    droppings: tuple[str, ...] = droppings.DEFAULT
    """Patterns of names that editors leave behind: see `rengafs.catalog.droppings`."""
    import_private: bool = False
    """Import URLs from private addresses too: see `importing`."""
    trust: Trust | None = None
    """Whose tokens are taken beside the catalog's own: see `issuing`."""
    presigned: bool = False
    """Send readers who can follow straight to Swift and S3: see `directing`."""
    backends: Path | None = None
    """The file that names backends: see `rengafs.backends.configuration`.

    None: ``backends.toml`` in the data; without that there is local disk alone.
    """


def serve(
    options: ServeOptions,
    *,
    ready: Callable[[str], None] | None = None,
    logs: Callable[[], None] | None = None,
) -> None:
    """Serve until told to stop. *ready* gets the address once connections are accepted.

    :param logs: begins the log of a further process, where there are several workers.

    Raises `SetupError` for what keeps it from starting.
    """
    if options.trust is not None:
        check_trust(options.trust, insecure=options.insecure)
    if options.workers > 1 and options.users_lock is not None:
        raise SetupError("a service that leaves after its users has one worker")
    with listening(options.listen, insecure=options.insecure) as (sock, address):

        def started() -> None:
            log.info("serving at %s", address)
            if ready is not None:
                ready(address)

        if options.workers == 1:
            _serve_on(sock, options, started)
            return
        _open_once(options)
        with tempfile.TemporaryDirectory(prefix="rengafs-metrics-") as metrics:
            Workers(
                options.workers,
                partial(_work, sock, options, logs),
                environment={SHARED_METRICS: metrics},
                buried=partial(forget_process, directory=metrics),
            ).run(started)


def _open_once(options: ServeOptions) -> None:
    """Find out what keeps all workers from starting, and update the catalog's schema."""
    catalog = _make_service_catalog(options)
    try:
        open_backends(options, catalog)
    finally:
        catalog.close()


def _work(
    sock: socket.socket,
    options: ServeOptions,
    logs: Callable[[], None] | None,
    started: Callable[[], None],
) -> None:
    """Be one of several workers, in a process of one's own."""
    if logs is not None:
        logs()
    _serve_on(sock, options, started)


def _serve_on(sock: socket.socket, options: ServeOptions, started: Callable[[], None]) -> None:
    keep_memory(heaps=1)  # 6 GiB on their way to Swift took 50 MiB more with two
    catalog = _make_service_catalog(options)
    try:
        issuer = None
        if options.trust is not None:
            issuer = Issuer(options.trust, insecure=options.insecure)
        app = create_app(
            catalog,
            open_backends(options, catalog),
            version=importlib.metadata.version("rengafs"),
            issuer=issuer,
            fetch_private=options.import_private,
            presigned=options.presigned,
        )
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=PeerProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        _Server(config, app.state.parts, options.users_lock).run_on(sock, started)
    finally:
        catalog.close()


def open_service_catalog(options: ServeOptions) -> Catalog:
    """Open the catalog of a service that has been started once. Raises `SetupError`.

    Nothing is made: what is mistyped is not to look like an empty service.
    """
    return _open(options, find_place(options.data.absolute()), make=False)


def make_service_data(options: ServeOptions) -> None:
    """Make the data of a service that has not been started yet, if need be. Raises `SetupError`."""
    _make_service_catalog(options).close()


def _make_service_catalog(options: ServeOptions) -> Catalog:
    """Open the catalog that *options* mean, made if need be. Raises `SetupError`."""
    data = make_place(options.data.absolute())
    catalog = _open(options, data, make=True)
    try:
        backends = "" if options.backends is None else str(options.backends.absolute())
        remember(data, Elsewhere(catalog=options.catalog, backends=backends))
    except BaseException:
        catalog.close()
        raise
    return catalog


def _open(options: ServeOptions, data: Path, *, make: bool) -> Catalog:
    url = options.catalog or sqlite_url(data / "catalog.sqlite")
    names = _configured(options).names
    return open_catalog(url, make=make, backends=names, droppings=options.droppings)


def open_backends(
    options: ServeOptions, catalog: Catalog, *, parks: bool = True
) -> dict[str, Backend]:
    """Open the backends that *options* mean, by name. Raises `SetupError`.

    :param parks: whether small blobs for a store may stay in the catalog for a while.
    """
    configuration = _configured(options)
    data = options.data.absolute() / "blobs"
    opened = configuration.open(data, catalog.identity.catalog)
    for name, backend in opened.items():
        if backend.distant:
            seconds = configuration.parked_seconds(name) if parks else 0.0
            opened[name] = Parking(backend, catalog, seconds)
    return opened


def _configured(options: ServeOptions) -> Configuration:
    """Read which backends there are: of the file named, or else of one in the data."""
    beside = options.data.absolute() / BACKENDS
    return load(options.backends or (beside if beside.is_file() else None))


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
        # Nearly all that is there by now stays: the collector need not look at it again and again.
        gc.freeze()
        gc.set_threshold(GARBAGE, 20, 50)
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
