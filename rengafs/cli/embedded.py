"""The service that a mount starts by itself: one for each data directory, shared.

Three files in the runtime directory hold it together:

``service-X.sock``
    where it listens; whoever connects to it may use it, as the directory is ours alone.
``service-X.users``
    held shared by every user, and tried exclusively by the service about once a second:
    when it gets it, nobody is left, and the service leaves. So it also leaves after users
    that were killed. The file tells the data directory.
``service-X.start``
    held exclusively by whoever looks whether the service must be started.

A user takes ``.users`` first, then ``.start``: while it holds the former, a service that
answers cannot leave, and one that is leaving (it holds the lock to its end) is waited for.
The last user to go does not leave the service to find that out: it ends it, and waits.
"""

import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from rengafs.cli import detached
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.locks import FileLock, wait_for_lock
from rengafs.cli.paths import Paths
from rengafs.cli.processes import Process
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.retry import ask_once
from rengafs.protocol import endpoints
from rengafs.protocol.errors import NotAuthenticated, RengafsError
from rengafs.protocol.messages import Request

logger = logging.getLogger(__name__)

START_SECONDS = 20.0
LEAVE_SECONDS = 15.0
"""The service finishes its requests within 10 s."""
TOKEN_FILE = "embedded.token"
TOKEN_NAME = "embedded"


class Users(msgspec.Struct, frozen=True):
    """What the ``.users`` file tells."""

    data: str


@contextmanager
def embedded(paths: Paths, data: Path) -> Iterator[Endpoint]:
    """Give the embedded service of *data*, started if need be, while the block runs.

    Raises `SetupError` with the service's own reason where it cannot start.
    """
    data = data.resolve()
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = paths.socket(data)
    users = wait_for_lock(users_file(sock), seconds=START_SECONDS, shared=True)
    if users is None:
        raise refuse(Exit.TIMEOUT, f"the service of {data} does not end; see rengafs status")
    try:
        os.pwrite(users.descriptor, msgspec.json.encode(Users(str(data))), 0)
        endpoint = _start_once(paths, data, sock)
    except BaseException:
        _leave(users, sock)
        raise
    try:
        yield endpoint
    finally:
        _leave(users, sock)


def users_file(sock: Path) -> Path:
    """Return the file that the users of the service at *sock* hold."""
    return sock.with_suffix(".users")


def answers(address: str) -> bool:
    """Whether a service listens at *address* and is well."""
    driver = BlockingDriver(Endpoint(address, patience_seconds=5.0))
    try:
        driver.run(ask_once(Request("GET", "/healthz")))
    except RengafsError:
        return False
    finally:
        driver.close()
    return True


def listener(sock: Path) -> int | None:
    """Return the process that listens at *sock*, or None if none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(5.0)
        try:
            channel.connect(str(sock))
        except OSError:
            return None
        credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    process: int = struct.unpack("3i", credentials)[0]
    return process


def _start_once(paths: Paths, data: Path, sock: Path) -> Endpoint:
    start = wait_for_lock(sock.with_suffix(".start"), seconds=2 * START_SECONDS)
    if start is None:
        raise refuse(Exit.TIMEOUT, f"another process tries to start the service of {data}, in vain")
    try:
        address = f"unix:{sock}"
        if not answers(address):
            # It serves nobody but its owner, who can fetch from there without it too.
            serve = ["serve", "--listen", address, "--data", str(data), "--import-private"]
            detached.start(
                [*serve, "--users-lock", str(users_file(sock))],
                log=paths.service_log(data),
                seconds=START_SECONDS,
                what="the embedded service",
            )
        return Endpoint(address, _token(data, address))
    finally:
        start.release()


def _token(data: Path, address: str) -> str:
    """Return a token that the service takes: the one on disk, or a new one."""
    file = data / TOKEN_FILE
    try:
        token = file.read_text().strip()
        _ask(Endpoint(address, token))
    except (FileNotFoundError, NotAuthenticated):
        # None yet, or the catalog has been replaced since.
        token = _make_token(data, file)
        _ask(Endpoint(address, token))
    return token


def _ask(endpoint: Endpoint) -> None:
    driver = BlockingDriver(endpoint)
    try:
        driver.run(ask_once(endpoints.SERVICE.request()))
    finally:
        driver.close()


def _make_token(data: Path, file: Path) -> str:
    # Imported here: the catalog takes a good part of a second, and this happens once.
    from rengafs.cli.servicedata import serve_options
    from rengafs.service.tokens import create_token

    token = create_token(serve_options(data, ""), TOKEN_NAME, everywhere=True)
    made = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w") as output:
        output.write(token + "\n")
        output.flush()
        os.fsync(output.fileno())
    made.replace(file)
    return token


def _leave(users: FileLock, sock: Path) -> None:
    """Give up the lock, and end the service if nobody else holds it."""
    number = listener(sock)
    with ExitStack() as held:
        process = None
        if number is not None:
            with suppress(ProcessLookupError):
                process = held.enter_context(Process(number))
        if users.become(shared=False):
            if process is not None:
                process.terminate()
                _wait(process)
            if listener(sock) is None:
                sock.unlink(missing_ok=True)  # what a killed service left
            sock.with_suffix(".start").unlink(missing_ok=True)
            users.remove_and_release()
            return
        if not users.become(shared=True) and process is not None:
            # Not other users, then, but the service itself: it is about to go.
            _wait(process)
        users.release()


def _wait(process: Process) -> None:
    if not process.wait(LEAVE_SECONDS):
        logger.warning("the embedded service has not ended within %g s", LEAVE_SECONDS)
