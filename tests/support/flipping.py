"""A proxy that changes one bit of some request bodies, as bad memory on the way may do."""

import itertools
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Flips:
    """What is changed: a bit of each request whose target holds *what*, as often as *times*."""

    what: bytes = b"/fs/apply"
    times: int = 1
    at: float = 0.5
    """Where in what is received at a time: 0 is its first byte, 1 its last."""
    piece: int = 0
    """In which of these, counted from 0."""
    done: int = 0
    passed: int = 0
    """Bytes of bodies that went on to the service."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_due(self) -> bool:
        with self.lock:
            due = self.done < self.times
            self.done += due
            return due


@contextmanager
def flipped(address: str, flips: Flips) -> Iterator[str]:
    """Give the address of a proxy before *address*. A connection carries one request."""
    target = urlsplit(address)
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    ends: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        with (
            suppress(OSError),
            peer,
            socket.create_connection((target.hostname, target.port)) as service,
        ):
            ends.extend((peer, service))
            back = threading.Thread(target=_copy, args=(service, peer))
            back.start()
            _forward(peer, service, flips)
            back.join()

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(peer,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _forward(peer: socket.socket, service: socket.socket, flips: Flips) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = peer.recv(65536)
        if not data:
            return
        head += data
    head, _, body = head.partition(b"\r\n\r\n")
    head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head) + b"\r\nconnection: close\r\n\r\n"
    service.sendall(head)
    chunked = b"transfer-encoding: chunked" in head.lower()
    concerned = flips.what in head.split(b"\r\n")[0] and head.startswith(b"POST")
    for number in itertools.count():
        if not body:
            body = peer.recv(65536)
            if not body:
                break
        data = bytearray(body)
        if concerned and number == flips.piece and flips.is_due():
            _flip(data, flips.at, chunked)
        if concerned:
            flips.passed += len(data)
        service.sendall(data)
        body = b""
    with suppress(OSError):
        service.shutdown(socket.SHUT_WR)


def _flip(data: bytearray, at: float, chunked: bool) -> None:
    """Change a bit of the content; what frames the chunks is looked after by others."""
    framing = set()
    if chunked:
        for match in re.finditer(rb"(?:^|\r\n)[0-9a-f]+\r\n", bytes(data)):
            framing.update(range(*match.span()))
        framing.update(range(len(data) - 2, len(data)))
    usable = [number for number in range(len(data)) if number not in framing]
    data[usable[round(at * (len(usable) - 1))]] ^= 1


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
