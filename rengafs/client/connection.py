"""Where a service listens, and what may go wrong on the way there. The two drivers share it.

Nothing here sends anything. No proxy of the environment stands between a client and its
service: a Unix socket or a loopback port must not be reached through one.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from rengafs.protocol.errors import BadSetting, SetupError, UnexpectedAnswer, Unreachable
from rengafs.protocol.messages import Reply

CONNECT_SECONDS = 5.0
PATIENCE_SECONDS = 30.0
MAX_CONNECTIONS = 32
SLICE_BYTES = 256 << 10
"""What a connection is given at a time: a slow line has to take this within one patience."""
GATHER_WIDTH = 8
"""Flows of one gather that run at a time: well below the connections there are."""

LIMITS = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)

# How h11 and httpcore word an end of the stream; their other complaints are of garbage.
_CUT = ("Server disconnected", "peer ")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens: ``http://…``, ``https://…`` or ``unix:/path``, and the token."""

    address: str
    token: str = field(default="", repr=False)
    headers: Mapping[str, str] | None = None
    patience_seconds: float = PATIENCE_SECONDS

    def base_url(self) -> str:
        """Return the URL that paths are put behind; a Unix socket has a made-up host.

        Raises `SetupError` for what is not an address.
        """
        if self.socket:
            return "http://rengafs"
        try:
            url = httpx.URL(self.address)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise BadSetting(
                f"the endpoint {self.address!r} is not an address; write https://HOST, "
                "http://HOST:PORT or unix:PATH"
            )
        if url.userinfo:
            # It would take the place of the token, and stand in every error message.
            raise BadSetting("the endpoint holds a user name or password; give a token instead")
        return self.address.rstrip("/")

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket, if it is one."""
        return self.address.removeprefix("unix:") if self.address.startswith("unix:") else None

    def all_headers(self) -> dict[str, str]:
        """Return the headers of every request. Raises `SetupError` for a malformed token."""
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise SetupError("the token holds characters that no token has; copy it again")
        authorization = {"authorization": f"Bearer {self.token}"} if self.token else {}
        # Bytes are wanted as they are stored: a range of a compressed body means nothing.
        return {"accept-encoding": "identity", **authorization, **(self.headers or {})}

    def timeouts(self, seconds: float | None = None) -> httpx.Timeout:
        """Return the bounds of one request: of connecting, and of each wait for bytes."""
        wait = self.patience_seconds if seconds is None else seconds
        return httpx.Timeout(wait, connect=min(CONNECT_SECONDS, wait))

    def out_of_patience(self) -> Unreachable:
        """Return the error of a flow that took too long."""
        return Unreachable(
            f"{self.address} did not answer within {self.patience_seconds:g} s; "
            "is the service running?",
            sent=True,
        )

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        with translated(self.address):
            yield


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn httpx's errors, met on the way to *place*, into ours.

    `Unreachable` has the detail ``sent``: False where the other side got nothing of the
    request. `UnexpectedAnswer` is for what another try would not mend.
    """
    try:
        yield
    except httpx.PoolTimeout as error:
        raise Unreachable(
            f"all {MAX_CONNECTIONS} connections to {place} are in use", sent=False
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if (failure := _tls_failure(error)) is not None:
            raise UnexpectedAnswer(
                f"no secure connection to {place}: {failure}; does https:// belong there, and "
                "does this machine trust the certificate (SSL_CERT_FILE names more)?"
            ) from error
        raise Unreachable(
            f"nothing answers at {place} ({_text(error)}); is the service running?", sent=False
        ) from error
    except httpx.TimeoutException as error:
        raise Unreachable(f"{place} did not answer in time ({_text(error)})", sent=True) from error
    except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
        if str(error).startswith(_CUT):
            raise _broken(place, error) from error
        raise UnexpectedAnswer(
            f"what {place} answers is not HTTP ({_text(error)}); is this the right port?"
        ) from error
    except httpx.TransportError as error:
        raise _broken(place, error) from error


def to_reply(response: httpx.Response, body: bytes) -> Reply:
    """Return a whole answer as data."""
    return Reply(response.status_code, body, dict(response.headers.items()))


def _broken(place: str, error: Exception) -> Unreachable:
    return Unreachable(f"the connection to {place} broke ({_text(error)})", sent=True)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _tls_failure(error: BaseException | None) -> ssl.SSLError | None:
    """Return the refusal of TLS that lies under *error*; a cut connection is not one."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            cut = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
            return None if cut else error
        error = error.__cause__ or error.__context__
    return None
