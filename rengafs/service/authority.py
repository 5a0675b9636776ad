"""Who may do what: users' tokens, and grants, which are signed and kept nowhere.

A user's token is 256 random bits; the catalog knows its hash. A grant (the original API's
access token) is a JWT, signed with the catalog's secret, for one file in one direction.
Tokens are never logged.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jwt
import msgspec
from cachetools import TTLCache

from rengafs.catalog.access import digest, refuse_expired
from rengafs.catalog.values import TokenHolder
from rengafs.protocol.errors import NotAuthenticated, TokenExpired, WrongGrant

PREFIX = "rnga_"
"""Of users' tokens: tells them from grants, and lets secret scanners find leaked ones."""
GRANT_SECONDS = 3600
REMEMBERED = 1024
REMEMBER_SECONDS = 3.0
"""How long a revoked token may still be taken."""

Direction = Literal["read", "write"]


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant says."""

    file: int
    version: int | None = None
    """The version to read; None: the file has none yet, or is to be written."""
    direction: Direction
    user: int
    name: str
    token: int = 0
    """The id of the user's token that it came from; it is not good without that one."""
    exp: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """The token of a request, not yet judged."""

    token: str

    @property
    def is_user(self) -> bool:
        """Whether it looks like a user's, not like a grant."""
        return self.token.startswith(PREFIX)


def bearer(authorization: str) -> Bearer:
    """Return the token of an ``Authorization`` header. Raises `NotAuthenticated`."""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotAuthenticated(
            "a token is needed: send `Authorization: Bearer TOKEN`; "
            "`rengafs token create NAME` makes one"
        )
    return Bearer(token)


class Authority:
    """Judges tokens and issues grants."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._secret = bytes.fromhex(secret)
        self._clock = clock
        self._known: TTLCache[str, TokenHolder] = TTLCache(REMEMBERED, REMEMBER_SECONDS)

    def remembered(self, given: Bearer) -> TokenHolder | None:
        """Return who a token speaks for, if that was asked a moment ago."""
        holder = self._known.get(digest(given.token))
        if holder is not None:
            refuse_expired(holder, int(self._clock() * 1000))
        return holder

    def refuse_grant(self, given: Bearer) -> None:
        """Raise `WrongGrant` for a grant, `NotAuthenticated` for what is no token of ours."""
        if not given.is_user:
            self.granted(given)
            raise WrongGrant("an access token of one file is good for io/read or io/write only")

    def remember(self, given: Bearer, holder: TokenHolder) -> None:
        """Note what the catalog answered. On the event loop: the cache is not for threads."""
        self._known[digest(given.token)] = holder

    def grant(
        self, holder: TokenHolder, file: int, direction: Direction, version: int | None = None
    ) -> str:
        """Return an access token for one file in one direction.

        It is good for an hour, but not longer than the token that it comes from.
        """
        expires = int(self._clock()) + GRANT_SECONDS
        if holder.expires_ms is not None:
            expires = min(expires, holder.expires_ms // 1000)
        granted = Granted(
            file=file,
            version=version,
            direction=direction,
            user=holder.user,
            name=holder.name,
            token=holder.token,
            exp=expires,
        )
        return jwt.encode(msgspec.to_builtins(granted), self._secret, algorithm="HS256")

    def granted(self, given: Bearer, direction: Direction | None = None) -> Granted:
        """Return what a grant says.

        Raises `NotAuthenticated`, `TokenExpired`; `WrongGrant` for a user's token or for a
        grant of the other direction.
        """
        if given.is_user:
            raise WrongGrant(
                "this address takes an access token of authorize/read or authorize/write, "
                "not a user's token"
            )
        try:
            claims = jwt.decode(given.token, self._secret, algorithms=["HS256"])
            granted = msgspec.convert(claims, Granted)
        except jwt.ExpiredSignatureError:
            raise TokenExpired("the access token has expired; authorize again") from None
        except (jwt.InvalidTokenError, msgspec.ValidationError, RecursionError):
            raise NotAuthenticated("the token is not one of this service") from None
        if direction is not None and granted.direction != direction:
            raise WrongGrant(f"the access token is for {granted.direction}, not for {direction}")
        return granted
