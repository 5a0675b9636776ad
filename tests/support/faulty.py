"""A small HTTP server that answers by script: well, badly, late, in pieces, or not at all.

For faults that the real service cannot be made to have. Each request takes the next step
of the script; the last step answers all further ones.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Seen:
    """A request as it arrived; header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Step = Callable[[socket.socket, threading.Event], None]
"""Answers on the socket; the event is set when the server closes."""


def answer(status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None) -> Step:
    def step(peer: socket.socket, _: threading.Event) -> None:
        fields = {"content-length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        peer.sendall(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)

    return step


def raw(data: bytes) -> Step:
    """Sends *data*, whatever it is, and hangs up."""

    def step(peer: socket.socket, _: threading.Event) -> None:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_RDWR)

    return step


def silence(_: socket.socket, closed: threading.Event) -> None:
    """Never answers."""
    closed.wait()


def trickle(peer: socket.socket, closed: threading.Event) -> None:
    """Sends a byte of an endless body now and then, for ever."""
    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while not closed.wait(0.05):
        peer.sendall(b".")


cut = raw(b"")


@dataclass
class Faulty:
    """The server while it runs."""

    address: str
    seen: list[Seen] = field(default_factory=list)


class _Server:
    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None, reading: bool) -> None:
        self.listener = listener
        self.tls = tls
        self.reading = reading
        self.seen: list[Seen] = []
        self.closed = threading.Event()
        self.peers: list[socket.socket] = []
        self.threads = [threading.Thread(target=self.accept)]
        self.lock = threading.Lock()

    def run(self, script: Sequence[Step]) -> None:
        self.steps, self.last = iter(script), cut
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            self.threads.append(threading.Thread(target=self.serve, args=(peer,)))
            self.threads[-1].start()

    def serve(self, peer: socket.socket) -> None:
        with suppress(OSError), peer:
            if not self.reading:
                peer.recv(1000)
                return
            with self.tls.wrap_socket(peer, server_side=True) if self.tls else peer as secured:
                while request := _request(secured):
                    self.step(request)(secured, self.closed)

    def step(self, request: Seen) -> Step:
        with self.lock:
            self.seen.append(request)
            self.last = next(self.steps, self.last)
            return self.last

    def close(self) -> None:
        self.closed.set()
        with self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.threads[0].join()
        for peer in self.peers:
            with suppress(OSError):  # it may have gone by itself
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()


@contextmanager
def faulty(
    *script: Step,
    unix: Path | None = None,
    tls: ssl.SSLContext | None = None,
    reading: bool = True,
) -> Iterator[Faulty]:
    """Run a server with *script*, on a free port or a Unix socket.

    :param reading: whether requests are read; else they are cut off within their bodies.
    """
    if unix is not None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix))
        listener.listen()
        address = f"unix:{unix}"
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    server = _Server(listener, tls, reading)
    server.run(script)
    try:
        yield Faulty(address, server.seen)
    finally:
        server.close()


def _request(peer: socket.socket) -> Seen | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := peer.recv(65536)):
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    chunked = headers.get("transfer-encoding") == "chunked"
    length = int(headers.get("content-length", "0"))
    while len(rest) < length or (chunked and not rest.endswith(b"0\r\n\r\n")):
        if not (more := peer.recv(65536)):
            return None
        rest += more
    return Seen(method, target, headers, _dechunked(rest) if chunked else rest)


def _dechunked(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return body
