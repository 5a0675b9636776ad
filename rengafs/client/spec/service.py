"""The service behind an fsspec filesystem: one call a method, errors as `OSError`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rengafs.client import calls
from rengafs.client.access.credentials import find_store
from rengafs.client.access.settings import EMBEDDED, read_settings, settings_file
from rengafs.client.access.tokens import ENDPOINT_VARIABLE, find_token
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import PATIENCE_SECONDS, Endpoint
from rengafs.client.flow import Flow
from rengafs.client.retry import ask
from rengafs.client.spec.moments import meanings
from rengafs.protocol import moments
from rengafs.protocol.errors import BadRequest, NotFound, RengafsError, SetupError
from rengafs.protocol.records import ROOT, Entry

T = TypeVar("T")

BLOCK_BYTES = 4 << 20
"""The most that is asked for at a time: what a slow line carries within patience."""
PAGE = 1000


def find_endpoint(
    endpoint: str, token: str, token_file: str, patience_seconds: float = PATIENCE_SECONDS
) -> Endpoint:
    """Return the service that is meant: by arguments, environment or configuration.

    Raises `SetupError` where nothing names one, or there is no token for it.
    """
    settings = read_settings(settings_file())
    text = endpoint or os.environ.get(ENDPOINT_VARIABLE, "") or settings.endpoint
    if not text or text == EMBEDDED:
        raise SetupError(
            f"no service is named; set {ENDPOINT_VARIABLE}, say rengafs login URL --default, or "
            "give storage_options={'endpoint': …, 'token': …}"
        )
    address = settings.address(text)
    if not token:
        file = Path(token_file) if token_file else None
        found = find_token(
            address,
            file=file,
            environment=os.environ,
            settings=settings,
            store=find_store(settings.file),
        )
        if found is None:
            raise SetupError(f"there is no token for {address}; say: rengafs login {address}")
        token = found.token
    return Endpoint(address, token, patience_seconds=patience_seconds)


@contextmanager
def as_os_errors(path: str) -> Iterator[None]:
    """Turn our errors into those that callers of fsspec expect."""
    try:
        yield
    except RengafsError as error:
        raise OSError(error.errno, error.message, path) from error


class Service:
    """One service, asked call by call. May be shared by threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._driver = BlockingDriver(endpoint)

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()

    def run(self, flow: Flow[T], path: str = "") -> T:
        """Carry out a call for *path*. Raises `OSError`."""
        with as_os_errors(path):
            return self._driver.run(flow)

    def find(self, text: str) -> tuple[Entry, int | None]:
        """Return what stands at a path, and the change that the path names, if one.

        Raises `OSError`; `FileNotFoundError` where there is nothing.
        """
        with as_os_errors(text):
            first, *labelled = meanings(text)
            if first.when:
                at = self._driver.run(calls.moment(_end_of(first.when))).change
                return self._driver.run(calls.path(first.path, at=at)), at
            if not first.path:
                return Entry(name="", node=self._driver.run(calls.node(ROOT))), None
            try:
                return self._driver.run(calls.path(first.path)), None
            except NotFound:
                for other in labelled:
                    with suppressed():
                        bucket = self._driver.run(calls.path(other.path.split("/")[0])).node.id
                        at = self._driver.run(calls.label(bucket, other.when)).change
                        return self._driver.run(calls.path(other.path, at=at)), at
                raise

    def entries(self, directory: int, at: int | None, path: str) -> list[Entry]:
        """Return all entries of a directory, as of one change. Raises `OSError`."""
        found: list[Entry] = []
        after = ""
        with as_os_errors(path):
            while True:
                page = self._driver.run(calls.entries(directory, after=after, limit=PAGE, at=at))
                found += page.entries
                if not page.next:
                    return found
                at, after = page.change, page.next

    def read(self, version: int, start: int, stop: int, path: str) -> bytes:
        """Return bytes *start* to *stop* (excluded) of a version. Raises `OSError`."""
        pieces = []
        with as_os_errors(path):
            for at in range(start, stop, BLOCK_BYTES):
                end = min(at + BLOCK_BYTES, stop)
                pieces.append(self._driver.run(_content(version, at, end)))
        return b"".join(pieces)

    def save(self, flow: Flow[T], length: int, path: str) -> T:
        """Carry out a commit of *length* bytes: patience grows with them."""
        patience = self._driver.endpoint.patience_seconds + length / (64 << 10)
        with as_os_errors(path):
            return self._driver.run(flow, patience_seconds=patience)


@contextmanager
def suppressed() -> Iterator[None]:
    """Go on where there is no such label, or nothing there then."""
    try:
        yield
    except (NotFound, BadRequest):
        return


def _content(version: int, start: int, stop: int) -> Flow[bytes]:
    reply = yield from ask(calls.content(version, start, stop), harmless=True)
    return reply.body if reply.status == 206 else reply.body[start:stop]


def _end_of(when: str) -> int:
    return moments.parse_span(when, zone=None)[1]
