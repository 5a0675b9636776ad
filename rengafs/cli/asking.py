"""A service to ask on behalf of a command, and the paths of its arguments in it."""

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from rengafs.cli.address import service_of
from rengafs.cli.completing import complete_endpoint
from rengafs.cli.embedded import Users, embedded, users_file
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.locating import Where, in_a_mount, locate, split_moment
from rengafs.cli.options import PATH
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.records import read_record, record_path
from rengafs.client import calls
from rengafs.client.access.tokens import ENDPOINT_VARIABLE, TOKEN_VARIABLE, read_token
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.flow import Flow
from rengafs.protocol import moments
from rengafs.protocol.endpoints import CLIENT_HEADER, HOST_HEADER
from rengafs.protocol.errors import BadRequest, NotFound
from rengafs.protocol.messages import Request
from rengafs.protocol.records import Entry

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

PATIENCE_SECONDS = 600.0
"""Restoring a tree of 100,000 files is one call, and one answer at its end."""


@dataclass(frozen=True, slots=True)
class Target:
    """A path of the service, and as of when."""

    path: str
    """``bucket/dir/file``."""
    when: str = ""
    """As it was written; empty: now, or not said."""
    at: int | None = None
    """The change that *when* stands for."""

    @property
    def bucket(self) -> str:
        """The first part of the path."""
        return self.path.split("/", 1)[0]

    @property
    def name(self) -> str:
        """How it is called in headings."""
        return f"{self.path}@{self.when}" if self.when else self.path


class Service:
    """One service, asked call by call."""

    def __init__(self, driver: BlockingDriver, client: str) -> None:
        self._driver = driver
        self.client = client

    def run(self, flow: Flow[T]) -> T:
        """Carry out a call."""
        return self._driver.run(flow)

    def read(self, request: Request, limit: int) -> bytes:
        """Return the bytes of a content; at most *limit* and one more."""
        data = bytearray()
        with self._driver.stream(request) as pieces:
            for piece in pieces:
                data += piece
                if len(data) > limit:
                    break
        return bytes(data)

    def lines(self, request: Request) -> Iterator[bytes]:
        """Yield the lines of an answer as they come."""
        buffer = b""
        with self._driver.stream(request) as pieces:
            for piece in pieces:
                *whole, buffer = (buffer + piece).split(b"\n")
                yield from whole

    def find(self, path: str, at: int | None = None) -> Entry | None:
        """Return what stands, or stood, at a path, or None."""
        try:
            return self.run(calls.path(path, at=at))
        except NotFound:
            return None

    def target(self, where: Where) -> Target:
        """Return where and when a path means. Raises `NotFound`, `BadRequest`."""
        meanings = split_moment(where)
        if len(meanings) > 1 and self.find(meanings[0].path) is None:
            meanings = self._labelled(meanings)
        chosen = meanings[0]
        at = self.change_of(chosen.when, chosen.path) if chosen.when else None
        return Target(chosen.path, chosen.when, at)

    def _labelled(self, meanings: list[Where]) -> list[Where]:
        """Prefer the meaning with a label if there is the label, or at least the file."""
        labelled = meanings[1]
        try:
            self.change_of(labelled.when, labelled.path)
        except (NotFound, BadRequest):
            return meanings if self.find(labelled.path) is None else [labelled]
        return [labelled]

    def change_of(self, when: str, path: str) -> int:
        """Return the last change until a moment, or that of a label of the path's bucket.

        Raises `BadRequest` for a moment to come, `NotFound` for neither.
        """
        try:
            at_ms = self.moment(when)
        except BadRequest:
            bucket = self.run(calls.path(path.split("/", 1)[0])).node
            return self.run(calls.label(bucket.id, when)).change
        return self.run(calls.moment(at_ms)).change

    def moment(self, when: str) -> int:
        """Return the last millisecond that *when* names, at most now. Raises `BadRequest`."""
        first_ms, last_ms = moments.parse_span(when, zone=None)
        now_ms = int(time.time() * 1000)
        if first_ms > now_ms:
            now_ms = self.run(calls.service()).now_ms
        if first_ms > now_ms:
            raise refuse(Exit.USAGE, f"{when} is still to come; name a moment that was")
        return min(last_ms, max(now_ms, first_ms))


def service_options(command: F) -> F:
    """Give *command* the options that say which service is meant."""
    command = click.option(
        "--token-file",
        type=PATH,
        metavar="FILE",
        help=f"Where the token for the service is. [default: {TOKEN_VARIABLE}, the "
        "configuration, or that of rengafs login]",
    )(command)
    return click.option(
        "--endpoint",
        metavar="URL|NAME",
        shell_complete=complete_endpoint,
        help="The service that BUCKET/PATH is of: an address, a name of the configuration, or "
        f"embedded. [default: that of the mount that a path is below; else {ENDPOINT_VARIABLE}, "
        "the configuration, the embedded one]",
    )(command)


def json_option(command: F) -> F:
    """Give *command* ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


@contextmanager
def asking(
    texts: list[str], endpoint: str | None, token_file: Path | None
) -> Iterator[tuple[Service, list[Where]]]:
    """Give the service that the paths *texts* are of, and the paths in it.

    Raises `SetupError`, `Unreachable`, `NotAuthenticated`.
    """
    paths = find_paths()
    places = [locate(text, of_service=endpoint is not None) for text in texts]
    mountpoints = {place.mountpoint for place in places}
    if len(mountpoints) != 1:
        raise refuse(Exit.USAGE, "the paths are of different mounts or services; copy instead")
    mountpoint = mountpoints.pop()
    with _endpoint_of(paths, mountpoint, endpoint, token_file) as found:
        client = f"command-{uuid.uuid4().hex}"
        headers = {HOST_HEADER: socket.gethostname(), CLIENT_HEADER: client}
        driver = BlockingDriver(replace(found, headers=headers, patience_seconds=PATIENCE_SECONDS))
        try:
            yield Service(driver, client), places
        finally:
            driver.close()


@contextmanager
def asking_of_bucket(
    bucket: str | None, endpoint: str | None, token_file: Path | None
) -> Iterator[tuple[Service, Entry | None]]:
    """Give the service that *bucket* is of, and the bucket.

    None: no bucket; the service is that of the mount that one is in, or else the usual one.
    Raises as `asking`, and `NotFound`.
    """
    text = "" if bucket is None else bucket
    if bucket is None and endpoint is None:
        text = "." if in_a_mount() else ""
    with asking([text], endpoint, token_file) as (service, (where,)):
        if bucket is None:
            yield service, None
            return
        if not where.path or "/" in where.path:
            raise refuse(Exit.USAGE, f"{bucket} is not a bucket; name a whole bucket")
        yield service, service.run(calls.path(where.path))


@contextmanager
def _endpoint_of(
    paths: Paths, mountpoint: Path | None, endpoint: str | None, token_file: Path | None
) -> Iterator[Endpoint]:
    if mountpoint is None:
        with service_of(paths, endpoint, token_file, os.environ) as found:
            yield found
        return
    record = read_record(record_path(paths, mountpoint))
    if record is None or not record.endpoint:
        raise refuse(
            Exit.NOT_MOUNTED,
            f"the mount at {mountpoint} is not yours, or still starting; name its service "
            "with --endpoint, and the path as BUCKET/PATH",
        )
    data = _embedded_data(record.endpoint)
    if data is not None:
        with embedded(paths, data) as found:
            yield found
    elif token_file is None and record.token_file:
        yield Endpoint(record.endpoint, read_token(Path(record.token_file)))
    else:
        with service_of(paths, record.endpoint, token_file, os.environ) as found:
            yield found


def _embedded_data(address: str) -> Path | None:
    """Return the data of the embedded service at *address*, if it is one."""
    if not address.startswith("unix:"):
        return None
    try:
        text = users_file(Path(address.removeprefix("unix:"))).read_bytes()
        return Path(msgspec.json.decode(text, type=Users).data)
    except (OSError, msgspec.DecodeError):
        return None
