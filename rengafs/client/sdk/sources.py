"""What can be written: bytes, text (as UTF-8), open files, iterables of these, and URLs.

All of it goes into a `Spool` first, in pieces. What a source may be and what its answer
means is decided here, for both kinds of caller; `async_sources` only waits differently.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable
from urllib.parse import unquote

import httpx

from rengafs.client.connection import translated
from rengafs.client.sdk.spool import PIECE_BYTES, Spool
from rengafs.protocol.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RengafsError,
    Unavailable,
    UnexpectedAnswer,
)

Piece = bytes | bytearray | memoryview | str
"""Some bytes; text is written as UTF-8."""


@runtime_checkable
class Readable(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes | str:
        """Return up to *size* bytes; nothing at the end."""
        ...


Source = Piece | Readable | Iterable[Piece]

WAITS = httpx.Timeout(30.0, connect=10.0)
"""The bounds on each wait for a URL's server."""


def encoded(piece: Piece) -> bytes:
    """Return *piece* as bytes. Raises `TypeError` for what is none."""
    match piece:
        case bytes():
            return piece
        case str():
            return piece.encode()
        case bytearray() | memoryview():
            return bytes(piece)
    raise TypeError(f"bytes or text can be written, not {type(piece).__name__}")


def pieces_of(data: Source) -> Iterator[bytes]:
    """Yield all bytes of *data*."""
    if isinstance(data, bytes | bytearray | memoryview | str):
        yield encoded(data)
    elif isinstance(data, Readable):
        while chunk := data.read(PIECE_BYTES):
            yield encoded(chunk)
    elif isinstance(data, Iterable):
        for piece in data:
            yield encoded(piece)
    else:
        raise TypeError(
            "bytes, text, an open file or an iterable of bytes can be written, "
            f"not {type(data).__name__}"
        )


def fill(spool: Spool, data: Source) -> None:
    """Append all of *data*."""
    for piece in pieces_of(data):
        spool.append(piece)


def fetch(spool: Spool, address: httpx.URL) -> None:
    """Append what a GET of *address* answers. Raises as `understood` and `check_answer` say."""
    with (
        understood(address),
        httpx.Client(follow_redirects=True, timeout=WAITS) as http,
        http.stream("GET", address) as response,
    ):
        check_answer(address, response)
        for piece in response.iter_bytes(PIECE_BYTES):
            spool.append(piece)


def parse_url(url: str) -> httpx.URL:
    """Return a URL that can be read. Raises `BadRequest` for any other."""
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as error:
        raise BadRequest(f"{url!r} is not a URL: {error}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise BadRequest(f"{plain(address)!r} can't be read; give an http:// or https:// URL")
    return address


def plain(address: httpx.URL) -> str:
    """Return *address* as it may be shown and kept: without user, password and fragment."""
    return str(address.copy_with(userinfo=b"", fragment=None))


def name_in(address: httpx.URL) -> str:
    """Return the file name that a URL suggests: its last component, or else its host."""
    last = unquote(address.path).rpartition("/")[2]
    return address.host if last in ("", ".", "..") else last


@contextmanager
def understood(address: httpx.URL) -> Iterator[None]:
    """Turn what goes wrong on the way to *address* into our errors.

    Raises `Unreachable` where nothing answers or the answer breaks off, `BadRequest` for
    redirections that lead nowhere.
    """
    with translated(plain(address)):
        try:
            yield
        except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise BadRequest(f"{plain(address)} leads nowhere: {error}") from error


def check_answer(address: httpx.URL, response: httpx.Response) -> None:
    """Raise `NotFound`, `Forbidden`, `Unavailable` or `UnexpectedAnswer` for a bad answer."""
    if response.is_success:
        return
    kinds: dict[int, type[RengafsError]] = {
        401: Forbidden,
        403: Forbidden,
        404: NotFound,
        410: NotFound,
        429: Unavailable,
    }
    other = Unavailable if response.status_code >= 500 else UnexpectedAnswer
    raise kinds.get(response.status_code, other)(
        f"{plain(address)} answers {response.status_code} {response.reason_phrase}; "
        "nothing was written"
    )
