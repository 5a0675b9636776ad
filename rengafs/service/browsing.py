"""The API's description as a page to read and to try calls in. It needs no other host.

The page is static, and reads what `description` tells. It may run its own script only.
"""

import base64
import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rengafs.protocol.endpoints import STORAGE


def page_route() -> Route:
    """Return the page's address."""
    page = files("rengafs.service").joinpath("page.html").read_bytes()
    script = page.partition(b"<script>")[2].partition(b"</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script).digest()).decode()
    headers = {
        "content-security-policy": "default-src 'none'; connect-src 'self'; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
    }

    async def respond(_request: Request) -> Response:
        return Response(page, headers=headers, media_type="text/html; charset=utf-8")

    return Route(f"{STORAGE}/ui", respond)
