"""The service is killed at every step of a commit: a version is whole, or is not there.

The service of these tests counts what it asks of the disk and of the database from when a
commit begins, and kills itself before the step of a given number.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from support.services import running_service
from support.talking import talking

from rengafs.client import calls
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.protocol.errors import RengafsError
from rengafs.protocol.operations import Commit
from rengafs.service.run import ServeOptions, open_service_catalog
from rengafs.service.upkeep import check_data, sweep_data

PROGRAM = """
import os, signal, sys, types
from pathlib import Path
from sqlalchemy import Engine, event
from rengafs.backends.local import drawing
from rengafs.service.run import ServeOptions, serve

listen, data, catalog = sys.argv[1:]
steps = 0

def step(*_):
    global steps
    if os.path.exists(armed):
        steps += 1
        if steps == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

def watched(call):
    def run(*args, **kwargs):
        step()
        return call(*args, **kwargs)
    return run

drawing.os = types.SimpleNamespace(**vars(os))
for name in ["open", "pwrite", "fchmod", "fsync", "close", "rename"]:
    setattr(drawing.os, name, watched(getattr(os, name)))
event.listen(Engine, "before_cursor_execute", step)
event.listen(Engine, "commit", step)
event.listen(Engine, "checkin", step)  # after a commit; before the answer

# A service for each line, forked: to import everything takes longer than a commit.
while line := sys.stdin.readline():
    fatal, armed = int(line.split()[0]), line.split()[1]
    child = os.fork()
    if not child:
        options = ServeOptions(listen, Path(data), catalog)
        serve(options, ready=lambda address: print(os.getpid(), flush=True))
        os._exit(0)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
FEWEST_STEPS = 15
MOST_STEPS = 100


def content_of(number: int) -> bytes:
    return b"%d" % number * 20_000


class Dying:
    """Services that are killed at a step, one after the other."""

    def __init__(self, options: ServeOptions, token: str) -> None:
        self.directory = options.data.parent
        address = f"unix:{self.directory / 'k'}"
        self.endpoint = Endpoint(address, token, patience_seconds=0.3)
        words = [sys.executable, "-c", PROGRAM, address, str(options.data), options.catalog]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
            text=True,
            start_new_session=True,
        )

    def answered(self, file: int, fatal: int) -> tuple[bool, bool]:
        """Commit at a service that dies at a step; return (answered, alive)."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        armed = self.directory / f"armed{fatal}"
        self.process.stdin.write(f"{fatal} {armed}\n")
        self.process.stdin.flush()
        service = self.process.stdout.readline()
        assert service.strip().isdecimal(), "the service did not start"
        armed.touch()
        told = self._commit(file, content_of(fatal))
        dead = _is_gone(int(service))
        if not dead:  # also if it was only slow to answer
            with suppress(ProcessLookupError):
                os.kill(int(service), signal.SIGKILL)
        assert self.process.stdout.readline() == "ended\n"
        return told, told and not dead

    def _commit(self, file: int, payload: bytes) -> bool:
        driver = BlockingDriver(self.endpoint)
        size = len(payload)
        operation = Commit(node=file, length=size, extents=[(0, size)], payload=size)
        try:
            driver.run(calls.apply_one(operation, payload))
        except RengafsError:
            return False
        finally:
            driver.close()
        return True

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)  # with what it forked
        self.process.communicate(timeout=120)


def _is_gone(process: int) -> bool:
    try:
        return "Z (zombie)" in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a catalog, on both databases; empty: SQLite in the service's data."""
    if request.param == "sqlite":
        yield ""
        return
    with request.getfixturevalue("postgresql").catalog() as url:
        yield url


def test_a_kill_at_any_step_of_a_commit_leaves_a_whole_version_or_none(catalog: str) -> None:
    with tempfile.TemporaryDirectory(prefix="rengafs-test-") as name, ExitStack() as stack:
        options = ServeOptions("", Path(name) / "data", catalog)
        with (
            running_service(options.data, catalog=catalog) as service,
            talking(service) as talk,
        ):
            bucket = talk.bucket()
            file, token = talk.file(bucket, "f"), service.token
        dying = stack.enter_context(closing(Dying(options, token)))
        acknowledged = set()
        fatal, alive = 0, False
        while not alive:
            fatal += 1
            assert fatal < MOST_STEPS
            told, alive = dying.answered(file.id, fatal)
            if told:
                acknowledged.add(fatal)

            report = check_data(options, contents=True)
            assert report.clean, (fatal, report)
            there = saved(options, bucket.id)
            assert acknowledged <= set(there)
            assert set(there) <= set(range(1, fatal + 1))
        assert fatal > FEWEST_STEPS
        assert len(acknowledged) < fatal - FEWEST_STEPS // 2  # it did die on the way

        # What the kills left behind goes, and nothing else.
        assert sweep_data(options, grace_seconds=-60).blobs > 0
        assert check_data(options, contents=True).clean
        assert saved(options, bucket.id) == there
        assert not list((options.data / "blobs" / "tmp").iterdir())


def saved(options: ServeOptions, bucket: int) -> set[int]:
    """Return the steps whose content is a version of the file, told by its hash."""
    known = {hashlib.sha256(content_of(number)).hexdigest(): number for number in range(MOST_STEPS)}
    catalog = open_service_catalog(options)
    try:
        return {known[version.sha256] for version in catalog.history(bucket, "f").versions}
    finally:
        catalog.close()
