"""httpx's blocking transport over a Unix socket, without the leak of httpcore's.

httpcore leaves the socket of a refused connection to the garbage collector. A service that
is starting or gone refuses often, and each such socket would be a file descriptor and a
`ResourceWarning` at some later time. trio's own backend closes them.

httpcore also sends the head of a request and its body one by one, which wakes the service
twice; see `_Together`.
"""

import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from rengafs.client.connection import LIMITS

MOST_TOGETHER = 64 << 10
"""Bytes of a body's piece up to which it is cheaper copied than sent by itself."""


class UnixTransport(httpx.HTTPTransport):
    """Speaks HTTP over the Unix socket at *path*."""

    def __init__(self, path: str) -> None:
        super().__init__(uds=path, verify=False, limits=LIMITS)
        # httpx has no parameter for it.
        self._pool = httpcore.ConnectionPool(
            uds=path,
            max_connections=LIMITS.max_connections,
            max_keepalive_connections=LIMITS.max_keepalive_connections,
            keepalive_expiry=LIMITS.keepalive_expiry,
            network_backend=_TriesFirst(),
        )


class _TriesFirst(httpcore.SyncBackend):
    """Finds out on a socket of its own whether anybody listens."""

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
            trial.settimeout(timeout)
            try:
                trial.connect(path)
            except TimeoutError as error:
                raise httpcore.ConnectTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error
        return _Together(super().connect_unix_socket(path, timeout, socket_options))


class _Together(httpcore.NetworkStream):
    """Sends the head of a request together with the first piece of its body.

    The head is what is written first after a read. It waits for the next write, which is a
    piece of the body or, where there is none, the empty end of the request.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._begins = True
        self._head = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._begins = True
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._begins:
            self._begins, self._head = False, buffer
            return
        head, self._head = self._head, b""
        if head and len(buffer) > MOST_TOGETHER:
            self._stream.write(head, timeout)
            head = b""
        self._stream.write(head + buffer if head else buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
