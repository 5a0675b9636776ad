"""The service is killed at every step of a commit: a version is whole, or is not there.

The service of these tests counts what it asks of the disk and of the database from when a
commit begins, and kills itself before the step of a given number.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

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
from rengafs.backends import drawing
from rengafs.service.run import ServeOptions, serve

listen, data, armed, fatal = sys.argv[1:]
steps = 0

def step(*_):
    global steps
    if os.path.exists(armed):
        steps += 1
        if steps == int(fatal):
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
serve(ServeOptions(listen, Path(data)), ready=lambda address: print(address, flush=True))
"""
FEWEST_STEPS = 15
MOST_STEPS = 100


def content_of(number: int) -> bytes:
    return b"%d" % number * 20_000


def answered(directory: Path, token: str, file: int, fatal: int) -> tuple[bool, bool]:
    """Commit at a service that dies at a step; return (answered, alive)."""
    armed = directory / f"armed{fatal}"
    address = f"unix:{directory / 'k'}"
    words = [address, str(directory / "data"), str(armed), str(fatal)]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    ) as process:
        driver = BlockingDriver(Endpoint(address, token, patience_seconds=0.3))
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "the service did not start"
            armed.touch()
            payload = content_of(fatal)
            size = len(payload)
            operation = Commit(node=file, length=size, extents=[(0, size)], payload=size)
            try:
                driver.run(calls.apply_one(operation, payload))
            except RengafsError:
                return False, False
            return True, process.poll() is None
        finally:
            driver.close()
            process.kill()
            process.wait(10)


def test_a_kill_at_any_step_of_a_commit_leaves_a_whole_version_or_none() -> None:
    with tempfile.TemporaryDirectory(prefix="rengafs-test-") as name:
        directory = Path(name)
        options = ServeOptions("", directory / "data")
        with running_service(options.data) as service, talking(service) as talk:
            bucket = talk.bucket()
            file, token = talk.file(bucket, "f"), service.token
        acknowledged = set()
        fatal, alive = 0, False
        while not alive:
            fatal += 1
            assert fatal < MOST_STEPS
            told, alive = answered(directory, token, file.id, fatal)
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
