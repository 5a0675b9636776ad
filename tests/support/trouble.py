"""A proxy before a service that does to some requests what networks do.

Only requests whose target holds *what* are troubled; each meets the next trouble in turn, and
before that whatever is expected of it.
"""

import socket
import threading
from contextlib import suppress

TROUBLES = ("cut", "none", "lose the answer", "500", "503", "stall", "cut the body", "none")
"""Beside these there are ``delay`` and ``cut the answer``."""
STALL_SECONDS = 1.0
DELAY_SECONDS = 0.3


class Trouble:
    """Listens on a free port, and forwards to ``http://HOST:PORT`` of a service."""

    def __init__(self, address, what, troubles=TROUBLES, stall_seconds=STALL_SECONDS):
        host, _, port = address.removeprefix("http://").rpartition(":")
        self._target = (host, int(port))
        self._what = what.encode()
        self._troubles = troubles
        self._expected = []
        self._stall_seconds = stall_seconds
        self._met = 0
        self._on = True
        self._turn = threading.Lock()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_connections()
        for thread in self._threads:
            thread.join()

    @property
    def met(self):
        """How many troubles there were."""
        return self._met

    def expect(self, *troubles):
        """Have the next requests meet these."""
        self._expected += troubles

    def break_connections(self):
        """Cut whatever is on the line now."""
        for end in list(self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def end(self):
        """Trouble no more."""
        self._on = False

    def _next(self):
        with self._turn:
            if self._expected:
                trouble = self._expected.pop(0)
            elif self._troubles:
                trouble = self._troubles[self._met % len(self._troubles)]
            else:
                return "none"
            self._met += 1
        return trouble

    def _accept(self):
        while not self._closed.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer):
        self._ends.append(peer)
        with suppress(OSError), peer:
            self._one(peer)
        self._ends.remove(peer)

    def _one(self, peer):
        """Carry one request; the connection ends with it."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = peer.recv(65536)
            if not data:
                return
            head += data
        head, _, rest = head.partition(b"\r\n\r\n")
        trouble = "none"
        if self._on and self._what in head.split(b"\r\n")[0]:
            trouble = self._next()
        if trouble == "cut":
            return
        waits = {"stall": self._stall_seconds, "delay": DELAY_SECONDS}
        self._closed.wait(waits.get(trouble, 0))
        body = rest + _rest_of_body(peer, head, rest)
        if trouble in ("500", "503"):
            text = b"trouble"
            peer.sendall(b"HTTP/1.1 %s No\r\ncontent-length: 7\r\n" % trouble.encode())
            peer.sendall(b"connection: close\r\n\r\n" + text)
            return
        with socket.create_connection(self._target) as there:
            self._ends.append(there)
            try:
                there.sendall(head + b"\r\nconnection: close\r\n\r\n")
                if trouble == "cut the body":
                    there.sendall(body[: len(body) // 2])
                    return
                there.sendall(body)
                self._answer(there, peer, trouble)
            finally:
                self._ends.remove(there)

    def _answer(self, there, peer, trouble):
        while data := there.recv(65536):
            if trouble == "cut the answer":
                peer.sendall(data[: len(data) // 2])
                return
            if trouble != "lose the answer":
                peer.sendall(data)


def _rest_of_body(peer, head, rest):
    lines = [line.lower() for line in head.split(b"\r\n")[1:]]
    fields = dict(line.split(b": ", 1) for line in lines)
    length = int(fields.get(b"content-length", b"0"))
    chunked = fields.get(b"transfer-encoding") == b"chunked"
    found = b""
    while len(rest) + len(found) < length or (
        chunked and not (rest + found).endswith(b"0\r\n\r\n")
    ):
        data = peer.recv(1 << 20)
        if not data:
            raise OSError("the client went away")
        found += data
    return found
