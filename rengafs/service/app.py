"""`create_app`: the endpoint table, with a handler for each line of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.protocol import endpoints
from rengafs.protocol.endpoints import ALL, STORAGE, Endpoint
from rengafs.service import applying, contents, importing, original, past, tree
from rengafs.service.authority import Authority
from rengafs.service.boundary import Boundary, raise_ours
from rengafs.service.calls import Call, answer, open_call
from rengafs.service.description import describe
from rengafs.service.feeding import Hub
from rengafs.service.health import Metrics, health_routes
from rengafs.service.parts import Parts

Handler = Callable[[Parts, Call], Awaitable[Response]]


def handlers() -> dict[str, Handler]:
    """Return the handler of each endpoint, by the endpoint's name."""
    table: dict[Endpoint[Any], Handler] = {
        endpoints.BACKENDS: original.backends,
        endpoints.CREATE_BUCKET: original.create_bucket,
        endpoints.CREATE_FILE: original.create_file,
        endpoints.AUTHORIZE_READ: original.authorize_read,
        endpoints.AUTHORIZE_WRITE: original.authorize_write,
        endpoints.COPY_FILE: original.copy_file,
        endpoints.PUT_FILE: original.put_file,
        endpoints.PUT_BUCKET: original.put_bucket,
        endpoints.IO_READ: contents.io_read,
        endpoints.IO_WRITE: contents.io_write,
        endpoints.EXPLORE_BUCKETS: original.explore_buckets,
        endpoints.EXPLORE_BUCKET: original.explore_bucket,
        endpoints.EXPLORE_FILES: original.explore_files,
        endpoints.EXPLORE_FILE: original.explore_file,
        endpoints.EXPLORE_VERSIONS: original.explore_versions,
        endpoints.SERVICE: tree.service,
        endpoints.NODE: tree.node,
        endpoints.ENTRIES: tree.entries,
        endpoints.ENTRY: tree.entry,
        endpoints.PATH: tree.path,
        endpoints.HISTORY: tree.history,
        endpoints.PAST_NAMES: tree.past_names,
        endpoints.PAST_NAME: past.past_name,
        endpoints.DIFFERENCES: past.differences,
        endpoints.LOG: past.log,
        endpoints.LAST: past.last,
        endpoints.IMPORT: importing.import_url,
        endpoints.LABELS: past.labels,
        endpoints.LABEL: past.label,
        endpoints.VERSION: tree.version,
        endpoints.CONTENT: contents.content,
        endpoints.READ: contents.read_many,
        endpoints.APPLY: applying.apply,
        endpoints.USAGE: tree.usage,
        endpoints.MOMENT: tree.moment,
        endpoints.FEED: tree.feed,
    }
    return {endpoint.name: handler for endpoint, handler in table.items()}


def create_app(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    *,
    version: str,
    fetch_private: bool = False,
) -> Starlette:
    """Return the service. *version* is what it calls itself.

    :param fetch_private: whether URLs are imported from private addresses too.

    Its `Parts` are at ``app.state.parts``. Closing catalog and hub is the caller's.
    """
    hub = Hub(lambda: parts.read(Catalog.last_change))
    authority = Authority(catalog.identity.secret)
    parts = Parts(catalog, backends, authority, hub, version, fetch_private)
    metrics = Metrics()
    known = handlers()
    # One route for each address: a route of another method would hide the 405.
    routes = [_route(parts, endpoint, known[endpoint.name]) for endpoint in ALL]
    routes += [
        *health_routes(parts, metrics),
        Route(f"{STORAGE}/swagger.json", _describe(version)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Boundary, metrics=metrics)],
        exception_handlers={HTTPException: raise_ours},
        lifespan=_lifespan(hub),
    )
    app.state.parts = parts
    return app


def _route(parts: Parts, endpoint: Endpoint[Any], handler: Handler) -> Route:
    async def respond(request: Request) -> Response:
        return await handler(parts, await open_call(request, endpoint, parts))

    return Route(_starlette_path(endpoint.path), respond, methods=[endpoint.method])


def _starlette_path(path: str) -> str:
    return path.replace("}", ":int}")


def _describe(version: str) -> Callable[[Request], Awaitable[Response]]:
    async def respond(_request: Request) -> Response:
        return answer(describe(version))

    return respond


def _lifespan(hub: Hub) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(hub.watch)
            yield
            group.cancel_scope.cancel()

    return lifespan
