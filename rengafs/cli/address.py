"""Which service a command speaks to, and with which token."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rengafs.cli.embedded import embedded
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.paths import Paths
from rengafs.client.access.credentials import find_store
from rengafs.client.access.settings import EMBEDDED, Settings, read_settings, settings_file
from rengafs.client.access.tokens import (
    ENDPOINT_VARIABLE,
    TOKEN_VARIABLE,
    FoundToken,
    find_token,
)
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.retry import ask_once
from rengafs.protocol import endpoints
from rengafs.protocol.errors import NotAuthenticated, Unreachable
from rengafs.protocol.records import ServiceInfo

PROBE_SECONDS = 10.0
"""A service that answers a first question later than this is not one to mount."""


@dataclass(frozen=True, slots=True)
class Meant:
    """The service that is meant, and what said so."""

    address: str | None
    """None: the embedded one."""
    origin: str

    @property
    def name(self) -> str:
        """What a command can be told to mean the same."""
        return self.address or EMBEDDED


def meant(text: str | None, environment: Mapping[str, str], settings: Settings) -> Meant:
    """Return the service that is meant: by *text*, else the environment, else the settings.

    Raises `SetupError` for a name that is not known, and for what is no address.
    """
    said = (
        (text, "--endpoint"),
        (environment.get(ENDPOINT_VARIABLE, "").strip(), ENDPOINT_VARIABLE),
        (settings.endpoint, str(settings.file)),
    )
    for value, origin in said:
        if value:
            if value == EMBEDDED:
                return Meant(None, origin)
            address = _absolute(settings.address(value))
            Endpoint(address).base_url()  # refuses what is none
            return Meant(address, origin)
    return Meant(None, "nothing says otherwise")


def _absolute(address: str) -> str:
    """Return an address that means the same wherever a process stands."""
    path = address.removeprefix("unix:")
    return f"unix:{Path(path).absolute()}" if path and path != address else address


def token_for(
    address: str,
    file: Path | None,
    environment: Mapping[str, str],
    settings: Settings,
    refused: str = "",
) -> FoundToken | None:
    """Return the token for the service at *address*, if there is one; see `find_token`."""
    return find_token(
        address,
        file=file,
        environment=environment,
        settings=settings,
        store=find_store(settings.file, environment),
        refused=refused,
    )


def token_again(
    address: str, file: Path | None, environment: Mapping[str, str], refused: str
) -> FoundToken | None:
    """Return the token as it is now, the configuration read anew; raises as `find_token`."""
    settings = read_settings(settings_file(environment))
    return token_for(address, file, environment, settings, refused)


@contextmanager
def service_of(
    paths: Paths, text: str | None, token_file: Path | None, environment: Mapping[str, str]
) -> Iterator[Endpoint]:
    """Give the service that is `meant`; the embedded one lives while the block runs.

    It has been asked and knows the token. Raises `SetupError`, `Unreachable` and
    `NotAuthenticated`, each with its remedy.
    """
    settings = read_settings(settings_file(environment))
    address = meant(text, environment, settings).address
    if address is None:
        if token_file is not None:
            raise refuse(
                Exit.USAGE,
                f"a token needs a service: say --endpoint URL or set {ENDPOINT_VARIABLE}",
            )
        with embedded(paths, paths.data) as endpoint:
            yield endpoint
        return
    if token_file is not None and not token_file.exists():
        raise refuse(
            Exit.USAGE,
            f"can't read the token file {token_file} (No such file or directory); name another "
            "with --token-file, or say rengafs login",
        )
    found = token_for(address, token_file, environment, settings)
    if found is None:
        raise refuse(
            Exit.REFUSED,
            f"the service wants a token: say rengafs login {address}, give --token-file FILE, "
            f"or set {TOKEN_VARIABLE}",
        )
    endpoint = Endpoint(address, found.token, patience_seconds=PROBE_SECONDS)
    try:
        probe(endpoint)
    except NotAuthenticated:
        # What was kept says that it is still good: the issuer may give another.
        again = token_for(address, token_file, environment, settings, refused=found.token)
        if again is None or again.token == found.token:
            raise
        endpoint = replace(endpoint, token=again.token)
        probe(endpoint)
    yield endpoint


def probe(endpoint: Endpoint) -> ServiceInfo:
    """Ask the service who it is, once. Raises as `service_of` does."""
    driver = BlockingDriver(endpoint)
    try:
        return endpoints.SERVICE.decode(driver.run(ask_once(endpoints.SERVICE.request())))
    except NotAuthenticated as error:
        raise NotAuthenticated(
            f"{endpoint.address} refused the token ({error.message}); give a good one with "
            f"rengafs login, --token-file or {TOKEN_VARIABLE} (rengafs token create makes them)"
        ) from error
    except Unreachable as error:
        raise Unreachable(f"{error.message}; see --endpoint and {ENDPOINT_VARIABLE}") from error
    finally:
        driver.close()


def current_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return this user's configuration. Raises `SetupError` if it can't be read."""
    return read_settings(settings_file(environment))
