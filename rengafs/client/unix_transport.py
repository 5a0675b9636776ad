"""httpx's blocking transport over a Unix socket, without the leak of httpcore's.

httpcore leaves the socket of a refused connection to the garbage collector. A service that
is starting or gone refuses often, and each such socket would be a file descriptor and a
`ResourceWarning` at some later time. trio's own backend closes them.
"""

import socket
from collections.abc import Iterable

import httpcore
import httpx

from rengafs.client.connection import LIMITS


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
        return super().connect_unix_socket(path, timeout, socket_options)
