"""Handlers of what a filesystem needs: the tree now and then, history, feed, usage."""

import time

from msgspec.structs import replace
from starlette.responses import Response, StreamingResponse

from rengafs.catalog.catalog import Catalog
from rengafs.protocol.endpoints import LINES
from rengafs.protocol.queries import (
    At,
    FindEntry,
    FindPath,
    ListEntries,
    ListPage,
    NameHistory,
    Since,
    When,
)
from rengafs.protocol.records import ServiceInfo
from rengafs.service.calls import Call, answer
from rengafs.service.parts import Parts


async def service(parts: Parts, call: Call) -> Response:
    """Answer who this is."""
    return answer(
        ServiceInfo(
            service=parts.version,
            catalog=parts.catalog.identity.catalog,
            change=await parts.read(Catalog.last_change),
            user=call.user.name,
            now_ms=time.time_ns() // 1_000_000,
            backends=list(parts.backends),
        )
    )


async def node(parts: Parts, call: Call) -> Response:
    """Answer a node's attributes."""
    query: At = call.query
    return answer(await parts.read(Catalog.node, call.id("node"), query.at))


async def entries(parts: Parts, call: Call) -> Response:
    """Answer a page of a directory."""
    query: ListEntries = call.query
    page = await parts.read(
        Catalog.entries, call.id("node"), after=query.after, limit=query.limit, at=query.at
    )
    return answer(page)


async def entry(parts: Parts, call: Call) -> Response:
    """Answer one name of a directory."""
    query: FindEntry = call.query
    return answer(await parts.read(Catalog.entry, call.id("node"), query.name, query.at))


async def path(parts: Parts, call: Call) -> Response:
    """Answer what stands at a path."""
    query: FindPath = call.query
    return answer(await parts.read(Catalog.path, query.path, query.at))


async def history(parts: Parts, call: Call) -> Response:
    """Answer the saves under a name."""
    query: NameHistory = call.query
    versions = await parts.read(
        Catalog.history,
        call.id("node"),
        query.name,
        after=query.after,
        limit=query.limit,
        from_ms=query.from_ms,
        until_ms=query.until_ms,
    )
    return answer(versions)


async def past_names(parts: Parts, call: Call) -> Response:
    """Answer the names that a directory has or had."""
    query: ListPage = call.query
    names = await parts.read(
        Catalog.past_names, call.id("node"), after=query.after, limit=query.limit
    )
    return answer(names)


async def version(parts: Parts, call: Call) -> Response:
    """Answer one version's facts."""
    return answer(await parts.read(Catalog.version, call.id("version")))


async def usage(parts: Parts, call: Call) -> Response:
    """Answer how much there is, and what the first backend has left."""
    space = await parts.backend(parts.catalog.rules.backends[0]).space()
    usage = await parts.read(Catalog.usage)
    return answer(replace(usage, capacity_bytes=space.capacity, free_bytes=space.free))


async def moment(parts: Parts, call: Call) -> Response:
    """Answer the last change until a moment."""
    query: When = call.query
    return answer(await parts.read(Catalog.moment, query.at_ms))


async def feed(parts: Parts, call: Call) -> Response:
    """Answer the stream of changes. Raises `BadRequest` before it begins."""
    query: Since = call.query
    first = await parts.read(Catalog.changes_after, query.since)
    stream = parts.hub.stream(
        query.since, first, lambda since: parts.read(Catalog.changes_after, since)
    )
    return StreamingResponse(stream, media_type=LINES.type, headers={"cache-control": "no-store"})
