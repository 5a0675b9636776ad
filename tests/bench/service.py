"""The service by itself, over its Unix socket, as a client in another process sees it."""

import statistics
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from support.services import running_service
from support.talking import talking

from bench.timing import compare, timed
from rengafs.client import calls
from rengafs.client.retry import ask_once
from rengafs.protocol.messages import Request
from rengafs.protocol.operations import Commit, MakeDirectory, MakeFile, Rename

SMALL = 4096
PROMISED = 20_000
"""Entries a second."""


def rows(scratch, quick):
    many = 20_000 if quick else 100_000
    rounds = 3 if quick else 5
    with serving(scratch) as talk:
        directory = filled(talk, many)
        yield compare(
            f"list a directory of {many:,} entries, with attributes",
            "entries/s",
            "what is promised",
            1.0,
            lambda: listed(talk, directory, many),
            lambda: float(PROMISED),
            rounds=rounds,
        )
        inner = filled(talk, 10_000)
        yield renaming(talk, inner, rounds)
    # Without the disk's own time for an fsync: the data lie in memory.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, serving(Path(memory)) as talk:
        yield saving(talk, 300 if quick else 1000, rounds)
    yield from memories(scratch, 128 << 20 if quick else 2 << 30, many)


@contextmanager
def serving(scratch):
    data = Path(tempfile.mkdtemp(dir=scratch)) / "data"
    with running_service(data) as service, talking(service, patience_seconds=600) as talk:
        yield talk


def filled(talk, count):
    """Make a directory of so many files in a bucket of its own."""
    bucket = talk.bucket()
    directory = talk.do(MakeDirectory(parent=bucket.id, name="d")).node
    for start in range(0, count, 5000):
        talk.run(
            calls.apply(
                [
                    MakeFile(parent=directory.id, name=f"file-{number:06}.dat")
                    for number in range(start, min(start + 5000, count))
                ],
                atomic=True,
            )
        )
    return bucket, directory


def listed(talk, made, count):
    _, directory = made
    found, after, at = 0, "", None
    with timed() as watch:
        while True:
            page = talk.run(calls.entries(directory.id, after=after, limit=10_000, at=at))
            found, after, at = found + len(page.entries), page.next, page.change
            if not after:
                break
    assert found == count
    return count / watch.seconds


def renaming(talk, made, rounds):
    bucket, _ = made
    talk.file(bucket, "one", b"x")
    names = {"d": "d", "one": "one"}

    def rename(which):
        def run():
            taken = []
            for _ in range(20):
                old, new = names[which], names[which] + "+"
                operation = Rename(parent=bucket.id, name=old, new_parent=bucket.id, new_name=new)
                with timed() as watch:
                    talk.do(operation)
                talk.do(Rename(parent=bucket.id, name=new, new_parent=bucket.id, new_name=old))
                taken.append(watch.seconds)
            return statistics.median(taken)

        return run

    return compare(
        "rename a directory of 10,000 files",
        "s",
        "rename one file",
        3.0,
        rename("d"),
        rename("one"),
        rounds=rounds,
    )


def saving(talk, count, rounds):
    bucket = talk.bucket()
    file = talk.file(bucket, "f")
    content = bytearray(SMALL)

    def save():
        taken = []
        for _ in range(count):
            content[:16] = time.monotonic_ns().to_bytes(16)
            commit = Commit(node=file.id, length=SMALL, extents=[(0, SMALL)], payload=SMALL)
            with timed() as watch:
                talk.do(commit, bytes(content))
            taken.append(watch.seconds)
        return statistics.median(taken)

    def healthy():
        taken = []
        for _ in range(count):
            with timed() as watch:
                talk.run(ask_once(Request("GET", "/healthz")))
            taken.append(watch.seconds)
        return statistics.median(taken)

    return compare(
        "commit 4 KiB",
        "s",
        "GET /healthz",
        5.0,
        save,
        healthy,
        rounds=rounds,
        note="median of a round; SQLite and blobs in memory, so that fsync is free",
    )


def memories(scratch, size, entries):
    """Yield how much memory a large body, and a large directory, take beside small ones."""

    def body(count):
        def run():
            with serving(scratch) as talk:
                file = talk.file(talk.bucket(), "f")
                token = talk.run(calls.authorize_write(file.id))
                piece = bytes(1 << 20)
                version = talk.run(calls.io_write((piece for _ in range(count >> 20)), token=token))
                with talk.driver.stream(calls.content(version.id)) as pieces:
                    assert sum(map(len, pieces)) == count
                return peak(talk)

        return run

    def directory(count):
        def run():
            with serving(scratch) as talk:
                made = filled(talk, count)
                listed(talk, made, count)
                return peak(talk)

        return run

    yield compare(
        f"memory after {size >> 20:,} MiB in and out",
        "MiB",
        "after 1 MiB",
        1.25,
        body(size),
        body(1 << 20),
        rounds=1,
    )
    yield compare(
        f"memory after making and listing {entries:,} entries",
        "MiB",
        "10,000 entries",
        1.25,
        directory(entries),
        directory(10_000),
        rounds=1,
    )


def peak(talk):
    """Return the most memory that the service has had, in MiB."""
    status = Path(f"/proc/{talk.service.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
