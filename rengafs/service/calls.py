"""A request as a handler sees it: parsed by the endpoint's types, and allowed.

Parsing knows no handler; what a handler needs of the body as a stream, it takes from
`Call.stream`.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from rengafs.catalog.catalog import Catalog
from rengafs.catalog.membership import What
from rengafs.catalog.values import Actor, Role, TokenHolder
from rengafs.protocol.endpoints import (
    CLIENT_HEADER,
    EXECUTION_HEADER,
    HOST_HEADER,
    PATH,
    PROJECT_HEADER,
    Endpoint,
    Media,
)
from rengafs.protocol.errors import (
    BadRequest,
    BodyMismatch,
    Forbidden,
    NotFound,
    ReadOnly,
    TooLarge,
)
from rengafs.service.authority import Bearer, Direction, Granted, bearer
from rengafs.service.parts import Parts

MAX_JSON = 8 << 20
"""Bytes of a JSON body."""
STALL_SECONDS = 60
"""A body of which nothing comes for so long has been given up by its client."""
MAX_HEADER_TEXT = 200
"""Characters kept of the headers that go to the log."""
MAX_ID = 2**63 - 1

ENDPOINT_KEY = "rengafs.endpoint"
"""Where in the ASGI scope the metrics find the endpoint's name."""
USER_KEY = "rengafs.user"
"""Where in the ASGI scope the log finds the user's name."""

T = TypeVar("T")


@dataclass(slots=True)
class Call:
    """One request. Just one of *holder* and *granted* is set."""

    request: Request
    endpoint: Endpoint[Any]
    holder: TokenHolder | None
    granted: Granted | None
    query: Any = None
    body: Any = None

    @property
    def user(self) -> TokenHolder:
        """Who asks, where a user's token is needed."""
        assert self.holder is not None
        return self.holder

    @property
    def grant(self) -> Granted:
        """What is granted, where an access token is needed."""
        assert self.granted is not None
        return self.granted

    def id(self, name: str) -> int:
        """Return an id from the path. Raises `NotFound` for what no id can be."""
        number = int(self.request.path_params[name])
        if number > MAX_ID:
            raise NotFound(f"there is no {name} {number}")
        return number

    def actor(self, client: str = "") -> Actor:
        """Return who asks, for the log of changes. Raises `BadRequest` for a bad header."""
        who = self.granted if self.granted is not None else self.user
        headers = self.request.headers
        return Actor(
            user=who.user,
            name=who.name,
            host=headers.get(HOST_HEADER, "")[:MAX_HEADER_TEXT],
            client=(client or headers.get(CLIENT_HEADER, ""))[:MAX_HEADER_TEXT],
            execution=self._number(EXECUTION_HEADER),
            project=self._number(PROJECT_HEADER),
            # A grant was given to who might: it needs no more.
            everywhere=self.holder is None or self.holder.everywhere,
        )

    def refuse_read_only(self) -> None:
        """Raise `ReadOnly` if the token may only read."""
        if self.holder is not None and self.holder.read_only:
            raise ReadOnly("the token may read only; ask for one that may write")

    def stream(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises `BodyMismatch` if it breaks off."""
        return stream_body(self.request)

    @property
    def length(self) -> int | None:
        """Of the body, where the client announced it."""
        announced = self.request.headers.get("content-length", "")
        return int(announced) if announced.isdecimal() else None

    def _number(self, header: str) -> int | None:
        text = self.request.headers.get(header, "").strip()
        if not text:
            return None
        if not text.isdecimal() or int(text) > MAX_ID:
            raise BadRequest(f"the header {header} is not a number")
        return int(text)


async def open_call(request: Request, endpoint: Endpoint[Any], parts: Parts) -> Call:
    """Judge and parse a request. Raises what is wrong with it."""
    request.scope[ENDPOINT_KEY] = endpoint.name
    given = bearer(request.headers.get("authorization", ""))
    call = Call(request, endpoint, None, None)
    if endpoint.grant:
        direction: Direction = "read" if endpoint.method == "GET" else "write"
        call.granted = parts.authority.granted(given, direction)
        request.scope[USER_KEY] = call.granted.name
        role: Role = "reader" if direction == "read" else "writer"
        granted = call.granted
        # It was signed an hour ago, perhaps: much may have been revoked since.
        await parts.read(Catalog.permit_grant, granted.user, granted.token, granted.file, role)
    else:
        call.holder = await _find_holder(given, parts)
        request.scope[USER_KEY] = call.holder.name
        await permit_path(parts, call)
    if endpoint.query is not None:
        call.query = _convert(dict(request.query_params), endpoint.query)
        await permit_query(parts, call)
    if endpoint.body is not None and not isinstance(endpoint.body, Media):
        call.body = decode(await read_json(request), endpoint.body)
    return call


async def permit_path(parts: Parts, call: Call) -> None:
    """Refuse a call if its address names what the user may not see, or not change."""
    role: Role = "reader"
    if call.endpoint.method != "GET":
        role = "owner" if "bucket" in call.request.path_params else "writer"
    for what in ("node", "bucket", "file", "version"):
        if what in call.request.path_params:
            await permit(parts, call.user, [call.id(what)], role, what)


async def permit_query(parts: Parts, call: Call) -> None:
    """Refuse a call if its query's path is of a bucket that the user may not see."""
    path = getattr(call.query, "path", None)
    if path is None or call.user.everywhere:
        return
    first = next((part for part in path.split("/") if part), "")
    if first:
        at = getattr(call.query, "at", None)
        await parts.read(Catalog.permit_name, call.user.user, first, "reader", at)
    elif call.endpoint is not PATH:
        raise Forbidden("of all buckets together only a user of everywhere is told; name a bucket")


async def permit(
    parts: Parts, user: TokenHolder, numbers: Sequence[int], role: Role, what: What = "node"
) -> None:
    """Raise `NotFound` or `Forbidden` unless the user has *role* where these ids are."""
    if not user.everywhere:
        await parts.read(Catalog.permit, user.user, numbers, role, what)


async def _find_holder(given: Bearer, parts: Parts) -> TokenHolder:
    holder = parts.authority.remembered(given)
    if holder is None:
        holder = await _ask_holder(given, parts)
        parts.authority.remember(given, holder)
    return holder


async def _ask_holder(given: Bearer, parts: Parts) -> TokenHolder:
    issuer = parts.issuer
    if given.is_user or issuer is None or not issuer.claims_to_issue(given.token):
        parts.authority.refuse_grant(given)
        return await parts.read(Catalog.holder, given.token)
    person = await issuer.judge(given.token)
    holder = await parts.read(Catalog.find_person, issuer.trust.issuer, person.subject)
    if holder is None:
        name = issuer.trust.issuer, person.subject, person.name
        holder = await parts.write(Catalog.add_person, *name)
    return replace(holder, expires_ms=person.expires_ms)


async def stream_body(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises `BodyMismatch` if the client goes away, or sends nothing for too long.
    """
    clock = asyncio.get_running_loop().time
    pieces = aiter(request.stream())
    try:
        # Runs only while a piece is waited for, not while the caller is at work on one.
        async with asyncio.timeout(None) as bound:
            while True:
                bound.reschedule(clock() + STALL_SECONDS)
                piece = await anext(pieces, None)
                bound.reschedule(None)
                if piece is None:
                    return
                yield piece
    except ClientDisconnect:
        raise BodyMismatch("the client went away before its body ended") from None
    except TimeoutError:
        raise BodyMismatch(f"nothing came of the body for {STALL_SECONDS} s") from None


async def read_json(request: Request) -> bytes:
    """Return the whole body. Raises `TooLarge`, `BodyMismatch`."""
    body = bytearray()
    async for piece in stream_body(request):
        body += piece
        if len(body) > MAX_JSON:
            raise TooLarge(f"a JSON body has at most {MAX_JSON} bytes", limit=MAX_JSON)
    return bytes(body)


def decode(body: bytes, kind: Any) -> Any:
    """Return *body* as *kind*. Raises `BadRequest`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not the JSON expected: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def answer(record: object, status: int = 200) -> Response:
    """Return *record* as JSON."""
    return Response(msgspec.json.encode(record), status, media_type="application/json")


def _convert(query: dict[str, str], kind: type[T]) -> T:
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the query is not what is expected: {error}") from None
