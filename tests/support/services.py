"""A real service in a process of its own, for the length of a test."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rengafs.client.connection import Endpoint
from rengafs.service.run import ServeOptions
from rengafs.service.tokens import create_token

_PROGRAM = """
import functools, logging, pickle, sys
from rengafs.protocol.errors import SetupError
from rengafs.service.run import serve

logs = functools.partial(logging.basicConfig, level=logging.INFO)
logs()
try:
    options = pickle.loads(bytes.fromhex(sys.argv[1]))
    serve(options, ready=lambda address: print(address, flush=True), logs=logs)
except SetupError as error:
    print(f"SetupError: {error}", flush=True)
    sys.exit(1)
"""


@dataclass
class RunningService:
    """Where a service answers, and what it is made of."""

    address: str
    """``unix:PATH`` or ``http://HOST:PORT``."""
    token: str
    """Of the user ``tester``."""
    data: Path
    log: Path
    process: "subprocess.Popen[bytes]" = field(repr=False)
    catalog: str = ""
    """The URL of its catalog; empty: SQLite in its data."""

    @property
    def endpoint(self) -> Endpoint:
        """What a driver takes."""
        return Endpoint(self.address, self.token)

    def token_for(self, name: str, *, read_only: bool = False, everywhere: bool = False) -> str:
        """Return a token of another user."""
        return create_token(
            ServeOptions("", self.data, self.catalog),
            name,
            read_only=read_only,
            everywhere=everywhere,
        )

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.kill()
        self.process.wait(120)

    def stop(self) -> int:
        """End the process politely; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(120)


@contextmanager
def running_service(
    data: Path | None = None,
    *,
    listen: str = "",
    users_lock: Path | None = None,
    token: str = "",
    catalog: str = "",
    **more: Any,
) -> Iterator[RunningService]:
    """Give a running service.

    :param data: its data directory; one of its own, removed at the end, unless given.
    :param listen: a Unix socket of its own unless given; ``127.0.0.1:0`` for a free port.
    :param token: one that the data has already; else one is made.
    :param catalog: the URL of one elsewhere than in the data.
    :param more: of `ServeOptions`.
    """
    # Not below pytest's directories: the path of a Unix socket has at most 107 bytes.
    own = Path(tempfile.mkdtemp(prefix="rengafs-test-"))
    data = data or own / "data"
    log = own / "log"
    process = start(listen or f"unix:{own / 'socket'}", data, log, users_lock, catalog, **more)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode().strip()
        if not address or address.startswith("SetupError"):
            raise AssertionError(f"the service did not start: {address}\n{log.read_text()}")
        token = token or create_token(ServeOptions("", data, catalog), "tester")
        yield RunningService(address, token, data, log, process, catalog)
    finally:
        _end(process)
        shutil.rmtree(own, ignore_errors=True)


def start(
    listen: str,
    data: Path,
    log: Path,
    users_lock: Path | None = None,
    catalog: str = "",
    **more: Any,
) -> "subprocess.Popen[bytes]":
    """Start a service; the first line of its output is the address, or ``SetupError: …``."""
    options = ServeOptions(listen, data, catalog, users_lock=users_lock, **more)
    command = [sys.executable, "-c", _PROGRAM, pickle.dumps(options).hex()]
    with log.open("ab") as errors:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(120)
    finally:
        if process.stdout is not None:
            process.stdout.close()
