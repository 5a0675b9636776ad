"""Handlers of the past: one name of a directory, and the labels of a bucket."""

from starlette.responses import Response

from rengafs.catalog.catalog import Catalog
from rengafs.protocol.errors import NotFound
from rengafs.protocol.queries import Compare, LastPath, LogOf, Named
from rengafs.protocol.records import ROOT
from rengafs.service.calls import Call, answer, permit
from rengafs.service.parts import Parts


async def past_name(parts: Parts, call: Call) -> Response:
    """Answer one name that a directory has or had."""
    query: Named = call.query
    found = await parts.read(Catalog.past_name, call.id("node"), query.name)
    if call.id("node") == ROOT:
        await permit(parts, call.user, [found.node], "reader")
    return answer(found)


async def differences(parts: Parts, call: Call) -> Response:
    """Answer in what a path differs between two changes."""
    query: Compare = call.query
    for at in (query.before, query.after):
        await _permit_then(parts, call, query.path, at)
    found = await parts.read_for(
        call.user, Catalog.differences, query.path, query.before, query.after
    )
    return answer(found)


async def _permit_then(parts: Parts, call: Call, path: str, at: int | None) -> None:
    """Refuse if the path's bucket of then, of the same name, is none that the user may see."""
    first = next((part for part in path.split("/") if part), "")
    try:
        entry = await parts.read_for(call.user, Catalog.path, first, at)
    except NotFound:
        return  # then it was not there
    await permit(parts, call.user, [entry.node.id], "reader")


async def log(parts: Parts, call: Call) -> Response:
    """Answer what happened to a path."""
    query: LogOf = call.query
    log = await parts.read_for(
        call.user,
        Catalog.log,
        query.path,
        before=query.before,
        limit=query.limit,
        user=_judged(call),
    )
    return answer(log)


async def last(parts: Parts, call: Call) -> Response:
    """Answer as of which change a deleted path was whole."""
    query: LastPath = call.query
    return answer(await parts.read_for(call.user, Catalog.last_there, query.path, _judged(call)))


def _judged(call: Call) -> int | None:
    """Return whose eyes an answer is for; None: those of somebody who may see everything."""
    return None if call.user.everywhere else call.user.user


async def labels(parts: Parts, call: Call) -> Response:
    """Answer the labels of a bucket."""
    return answer(await parts.read(Catalog.labels, call.id("node")))


async def label(parts: Parts, call: Call) -> Response:
    """Answer one label of a bucket."""
    query: Named = call.query
    return answer(await parts.read(Catalog.label, call.id("node"), query.name))
