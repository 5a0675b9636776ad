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
    UsageOf,
    When,
)
from rengafs.protocol.records import ROOT, Change, ServiceInfo
from rengafs.service.calls import Call, answer, permit
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
    page = await parts.read_for(
        call.user,
        Catalog.entries,
        call.id("node"),
        after=query.after,
        limit=query.limit,
        at=query.at,
    )
    return answer(page)


async def entry(parts: Parts, call: Call) -> Response:
    """Answer one name of a directory."""
    query: FindEntry = call.query
    found = await parts.read_for(call.user, Catalog.entry, call.id("node"), query.name, query.at)
    return answer(found)


async def path(parts: Parts, call: Call) -> Response:
    """Answer what stands at a path."""
    query: FindPath = call.query
    return answer(await parts.read_for(call.user, Catalog.path, query.path, query.at))


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
    seen = await _seen(parts, call)
    if call.id("node") == ROOT and seen is not None:
        names = replace(names, names=[name for name in names.names if name.node in seen])
    return answer(names)


async def version(parts: Parts, call: Call) -> Response:
    """Answer one version's facts."""
    return answer(await parts.read(Catalog.version, call.id("version")))


async def usage(parts: Parts, call: Call) -> Response:
    """Answer how much there is, and what backend and quota have left."""
    query: UsageOf = call.query
    buckets, backend = await _seen(parts, call), parts.catalog.rules.backends[0]
    if query.node is not None:
        await permit(parts, call.user, [query.node], "reader")
        bucket = await parts.read(Catalog.bucket_of, query.node)
        buckets, backend = frozenset({bucket.id}), bucket.backend
    space = await parts.backend(backend).space()
    usage = await parts.read(Catalog.usage, buckets)
    left = [free for free in (usage.free_bytes, space.free) if free is not None]
    free = min(left, default=None)
    return answer(replace(usage, capacity_bytes=space.capacity, free_bytes=free))


async def moment(parts: Parts, call: Call) -> Response:
    """Answer the last change until a moment."""
    query: When = call.query
    return answer(await parts.read(Catalog.moment, query.at_ms))


async def feed(parts: Parts, call: Call) -> Response:
    """Answer the stream of changes. Raises `BadRequest` before it begins."""
    query: Since = call.query

    async def read(since: int) -> list[Change]:
        changes = await parts.read(Catalog.changes_after, since)
        seen = await _seen(parts, call) if changes else None
        if seen is None:
            return changes
        return [_as_seen(change, seen, call.user.user) for change in changes]

    stream = parts.hub.stream(query.since, await read(query.since), read)
    return StreamingResponse(stream, media_type=LINES.type, headers={"cache-control": "no-store"})


async def _seen(parts: Parts, call: Call) -> frozenset[int] | None:
    """Return the buckets that the user may see; None: all of them."""
    if call.user.everywhere:
        return None
    return await parts.read(Catalog.visible, call.user.user)


def _as_seen(change: Change, seen: frozenset[int], user: int) -> Change:
    """Return a change with the events that may be seen; its number stays, so none is missed."""
    events = [
        event
        for event in change.events
        if (event.other == user if event.what == "taken" else event.bucket in seen)
        or event.node == ROOT
    ]
    if len(events) == len(change.events):
        return change
    if not events:
        return Change(number=change.number, at_ms=change.at_ms, action="hidden")
    return replace(change, events=events)
