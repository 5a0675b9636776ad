"""Which service a command speaks to, and with which token."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rengafs.cli.embedded import embedded
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.paths import Paths
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.retry import ask_once
from rengafs.protocol import endpoints
from rengafs.protocol.errors import NotAuthenticated, SetupError, Unreachable
from rengafs.protocol.records import ServiceInfo

ENDPOINT_VARIABLE = "RENGA_ENDPOINT"
TOKEN_VARIABLE = "RENGA_ACCESS_TOKEN"
PROBE_SECONDS = 10.0
"""A service that answers a first question later than this is not one to mount."""


@contextmanager
def service_of(
    paths: Paths, address: str | None, token_file: Path | None, environment: Mapping[str, str]
) -> Iterator[Endpoint]:
    """Give the service at *address*, or the embedded one, which lives while the block runs.

    It has been asked and knows the token. Raises `SetupError`, `Unreachable` and
    `NotAuthenticated`, each with its remedy.
    """
    if address is None:
        if token_file is not None:
            raise refuse(
                Exit.USAGE,
                f"a token needs a service: say --endpoint URL or set {ENDPOINT_VARIABLE}",
            )
        with embedded(paths, paths.data) as endpoint:
            yield endpoint
    else:
        endpoint = Endpoint(
            address, _token(token_file, environment), patience_seconds=PROBE_SECONDS
        )
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
            f"--token-file or {TOKEN_VARIABLE} (rengafs token create makes them)"
        ) from error
    except Unreachable as error:
        raise Unreachable(f"{error.message}; see --endpoint and {ENDPOINT_VARIABLE}") from error
    finally:
        driver.close()


def _token(file: Path | None, environment: Mapping[str, str]) -> str:
    if file is None:
        token = environment.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise refuse(
                Exit.REFUSED,
                f"the service wants a token: give --token-file FILE or set {TOKEN_VARIABLE}",
            )
        return token
    return read_token(file)


def read_token(file: Path) -> str:
    """Return the token in *file*. Raises `SetupError` where there is none."""
    try:
        token = file.read_text(errors="replace").strip()
    except OSError as error:
        raise SetupError(
            f"can't read the token file {file} ({error.strerror})", exit=int(Exit.REFUSED)
        ) from None
    if not token:
        raise refuse(Exit.REFUSED, f"the token file {file} is empty")
    return token
