"""Bytes that lie elsewhere: a service may send a reader to a signed address in the backend.

Only requests that say so are sent there. The address is the backend's, so no token goes
with the request; and where it does not work, the service is asked for the bytes itself.
"""

from collections.abc import Mapping
from dataclasses import replace

import httpx

from rengafs.protocol.endpoints import DIRECT_HEADER
from rengafs.protocol.messages import Request

REDIRECT = 307
GIVE_UP_SECONDS = 60.0
"""An address that did not answer is not tried again for so long."""


def leads_elsewhere(request: Request, response: httpx.Response) -> bool:
    """Whether the answer of a service sends the reader elsewhere."""
    return response.status_code == REDIRECT and DIRECT_HEADER in request.headers


def address_of(response: httpx.Response) -> str:
    """Return where to; empty for what can't be fetched."""
    address: str = response.headers.get("location", "")
    return address if address.startswith(("http://", "https://")) else ""


def headers_of(request: Request) -> Mapping[str, str]:
    """Return what is said there: which bytes, and nothing of who asks."""
    wanted = {"accept-encoding": "identity"}
    if "range" in request.headers:
        wanted["range"] = request.headers["range"]
    return wanted


def is_answer(request: Request, response: httpx.Response) -> bool:
    """Whether what came from there is what was asked for."""
    return response.status_code == (206 if "range" in request.headers else 200)


def without(request: Request) -> Request:
    """Return the request to which the service answers the bytes itself."""
    headers = {name: value for name, value in request.headers.items() if name != DIRECT_HEADER}
    return replace(request, headers=headers)
