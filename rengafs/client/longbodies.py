"""Long answers, taken from the connection in large pieces.

httpx asks for 64 KiB at a time and leads each through its parser and a dozen generators:
most of the cost of a long body. Once an answer's head has told how long the body is, the
parser has nothing more to say, so the rest is read past it. That is its end as a
connection for httpx: it is closed, and not used again. A short body is httpx's own
business, as is one that is encoded or comes in chunks.
"""

from collections.abc import AsyncIterator

import httpcore
import httpx

PIECE_BYTES = 1 << 20
"""The most that is asked for at a time."""
LONG_BYTES = 2 << 20
"""What is worth a connection."""


def is_long(response: httpx.Response) -> bool:
    """Whether the body is worth reading past httpx, and can be."""
    headers = response.headers
    plain = headers.get("content-encoding", "identity") == "identity"
    length = headers.get("content-length", "")
    return (
        plain
        and "transfer-encoding" not in headers
        and length.isdecimal()
        and int(length) >= LONG_BYTES
        and "network_stream" in response.extensions
    )


async def rest(response: httpx.Response, taken: int) -> AsyncIterator[bytes]:
    """Yield a long body behind the *taken* bytes that httpx gave. Raises httpx's errors."""
    stream: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
    timeout = response.request.extensions.get("timeout", {}).get("read")
    missing = int(response.headers["content-length"]) - taken
    while missing > 0:
        try:
            piece = await stream.read(min(PIECE_BYTES, missing), timeout=timeout)
        except httpcore.TimeoutException as error:
            raise httpx.ReadTimeout(str(error)) from error
        except httpcore.NetworkError as error:
            raise httpx.ReadError(str(error)) from error
        if not piece:
            raise httpx.RemoteProtocolError(f"peer closed connection {missing} bytes early")
        missing -= len(piece)
        yield piece
