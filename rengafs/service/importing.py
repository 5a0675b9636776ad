"""``POST /fs/node/…/import``: the service itself fetches a URL, and saves what it gets.

Whoever may write here could make the service ask addresses that only it can reach. So only
http and https are fetched, and, unless the service was started to allow it, only from
public addresses: each name is resolved here, every address that it has is judged, and the
connection is made to the address that was judged, for each redirect anew.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import anyio
import httpx
import msgspec
from starlette.responses import Response, StreamingResponse

from rengafs.catalog.applying import Staged
from rengafs.catalog.catalog import Catalog
from rengafs.catalog.values import Actor, Base
from rengafs.protocol.endpoints import LINES
from rengafs.protocol.errors import (
    BadRequest,
    Forbidden,
    RengafsError,
    TooLarge,
    Unavailable,
    from_problem,
    to_problem,
)
from rengafs.protocol.operations import Commit, Outcome
from rengafs.protocol.records import Import, ImportProgress, Version
from rengafs.service import storing
from rengafs.service.calls import Call
from rengafs.service.parts import Parts

MAX_REDIRECTS = 5
PROGRESS_SECONDS = 0.5
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
RESOLVE_SECONDS = 10.0
ABSENT = (404, 410)


async def import_url(parts: Parts, call: Call) -> Response:
    """Fetch a URL into a file; answer lines of progress, the last with what came of it."""
    call.refuse_read_only()
    wanted: Import = call.body
    actor = call.actor()
    commit = Commit(node=call.id("node"), length=0, origin=wanted.url)
    base = await parts.read(Catalog.prepare_commit, actor, commit)
    assert not isinstance(base, Outcome), "without a key there is no receipt"
    _check_url(httpx.URL(), wanted.url)
    source = _Source(wanted, private=parts.fetch_private)
    lines = _lines(source, _save(parts, actor, commit, base, source))
    return StreamingResponse(lines, media_type=LINES.type, headers={"cache-control": "no-store"})


class _Source:
    """A URL that is being fetched."""

    def __init__(self, wanted: Import, *, private: bool) -> None:
        self._wanted = wanted
        self._private = private
        self.count = 0
        """Bytes that came so far."""
        self.total: int | None = None
        """Bytes that are announced."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the content. Raises `BadRequest`, `Forbidden`, `TooLarge`, `Unavailable`."""
        async with httpx.AsyncClient(
            timeout=TIMEOUT, trust_env=False, headers={"accept-encoding": "identity"}
        ) as client:
            response = await self._open(client)
            try:
                async for piece in response.aiter_bytes():
                    self.count += len(piece)
                    self._check_size(self.count)
                    yield piece
            except httpx.HTTPError as error:
                raise _broken(self._wanted.url, error) from error
            finally:
                await response.aclose()

    async def _open(self, client: httpx.AsyncClient) -> httpx.Response:
        url = httpx.URL(self._wanted.url)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._ask(client, url)
            if response.has_redirect_location:
                await response.aclose()
                url = _check_url(url, response.headers["location"])
                continue
            if response.status_code != 200:
                await response.aclose()
                raise BadRequest(
                    f"{url} answers {response.status_code}, not 200; is the URL right?"
                    if response.status_code in ABSENT
                    else f"{url} answers {response.status_code}, not 200"
                )
            announced = response.headers.get("content-length", "")
            self.total = int(announced) if announced.isdecimal() else None
            try:
                self._check_size(self.total or 0)
            except TooLarge:
                await response.aclose()
                raise
            return response
        raise BadRequest(f"{self._wanted.url} leads through over {MAX_REDIRECTS} redirects")

    async def _ask(self, client: httpx.AsyncClient, url: httpx.URL) -> httpx.Response:
        address = await _resolve(url, private=self._private)
        # To the address that was judged, not to what the name resolves to a moment later.
        request = client.build_request(
            "GET",
            url.copy_with(host=address),
            headers={"host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        try:
            return await client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise _broken(str(url), error) from error

    def _check_size(self, size: int) -> None:
        if size > self._wanted.max_bytes:
            raise TooLarge(
                f"{self._wanted.url} has more than {self._wanted.max_bytes} bytes; allow more "
                "if it is to be imported",
                limit=self._wanted.max_bytes,
            )


async def _save(parts: Parts, actor: Actor, commit: Commit, base: Base, source: _Source) -> Version:
    stored = await storing.put(parts, base, source.pieces())
    applied = await parts.write(Catalog.apply, actor, [Staged(commit, stored)])
    if stored is not None and (stored.backend, stored.key) not in applied.adopted:
        await storing.discard(parts, stored)
    outcome = applied.outcomes[0]
    if outcome.problem is not None:
        raise from_problem(outcome.problem)
    assert outcome.version is not None, "a commit leaves a version"
    return outcome.version


async def _lines(source: _Source, saving: Coroutine[Any, Any, Version]) -> AsyncIterator[bytes]:
    task = asyncio.ensure_future(saving)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
            if not task.done():
                yield _line(ImportProgress(done=source.count, total=source.total))
        try:
            version = task.result()
        except RengafsError as error:
            problem = to_problem(error)
            yield _line(ImportProgress(done=source.count, total=source.total, problem=problem))
        else:
            yield _line(ImportProgress(done=source.count, total=source.total, version=version))
    finally:
        if not task.done():  # the client went away
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _line(progress: ImportProgress) -> bytes:
    return msgspec.json.encode(progress) + b"\n"


def _check_url(base: httpx.URL, text: str) -> httpx.URL:
    """Return the URL that *text* is, seen from *base*. Raises `BadRequest`."""
    try:
        url = base.join(text) if base.host else httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise BadRequest(f"{text!r} is not a URL that can be imported; write http:// or https://")
    if url.userinfo:
        raise BadRequest("a URL with a user name or password is not imported: it would be kept")
    return url


async def _resolve(url: httpx.URL, *, private: bool) -> str:
    """Return an address of the URL's host. Raises `Forbidden`, `Unavailable`."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with anyio.fail_after(RESOLVE_SECONDS):
            found = await anyio.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError) as error:
        raise BadRequest(f"the host {url.host!r} is not known ({error})") from None
    addresses = [str(item[4][0]) for item in found]
    if not private:
        for address in addresses:
            if not is_public(address):
                raise Forbidden(
                    f"{url.host} is at the private address {address}; this service imports "
                    "from public ones only (see rengafs serve --import-private)"
                )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is one that anybody could reach."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour is not None or ip.teredo is not None:
            return False  # they hold an IPv4 address that is not judged
    return ip.is_global and not ip.is_multicast


def _broken(url: str, error: Exception) -> Unavailable:
    text = str(error) or type(error).__name__
    return Unavailable(f"{url} can't be fetched ({text})", carried_out=True)
