"""Who is at the other end of a connection: on this machine, or not, and as which user.

A Unix socket's peer has no address, but the kernel knows its user (``SO_PEERCRED``, unix(7)).
Who comes over a network, or through a proxy on a port, has an address instead.
"""

import asyncio
import os
import socket
import struct
from typing import cast

from starlette.requests import Request

from rengafs.service.trickles import TrickleProtocol

UNIX = "unix"
"""Stands in the place of an address; the user's number in the place of its port."""
CREDENTIALS = struct.Struct("3i")


class PeerProtocol(TrickleProtocol):
    """uvicorn's protocol, which notes the user at the other end of a Unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; see uvicorn."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            _, uid, _ = CREDENTIALS.unpack(raw)
            self.client = (UNIX, uid)


def is_here(request: Request) -> bool:
    """Whether a request comes from this machine, by a Unix socket."""
    return request.client is not None and request.client.host == UNIX


def is_ourselves(request: Request) -> bool:
    """Whether it comes from who runs this service, and might read all of its files anyway."""
    return is_here(request) and cast("tuple[str, int]", request.client)[1] == os.geteuid()
