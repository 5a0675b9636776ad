"""A throw-away PostgreSQL, and catalogs in it: each a schema of its own.

The server listens on a Unix socket in its own directory only, so no port can be taken. As
root it runs as the user ``postgres``, which the package makes: it refuses to be root.
"""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

OPTIONS = (
    # It is thrown away: what a power cut would do to it is of no interest.
    "fsync=off synchronous_commit=off full_page_writes=off "
    "shared_buffers=64MB max_connections=100 listen_addresses="
)


class PostgreSQL:
    """A running server."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self.directory = directory
        self._control = [programs / "pg_ctl", "-D", directory / "data", "-s", "-w"]

    def start(self) -> None:
        settings = [f"unix_socket_directories={self.directory}", *OPTIONS.split()]
        options = " ".join(f"-c {setting}" for setting in settings)
        log = self.directory / "log"
        _run(self.directory, [*self._control, "-t", "60", "-l", log, "-o", options, "start"])

    def stop(self) -> None:
        _run(self.directory, [*self._control, "-m", "fast", "stop"])

    @contextmanager
    def catalog(self) -> Iterator[str]:
        """Give the URL of a place for one catalog; it goes at the end."""
        name = f"c{uuid.uuid4().hex}"
        self._say(f"CREATE SCHEMA {name}")
        try:
            yield (
                f"postgresql://postgres@/postgres?host={self.directory}"
                f"&options=-csearch_path%3D{name}"
            )
        finally:
            self._say(f"DROP SCHEMA {name} CASCADE")

    def _say(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self.directory), user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Give a server, and end it."""
    programs = _programs()
    # Not below pytest's directories: the path of a Unix socket has at most 107 bytes, and
    # another user must be able to enter.
    directory = Path(tempfile.mkdtemp(prefix="rengafs-pg-"))
    try:
        if os.getuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        data = directory / "data"
        _run(
            directory,
            [
                *(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust"),
                *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
        )
        server = PostgreSQL(directory, programs)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
    if not found:
        raise AssertionError("no PostgreSQL here; say: make setup")
    return found[-1]


def _run(directory: Path, command: list[object]) -> None:
    root = os.getuid() == 0
    done = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        user="postgres" if root else None,
        group="postgres" if root else None,
        extra_groups=[] if root else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a pipe would be held open by the server
        stderr=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    if done.returncode:
        log = directory / "log"
        raise AssertionError(
            f"{command[0]} failed ({done.returncode}): "
            f"{log.read_text() if log.exists() else 'no log'}"
        )
