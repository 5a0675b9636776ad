"""A proxy before a real store: it cuts, delays, or answers 503, at a chosen point."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal[
    "none",
    "refuse",
    "cut request",
    "cut head",  # in the middle of the answer's head
    "cut answer",
    "503",
    "page",  # not the store's answer, but a page of somebody in between
    "delay",
    "silence",  # before or within the request
    "silent answer",
]
TEXT = b"<html><p>Log in first</html>\n"
PAGE = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(TEXT), TEXT)
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy"


@dataclass
class Plan:
    """What goes wrong, with which requests, and how often."""

    fault: Fault = "none"
    method: str = ""
    """Only requests that begin so, a regular expression: a method, perhaps with a path."""
    after_bytes: int = 0
    """Of the request or of the answer, that pass before it is cut."""
    times: int = 1
    every: int = 1
    """One of so many such requests goes wrong."""
    delay_seconds: float = 0.0
    """Of the fault ``delay``, before the answer."""
    over: threading.Event = field(default_factory=threading.Event)
    """Ends delays before their time."""
    seen: int = 0
    """Such requests until now."""
    hit: int = 0
    """How often it went wrong."""
    passed: int = 0
    """Bytes that went either way."""
    peers: list[socket.socket] = field(default_factory=list)
    """Who has connected."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sever(self) -> None:
        """Cut all connections that there are."""
        for peer in list(self.peers):
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def takes(self, head: bytes) -> bool:
        with self.lock:
            wanted = not self.method or re.match(self.method.encode(), head)
            if self.fault == "none" or not wanted or self.hit >= self.times:
                return False
            self.seen += 1
            if self.seen % self.every:
                return False
            self.hit += 1
            return True


@contextmanager
def proxied(url: str, plan: Plan) -> Iterator[str]:
    """Give the address of a proxy before *url*. Each connection carries one request at a time."""
    target = urlsplit(url)
    listener = socket.create_server(("127.0.0.1", 0))
    closed = threading.Event()
    threads: list[threading.Thread] = []

    def serve(peer: socket.socket) -> None:
        with suppress(OSError), peer:
            _carry(peer, (target.hostname or "", target.port or 80), plan, closed)

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            plan.peers.append(peer)
            threads.append(threading.Thread(target=serve, args=(peer,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        closed.set()
        plan.over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        plan.sever()
        for thread in threads:
            thread.join()


def _carry(  # noqa: C901 - a step for each fault
    peer: socket.socket, target: tuple[str, int], plan: Plan, closed: threading.Event
) -> None:
    with socket.create_connection(target) as store:
        while True:
            head = _head(peer)
            if not head:
                return
            wrong = plan.takes(head)
            if wrong and plan.fault == "refuse":
                return
            if wrong and plan.fault == "silence":
                if plan.after_bytes:
                    _expected(peer, head)
                    _copy(peer, None, _length(head), plan, plan.after_bytes)
                closed.wait()
                return
            limit = plan.after_bytes if wrong and plan.fault == "cut request" else None
            if limit is not None:
                _expected(peer, head)
            store.sendall(head)
            if b"100-continue" in head.lower() and limit is None:
                early = _head(store)
                peer.sendall(early)
                if not early.startswith(b"HTTP/1.1 100"):
                    # It knows already, and wants no body.
                    _copy(store, peer, _length(early), plan, None)
                    return
            if not _copy(peer, store, _length(head), plan, limit):
                return
            if wrong and plan.fault == "503":
                # The store did it, but nobody hears of that.
                _answer(store, None, plan, None, head)
                peer.sendall(BUSY)
                return
            if wrong and plan.fault == "page":
                peer.sendall(PAGE)
                return
            if wrong and plan.fault == "delay":
                plan.over.wait(plan.delay_seconds)
            if wrong and plan.fault == "cut head":
                peer.sendall(_head(store)[:25])
                return
            cut = wrong and plan.fault in ("cut answer", "silent answer")
            if not _answer(store, peer, plan, plan.after_bytes if cut else None, head):
                if wrong and plan.fault == "silent answer":
                    closed.wait()
                return


def _expected(peer: socket.socket, head: bytes) -> None:
    if b"100-continue" in head.lower():
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def _head(peer: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = peer.recv(1)
        if not byte:
            return b""
        data += byte
    return data


def _length(head: bytes) -> int | None:
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        return None
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _answer(
    store: socket.socket,
    peer: socket.socket | None,
    plan: Plan,
    limit: int | None,
    request: bytes,
) -> bool:
    head = _head(store)
    while head.startswith(b"HTTP/1.1 100"):
        head = _head(store)
    if not head:
        return False
    if peer is not None:
        if limit == 0:
            return False
        peer.sendall(head)
    none = request.startswith(b"HEAD ") or head.split(b" ", 2)[1] in (b"204", b"304")
    return _copy(store, peer, 0 if none else _length(head), plan, limit)


def _copy(
    source: socket.socket,
    target: socket.socket | None,
    length: int | None,
    plan: Plan,
    limit: int | None,
) -> bool:
    """Copy a body; False when it was cut."""
    if length is None:
        return _copy_chunks(source, target, plan, limit)
    if limit is not None:
        length = min(length, limit)
    while length:
        data = source.recv(min(65536, length))
        if not data:
            return False
        length -= len(data)
        plan.passed += len(data)
        if target is not None:
            target.sendall(data)
    return limit is None


def _copy_chunks(
    source: socket.socket, target: socket.socket | None, plan: Plan, limit: int | None
) -> bool:
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            byte = source.recv(1)
            if not byte:
                return False
            line += byte
        size = int(line.split(b";")[0], 16)
        if target is not None:
            target.sendall(line)
        if not _copy(source, target, size + 2, plan, limit):
            return False
        if not size:
            return True
