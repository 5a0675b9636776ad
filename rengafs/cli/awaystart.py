"""A mount whose service does not answer: begun nevertheless where something of it is at hand."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rengafs.cli import output
from rengafs.cli.address import current_settings, meant, service_of, token_for
from rengafs.cli.paths import Paths
from rengafs.client.connection import Endpoint
from rengafs.fs.pins.known import read_known
from rengafs.fs.pins.recent import Recent, read_recents
from rengafs.fs.pins.records import Pin, directory_of, read_pins
from rengafs.protocol.errors import RengafsError, Unreachable
from rengafs.protocol.records import ServiceInfo


@contextmanager
def service_or_cache(
    paths: Paths,
    text: str | None,
    token_file: Path | None,
    environment: Mapping[str, str],
    cache: Path,
) -> Iterator[tuple[Endpoint, ServiceInfo | None]]:
    """Give the service that is meant and, if it is away, which one it is by what is at hand.

    Raises as `service_of` does; `Unreachable` if nothing of the service is pinned or cached.
    """
    with ExitStack() as held:
        try:
            endpoint = held.enter_context(service_of(paths, text, token_file, environment))
        except Unreachable as error:
            address = meant(text, environment, current_settings(environment)).address
            info = None if address is None else _last_seen(paths, address, cache)
            if address is None or info is None:
                raise
            output.aside(
                f"{error.message}; showing what is pinned or cached, until the service is back"
            )
            token = _token(address, token_file, environment)
            yield Endpoint(address, token), info
            return
        yield endpoint, None


def _last_seen(paths: Paths, address: str, cache: Path) -> ServiceInfo | None:
    """Return which service answered at *address* when something of it was kept last."""
    pins = directory_of(paths.state)
    every: list[Recent | Pin] = [*read_recents(pins), *read_pins(pins)]
    found = [kept for kept in every if (kept.endpoint, kept.cache) == (address, str(cache))]
    if not found:
        return None
    last = found[-1]
    if read_known(pins, last.catalog, last.user, cache).is_empty:
        return None
    return ServiceInfo(
        service="",
        catalog=last.catalog,
        change=0,
        user=last.user,
        now_ms=time.time_ns() // 1_000_000,
        backends=[],
    )


def _token(address: str, file: Path | None, environment: Mapping[str, str]) -> str:
    try:
        found = token_for(address, file, environment, current_settings(environment))
    except RengafsError as error:
        output.aside(f"there is no token at present ({error.message})")
        return ""
    return "" if found is None else found.token
