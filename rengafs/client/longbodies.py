"""Long answers, taken from the connection in large pieces.

httpx asks for 64 KiB at a time and leads each through its parser and a dozen generators:
most of the cost of a long body. Once an answer's head has told how long the body is, the
parser has nothing more to say, so the rest is read past it. That is its end as a
connection for httpx: it is closed, and not used again. A short body is httpx's own
business, as is one that is encoded or comes in chunks.

Where nothing is encrypted, a thread takes the bytes from the socket: a turn of the event loop
for a mebibyte, not for each packet. It waits `GATHER_SECONDS` for more at most, so that a slow
line's bytes are not held up.
"""

import os
import select
import socket
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

import httpcore
import httpx
import trio

PIECE_BYTES = 1 << 20
"""The most that is asked for at a time."""
LONG_BYTES = 2 << 20
"""What is worth a connection."""
GATHER_SECONDS = 0.002


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


async def rest(
    response: httpx.Response, taken: int, limiter: trio.CapacityLimiter
) -> AsyncGenerator[bytes, None]:
    """Yield a long body behind the *taken* bytes that httpx gave. Raises httpx's errors.

    Pieces end at whole mebibytes of the body where they can.
    """
    stream: httpcore.AsyncNetworkStream = response.extensions["network_stream"]
    wait_seconds = response.request.extensions.get("timeout", {}).get("read")
    length = int(response.headers["content-length"])
    sock = stream.get_extra_info("socket")
    is_open = sock is not None and stream.get_extra_info("ssl_object") is None
    try:
        while taken < length:
            count = min(PIECE_BYTES - taken % PIECE_BYTES, length - taken)
            if is_open:
                piece = await _received(sock.fileno(), count, wait_seconds, limiter)
            else:
                piece = await _read(stream, count, wait_seconds)
            if not piece:
                missing = length - taken
                raise httpx.RemoteProtocolError(f"peer closed connection {missing} bytes early")
            taken += len(piece)
            yield piece
    finally:
        if is_open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # for a thread that may still wait for bytes


async def _read(
    stream: httpcore.AsyncNetworkStream, count: int, wait_seconds: float | None
) -> bytes:
    try:
        return await stream.read(count, timeout=wait_seconds)
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout(str(error)) from error
    except httpcore.NetworkError as error:
        raise httpx.ReadError(str(error)) from error


async def _received(
    descriptor: int, count: int, wait_seconds: float | None, limiter: trio.CapacityLimiter
) -> bytes:
    # The thread's own: if this is cancelled, it may be at it when the other is closed.
    own = os.dup(descriptor)
    # Whoever has it first, closes: the thread, or we, if it has not begun.
    turn = threading.Lock()

    def gather() -> bytes:
        if not turn.acquire(blocking=False):
            return b""
        with socket.socket(fileno=own) as sock:
            return _gather(sock, count, wait_seconds)

    try:
        return await trio.to_thread.run_sync(gather, abandon_on_cancel=True, limiter=limiter)
    except TimeoutError as error:
        raise httpx.ReadTimeout("no byte came in time") from error
    except OSError as error:
        raise httpx.ReadError(str(error)) from error
    finally:
        if turn.acquire(blocking=False):
            os.close(own)


def _gather(sock: socket.socket, count: int, wait_seconds: float | None) -> bytes:
    """Return up to *count* bytes: what comes soon after the first. Empty at the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    buffer = bytearray(count)
    view = memoryview(buffer)
    got, until = 0, 0.0
    wait = wait_seconds
    while poll.poll(None if wait is None else max(0.0, wait) * 1000):
        try:
            received = sock.recv_into(view[got:], 0)
        except BlockingIOError:
            continue
        if not received:
            break
        got += received
        now = time.monotonic()
        until = until or now + GATHER_SECONDS
        wait = until - now
        if got == count or wait <= 0:
            break
    else:
        if not got:
            raise TimeoutError
    view.release()
    return bytes(buffer) if got == count else bytes(buffer[:got])
