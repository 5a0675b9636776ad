"""Requests to a Swift, by aiohttp: each bounded in time, its answer whole or as a stream."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from rengafs.backends.base import PIECE_BYTES
from rengafs.backends.sending import Body, Sockets, unless_silent
from rengafs.backends.swift.errors import translated

CONNECT_SECONDS = 5.0
CONNECTIONS = 1024
"""More than are ever needed: `wrapping` bounds the transfers."""
LARGE_BYTES = 1 << 20
"""Who sends more asks first whether it is wanted: a token may have ended meanwhile."""


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Asked for in any case of letters."""
    body: bytes = b""
    """Once it was read."""
    _response: aiohttp.ClientResponse | None = None

    @property
    def good(self) -> bool:
        """Whether it tells of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return what the body says. Raises `ValueError`."""
        return msgspec.json.decode(self.body)

    async def read(self) -> None:
        """Take the body."""
        assert self._response is not None
        self.body = await self._response.read()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in pieces of about `PIECE_BYTES`; what came before a break, too."""
        assert self._response is not None
        waiting: list[bytes] = []
        size = 0
        broken: Exception | None = None
        try:
            async for chunk in self._response.content.iter_any():
                waiting.append(chunk)
                size += len(chunk)
                if size >= PIECE_BYTES:
                    yield b"".join(waiting)
                    waiting, size = [], 0
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            broken = error
        if waiting:
            yield b"".join(waiting)
        if broken is not None:
            raise broken


class Asker:
    """Connections to one store."""

    def __init__(self, read_seconds: float, longest_seconds: float) -> None:
        """Wait *read_seconds* for the next sign of the store; some requests wait longer."""
        self._read_seconds = read_seconds
        self._sockets = Sockets(2 * max(read_seconds, longest_seconds))
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def asked(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Body | bytes | None = None,
        seconds: float | None = None,
        what: str,
    ) -> AsyncIterator[Answer]:
        """Give the answer, its body not yet read. Raises `Unavailable`, `BackendRefused`."""
        silence = seconds or self._read_seconds
        if query:
            url = f"{url}?{urlencode(query, quote_via=quote)}"
        sent = body if isinstance(body, Body) else None
        with translated(what):
            # Twice: the library's bound for the answer, once all is sent, comes first.
            async with unless_silent(2 * silence, sent):
                response = await self._opened().request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    expect100=sent is not None and len(sent) > LARGE_BYTES,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=CONNECT_SECONDS, sock_read=silence
                    ),
                )
        try:
            yield Answer(response.status, response.headers, _response=response)
        finally:
            # What was not read to its end is cut.
            response.release()

    async def ask(self, method: str, url: str, *, what: str, **more: Any) -> Answer:
        """Return an answer with its body; see `asked`."""
        async with self.asked(method, url, what=what, **more) as answer:
            with translated(what):
                await answer.read()
            return answer

    async def aclose(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self._sockets.cut()

    def _opened(self) -> aiohttp.ClientSession:
        # Not before somebody asks: it belongs to the event loop of then.
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, socket_factory=self._sockets)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"accept-encoding": "identity"},
                skip_auto_headers=("content-type",),
                auto_decompress=False,
                read_bufsize=PIECE_BYTES,
            )
        return self._session
