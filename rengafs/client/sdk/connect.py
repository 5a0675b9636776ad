"""From what a user gives to an `Endpoint`. Opens nothing."""

from collections.abc import Mapping

from rengafs.client.access.tokens import ENDPOINT_VARIABLE, TOKEN_VARIABLE
from rengafs.client.connection import PATIENCE_SECONDS, Endpoint
from rengafs.protocol.endpoints import EXECUTION_HEADER
from rengafs.protocol.errors import SetupError

EXECUTION_VARIABLE = "RENGA_VERTEX_ID"

Token = str | Mapping[str, str | None] | None
"""A token, or the answer of a login that holds it as ``access_token``."""


def endpoint_of(
    address: str,
    token: Token = None,
    *,
    headers: Mapping[str, str] | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Endpoint:
    """Return the endpoint at ``http://…``, ``https://…`` or ``unix:PATH``."""
    text = token.get("access_token") if isinstance(token, Mapping) else token
    return Endpoint(address, text or "", headers, patience_seconds)


def endpoint_from(environment: Mapping[str, str]) -> Endpoint:
    """Return the endpoint that ``RENGA_ENDPOINT`` and ``RENGA_ACCESS_TOKEN`` name.

    Raises `SetupError` where the former is missing.
    """
    address = environment.get(ENDPOINT_VARIABLE, "")
    if not address:
        raise SetupError(f"{ENDPOINT_VARIABLE} is not set; set it to the address of a service")
    headers = {}
    if execution := environment.get(EXECUTION_VARIABLE, ""):
        if not (execution.isascii() and execution.isdigit()):
            raise SetupError(f"{EXECUTION_VARIABLE} is {execution!r}, which is not a number")
        headers[EXECUTION_HEADER] = execution
    return endpoint_of(address, environment.get(TOKEN_VARIABLE), headers=headers)
