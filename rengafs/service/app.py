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
from rengafs.protocol.records import Login
from rengafs.service import applying, contents, importing, keeping, original, past, tree
from rengafs.service.authority import Authority
from rengafs.service.boundary import Boundary, raise_ours
from rengafs.service.browsing import page_route
from rengafs.service.calls import Call, answer, open_call
from rengafs.service.description import describe
from rengafs.service.drawing import draw_out_for_ever
from rengafs.service.feeding import Hub
from rengafs.service.health import Metrics, health_routes
from rengafs.service.issuing import Issuer
from rengafs.service.parts import Parts
from rengafs.service.settling import Settler

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
        endpoints.WHEREABOUTS: contents.whereabouts,
        endpoints.READ: contents.read_many,
        endpoints.APPLY: applying.apply,
        endpoints.USAGE: tree.usage,
        endpoints.RESERVE: applying.reserve,
        endpoints.USAGES: keeping.usages,
        endpoints.RETENTION: keeping.retention,
        endpoints.PRUNE: keeping.prune,
        endpoints.HOLD: keeping.hold,
        endpoints.MOMENT: tree.moment,
        endpoints.FEED: tree.feed,
    }
    return {endpoint.name: handler for endpoint, handler in table.items()}


def create_app(
    catalog: Catalog,
    backends: Mapping[str, Backend],
    *,
    version: str,
    issuer: Issuer | None = None,
    fetch_private: bool = False,
    presigned: bool = False,
) -> Starlette:
    """Return the service. *version* is what it calls itself.

    :param issuer: whose tokens are taken beside the catalog's own.
    :param fetch_private: whether URLs are imported from private addresses too.
    :param presigned: whether readers are sent straight to backends.

    Its `Parts` are at ``app.state.parts``. Closing catalog and hub is the caller's.
    """
    hub = Hub(lambda: parts.read(Catalog.last_change), catalog.announcements)
    authority = Authority(catalog.identity.secret)
    parts = Parts(catalog, backends, authority, hub, version, issuer, fetch_private, presigned)
    metrics = Metrics()
    known = handlers()
    # One route for each address: a route of another method would hide the 405.
    routes = [_route(parts, endpoint, known[endpoint.name]) for endpoint in ALL]
    routes += [
        *health_routes(parts, metrics),
        Route(f"{STORAGE}/swagger.json", _describe(version)),
        page_route(),
        Route(endpoints.LOGIN.path, _login(issuer)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Boundary, metrics=metrics)],
        exception_handlers={HTTPException: raise_ours},
        lifespan=_lifespan(hub, catalog, backends),
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


def _login(issuer: Issuer | None) -> Callable[[Request], Awaitable[Response]]:
    async def respond(_request: Request) -> Response:
        if issuer is None:
            return answer(Login())
        trust = issuer.trust
        scope = "openid offline_access"
        return answer(Login(issuer=trust.issuer, client_id=trust.client, scope=scope))

    return respond


def _lifespan(
    hub: Hub, catalog: Catalog, backends: Mapping[str, Backend]
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        settler = Settler(catalog, backends)
        async with anyio.create_task_group() as ending:
            ending.start_soon(settler.run)
            async with anyio.create_task_group() as group:
                group.start_soon(hub.watch)
                group.start_soon(hub.listen)
                group.start_soon(draw_out_for_ever, catalog, backends)
                yield
                group.cancel_scope.cancel()
            settler.end()
        for backend in backends.values():
            await backend.aclose()

    return lifespan
