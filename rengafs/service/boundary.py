"""Around every request: an id, a line in the log, and whatever is raised as JSON.

The one place of the service that catches everything.
"""

import logging
import time
import uuid

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rengafs.protocol.endpoints import REQUEST_ID_HEADER
from rengafs.protocol.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    RengafsError,
    to_problem,
)
from rengafs.service.calls import ENDPOINT_KEY, USER_KEY
from rengafs.service.health import Metrics

log = logging.getLogger(__name__)


class Boundary:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex[:16]
        began = time.monotonic()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                header = (REQUEST_ID_HEADER.encode(), request_id.encode())
                message["headers"] = [*message.get("headers", []), header]
            await send(message)

        self._metrics.under_way.inc()
        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            problem = _as_ours(error, request_id)
            if status:
                # Too late to say so: the connection is cut, so that nobody takes a part
                # for the whole.
                log.error("request %s: %s after the answer began", request_id, problem.message)
                raise
            await _reply(problem, request_id)(scope, receive, sending)
        finally:
            seconds = time.monotonic() - began
            self._metrics.under_way.dec()
            self._metrics.answered(scope.get(ENDPOINT_KEY, "other"), status, seconds)
            log.info(
                "request=%s user=%s method=%s path=%s status=%d ms=%d",
                request_id,
                scope.get(USER_KEY, "-"),
                scope["method"],
                scope["path"],
                status,
                seconds * 1000,
            )


def told(error: HTTPException) -> RengafsError:
    """Return Starlette's own refusals as ours."""
    if error.status_code == 404:
        return NotFound("there is nothing at this address; see /api/storage/swagger.json")
    if error.status_code == 405:
        return MethodNotAllowed("this address does not take this method")
    return BadRequest(error.detail)


async def raise_ours(_request: Request, error: Exception) -> Response:
    """Exception handler of Starlette: hand its refusals to the boundary."""
    assert isinstance(error, HTTPException)
    raise told(error) from None


def _as_ours(error: Exception, request_id: str) -> RengafsError:
    if isinstance(error, RengafsError):
        if error.status >= 500 and not error.temporary:
            log.warning("request %s: %s: %s", request_id, error.code, error.message)
        return error
    log.exception("request %s failed", request_id, exc_info=error)
    return InternalError(f"a defect of the service; its log tells more, under {request_id}")


def _reply(error: RengafsError, request_id: str) -> Response:
    headers = {}
    if isinstance(error, NotAuthenticated):
        headers["www-authenticate"] = 'Bearer realm="rengafs"'
    body = msgspec.json.encode(to_problem(error, request_id))
    return Response(body, error.status, headers, media_type="application/json")
