"""Access tokens of an OpenID Connect issuer: judged by its keys, which are fetched and kept.

A token is taken if a key of the issuer's signed it, by an algorithm that proves something,
for this service (its audience), and its time is not over. Who it speaks for is its subject;
what that user is called here comes from a claim, when the user is first seen.

Keys are asked for once an hour. A token with a key that is not known may mean that the
issuer has new ones, so they are asked for again, but only so often: anybody can send such a
token. If the issuer does not answer, the keys that are known stay good for a day.
"""

import asyncio
import ipaddress
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
import msgspec

from rengafs.protocol.errors import (
    BadSetting,
    NotAuthenticated,
    SetupError,
    TokenExpired,
    Unavailable,
)

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures with a private key that nobody but the issuer has; never ``none``, never HMAC."""
NO_ACCESS = frozenset({"id", "refresh", "offline", "logout"})
"""What Keycloak says in the claim ``typ`` of tokens that are for something else."""
LEEWAY_SECONDS = 30
"""How far the issuer's clock may be from ours."""
FRESH_SECONDS = 3600.0
STALE_SECONDS = 24 * 3600.0
ASK_SECONDS = 60.0
MOST_ASKED = 5
"""Fetches within `ASK_SECONDS`."""
TIMEOUT = httpx.Timeout(5.0)
MAX_DOCUMENT = 1 << 20
MAX_SECONDS = 1e12
"""Since 1970: no expiry is beyond the year 30,000. (Python reads ``Infinity``, too.)"""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens are taken."""

    issuer: str
    """As the tokens' claim ``iss`` says it, and where its discovery document lies."""
    audience: str
    """What a token's claim ``aud`` must name: this service."""
    claim: str = "preferred_username"
    """What a new user is called after."""
    client: str = "rengafs"
    """What `rengafs login` is called at the issuer: a public client with the device flow."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who a token speaks for."""

    subject: str
    name: str
    expires_ms: int
    """With the leeway."""


class _Discovery(msgspec.Struct):
    issuer: str
    jwks_uri: str


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def check_trust(trust: Trust, *, insecure: bool) -> None:
    """Raise `SetupError` for an issuer that can't be trusted, or not be asked."""
    if not trust.audience:
        raise BadSetting(
            "tokens of every service of the issuer would be taken; name this one with "
            "--oidc-audience"
        )
    _refuse_clear_text(trust.issuer, insecure=insecure)


class Issuer:
    """Judges an issuer's tokens. Belongs to one event loop."""

    def __init__(
        self,
        trust: Trust,
        *,
        insecure: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trust = trust
        self._insecure = insecure
        self._clock = clock
        self._monotonic = monotonic
        self._keys: list[dict[str, Any]] = []
        self._fetched = float("-inf")
        self._asked: deque[float] = deque(maxlen=MOST_ASKED)
        self._asking = asyncio.Lock()

    def claims_to_issue(self, token: str) -> bool:
        """Whether a token says that it is the issuer's. It may lie."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, RecursionError):
            return False
        return bool(claims.get("iss") == self.trust.issuer)

    async def judge(self, token: str) -> Person:
        """Return who a token speaks for.

        Raises `NotAuthenticated`, `TokenExpired`; `Unavailable` where the keys can't be had.
        """
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise NotAuthenticated("the token is not one of this service") from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise NotAuthenticated(f"tokens signed by {algorithm!r} are not taken")
        data = await self._find_key(header.get("kid"))
        return self._person(self._verified(token, data, algorithm))

    def _verified(self, token: str, data: dict[str, Any], algorithm: str) -> dict[str, Any]:
        try:
            if data.get("alg", algorithm) != algorithm:
                raise NotAuthenticated(f"the token's key is not one of {algorithm}")
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(data, algorithm),
                algorithms=[algorithm],
                audience=self.trust.audience,
                issuer=self.trust.issuer,
                options={"require": ["exp", "iss", "aud", "sub"], "verify_exp": False},
                leeway=LEEWAY_SECONDS,
            )
            return claims
        except jwt.InvalidAudienceError:
            raise NotAuthenticated(
                f"the token is not for this service, whose audience is {self.trust.audience!r}"
            ) from None
        except jwt.PyJWTError as error:
            raise NotAuthenticated(f"the token is not good: {error}") from None

    def _person(self, claims: dict[str, Any]) -> Person:
        subject, expires = claims["sub"], claims["exp"]
        if str(claims.get("typ", "")).lower() in NO_ACCESS:
            raise NotAuthenticated("this is not an access token, but one for something else")
        if not isinstance(subject, str) or not subject or not _is_moment(expires):
            raise NotAuthenticated("the token's sub or exp is not what it should be")
        if expires + LEEWAY_SECONDS <= self._clock():
            raise TokenExpired("the token has expired; sign in again at its issuer")
        name = claims.get(self.trust.claim)
        if not isinstance(name, str):
            raise NotAuthenticated(f"the token does not say the {self.trust.claim} of its user")
        return Person(subject, name, int((expires + LEEWAY_SECONDS) * 1000))

    async def _find_key(self, number: object) -> dict[str, Any]:
        """Return the key that a token names. Raises `NotAuthenticated`, `Unavailable`."""
        if self._monotonic() - self._fetched < FRESH_SECONDS:
            key = self._key(number)
            if key is not None:
                return key
        await self._refresh(number)
        key = self._key(number)
        if key is None:
            raise NotAuthenticated("the token was signed with a key that its issuer does not have")
        return key

    def _key(self, number: object) -> dict[str, Any] | None:
        """Return the key of a name; without a name, the only one there is."""
        found = [key for key in self._keys if number is None or key.get("kid") == number]
        return found[0] if len(found) == 1 else None

    async def _refresh(self, number: object) -> None:
        """Fetch the keys, unless somebody else just did, or it was done too often."""
        before = self._fetched
        async with self._asking:
            now = self._monotonic()
            if self._fetched > before and self._key(number) is not None:
                return
            often = len(self._asked) == MOST_ASKED and now - self._asked[0] < ASK_SECONDS
            if not often:
                self._asked.append(now)
                try:
                    keys = await self._fetch()
                except (httpx.HTTPError, msgspec.MsgspecError, SetupError, OSError) as error:
                    failure = str(error) or type(error).__name__
                else:
                    self._keys, self._fetched = keys, self._monotonic()
                    return
            else:
                failure = "it was asked too often in the last minute"
            if now - self._fetched > STALE_SECONDS:
                self._keys = []
                raise Unavailable(
                    f"the keys of {self.trust.issuer} can't be had ({failure}); try again",
                    carried_out=False,
                )

    async def _fetch(self) -> list[dict[str, Any]]:
        # A context of its own, so that SSL_CERT_FILE counts and a proxy's variables don't.
        context = ssl.create_default_context()
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=context) as client:
            address = f"{self.trust.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = msgspec.json.decode(await _document(client, address), type=_Discovery)
            if found.issuer != self.trust.issuer:
                raise SetupError(f"it calls itself {found.issuer!r}")
            _refuse_clear_text(found.jwks_uri, insecure=self._insecure)
            keys = msgspec.json.decode(await _document(client, found.jwks_uri), type=_KeySet).keys
        return [key for key in keys if key.get("use", "sig") == "sig" and key.get("kty") != "oct"]


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < MAX_SECONDS


async def _document(client: httpx.AsyncClient, address: str) -> bytes:
    body = bytearray()
    async with client.stream("GET", address) as response:
        response.raise_for_status()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MAX_DOCUMENT:
                raise SetupError(f"{address} is too long")
    return bytes(body)


def _refuse_clear_text(address: str, *, insecure: bool) -> None:
    """Raise `SetupError` unless an address is https, or of this machine."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise BadSetting(f"the issuer {address!r} is not an address; write https://HOST/…")
    if url.scheme == "https" or insecure:
        return
    try:
        local = ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        local = url.host == "localhost"
    if not local:
        raise SetupError(
            f"the keys of {address} would come in clear text, and anybody could put in others; "
            "use https"
        )
