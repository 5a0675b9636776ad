"""Logging in at an OpenID Connect issuer by the device flow (RFC 8628).

It suits a machine without a browser: the person opens an address anywhere, types a short
code, and this machine asks now and then whether that was done.
"""

import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from rengafs.client.access.credentials import Secret
from rengafs.client.connection import translated
from rengafs.protocol.errors import NotAuthenticated, UnexpectedAnswer

ANSWER_SECONDS = 20.0
LONGEST_SECONDS = 900.0
"""However long an issuer lets its codes be good for."""
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Discovered(msgspec.Struct, frozen=True):
    """What an issuer says of itself."""

    token_endpoint: str
    device_authorization_endpoint: str = ""


class Started(msgspec.Struct, frozen=True):
    """A login that waits for its person."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float = LONGEST_SECONDS
    interval: float = 5.0
    verification_uri_complete: str = ""


class Granted(msgspec.Struct, frozen=True):
    """The issuer's good answer."""

    access_token: str
    expires_in: float | None = None
    refresh_token: str = ""


class Refused(msgspec.Struct, frozen=True):
    """The issuer's other answer."""

    error: str
    error_description: str = ""


def log_in(
    issuer: str,
    client_id: str,
    scope: str,
    *,
    show: Callable[[Started], None],
    wait: Callable[[float], None] = time.sleep,
) -> Secret:
    """Return what the issuer gives once the person has agreed.

    :param show: tells the person where to go with which code.
    :param wait: waits so many seconds.

    Raises `NotAuthenticated` if the person does not agree in time, `Unreachable`,
    `UnexpectedAnswer`.
    """
    with httpx.Client(timeout=ANSWER_SECONDS) as http:
        found = _discover(http, issuer)
        if not found.device_authorization_endpoint:
            raise NotAuthenticated(f"{issuer} knows no login by code; give a token instead")
        form = {"client_id": client_id, "scope": scope}
        started = _post(http, found.device_authorization_endpoint, form, Started)
        if isinstance(started, Refused):
            raise NotAuthenticated(f"{issuer} refuses: {_told(started)}")
        show(started)
        granted = _poll(http, found.token_endpoint, client_id, started, wait)
    return _secret(granted, issuer, client_id, "")


def refresh(secret: Secret) -> Secret:
    """Return a fresh secret for one that has ended. Raises as `log_in`."""
    with httpx.Client(timeout=ANSWER_SECONDS) as http:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": secret.refresh_token,
            "client_id": secret.client_id,
        }
        granted = _post(http, _discover(http, secret.issuer).token_endpoint, form, Granted)
    if isinstance(granted, Refused):
        raise NotAuthenticated(f"the login has ended ({_told(granted)}); say: rengafs login")
    return _secret(granted, secret.issuer, secret.client_id, secret.refresh_token)


def _poll(
    http: httpx.Client,
    address: str,
    client_id: str,
    started: Started,
    wait: Callable[[float], None],
) -> Granted:
    form = {
        "grant_type": DEVICE_GRANT,
        "device_code": started.device_code,
        "client_id": client_id,
    }
    deadline = time.monotonic() + min(started.expires_in, LONGEST_SECONDS)
    interval = max(started.interval, 0.1)
    while time.monotonic() < deadline:
        wait(interval)
        answer = _post(http, address, form, Granted)
        if isinstance(answer, Granted):
            return answer
        if answer.error == "slow_down":
            interval += 5.0
        elif answer.error != "authorization_pending":
            raise NotAuthenticated(f"the login was not agreed to: {_told(answer)}")
    raise NotAuthenticated("nobody agreed to the login in time; try again")


def _discover(http: httpx.Client, issuer: str) -> Discovered:
    address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    with translated(issuer):
        found: Discovered = _decoded(http.get(address), Discovered)
    return found


def _post(http: httpx.Client, address: str, form: dict[str, str], kind: type[Any]) -> Any:
    with translated(address):
        response = http.post(address, data=form)
    return _decoded(response, Refused if response.status_code in (400, 401, 403) else kind)


def _decoded(response: httpx.Response, kind: type[Any]) -> Any:
    if response.status_code >= 500 or response.status_code == 404:
        raise UnexpectedAnswer(f"{response.url} answered {response.status_code}")
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise UnexpectedAnswer(f"{response.url} answers no OpenID Connect ({error})") from None


def _secret(granted: Granted, issuer: str, client_id: str, refresh_token: str) -> Secret:
    ends = None
    if granted.expires_in is not None:
        ends = time.time_ns() // 1_000_000 + int(granted.expires_in * 1000)
    return Secret(
        token=granted.access_token,
        expires_ms=ends,
        refresh_token=granted.refresh_token or refresh_token,
        issuer=issuer,
        client_id=client_id,
    )


def _told(refused: Refused) -> str:
    return refused.error_description or refused.error
