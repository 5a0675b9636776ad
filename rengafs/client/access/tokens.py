"""The token for a service, from wherever it was put: a file, the environment, a login.

In this order, the first that there is: the file that was named, the environment, the
configuration's file for that service, the login.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rengafs.client.access.credentials import Store
from rengafs.client.access.renewing import LOCK_NAME, renewed
from rengafs.client.access.settings import Settings, plain
from rengafs.protocol.errors import NotAuthenticated

ENDPOINT_VARIABLE = "RENGA_ENDPOINT"
TOKEN_VARIABLE = "RENGA_ACCESS_TOKEN"


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A token, and where it was."""

    token: str = field(repr=False)
    origin: str
    file: Path | None = None
    """The file, if it was in one that others may look into, too."""
    expires_ms: int | None = None
    """When it ends, if that is known."""


def find_token(
    address: str,
    *,
    file: Path | None,
    environment: Mapping[str, str],
    settings: Settings,
    store: Store,
    refused: str = "",
) -> FoundToken | None:
    """Return the token for the service at *address*, or None if there is none anywhere.

    :param refused: a token that the service refused: that of a login is renewed then.

    Raises `NotAuthenticated` for a file that can't be read and a login that has ended,
    `SetupError` for a keyring that does not answer.
    """
    if file is not None:
        return FoundToken(read_token(file), str(file), file)
    if token := _in(environment, address, settings):
        return FoundToken(token, TOKEN_VARIABLE)
    named = settings.named(address)
    if named is not None and named[1].token_file:
        # Relative to the configuration, not to wherever the command was said.
        found = settings.file.parent / Path(named[1].token_file).expanduser()
        return FoundToken(read_token(found), f"{found}, named in {settings.file}", found)
    secret = renewed(address, store, settings.file.with_name(LOCK_NAME), refused)
    if secret is None:
        return None
    return FoundToken(secret.token, store.place, expires_ms=secret.expires_ms)


def read_token(file: Path) -> str:
    """Return the token in *file*. Raises `NotAuthenticated` where there is none."""
    try:
        token = file.read_text(errors="replace").strip()
    except OSError as error:
        raise NotAuthenticated(f"can't read the token file {file} ({error.strerror})") from None
    if not token:
        raise NotAuthenticated(f"the token file {file} is empty")
    return token


def _in(environment: Mapping[str, str], address: str, settings: Settings) -> str:
    """Return the environment's token, unless it is there for another service."""
    endpoint = environment.get(ENDPOINT_VARIABLE, "").strip()
    if endpoint and plain(settings.address(endpoint)) != plain(address):
        return ""
    return environment.get(TOKEN_VARIABLE, "").strip()
