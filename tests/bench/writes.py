"""Writes: against the local disk, and against what the same client can do without a mount."""

import os
import shutil
import statistics
import subprocess
import time
import uuid

from support.links import delayed
from support.mounts import Home
from support.services import running_service
from support.writing import saves, sync

from bench.timing import Row, compare, timed
from rengafs.client import calls
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.protocol.operations import Commit, MakeFile

MIB = 1 << 20
PIECE = os.urandom(MIB)
A_SECOND = 1000.0
"""Small files that --write-back takes, where the local disk itself does."""


def large(path, mebibytes, *, synced):
    """Seconds to write a file of so many MiB in pieces of 1 MiB, and to close it."""
    with timed() as watch, open(path, "wb", buffering=0) as out:
        out.writelines(number.to_bytes(8) + PIECE[8:] for number in range(mebibytes))
        if synced:
            os.fsync(out.fileno())
    return watch.seconds


def copied(source, path, *, synced):
    """Seconds that cp takes, and a sync."""
    with timed() as watch:
        subprocess.run(["cp", source, path], check=True)
        if synced:
            sync(path)
    path.unlink()
    return watch.seconds


def small(directory, count, *, synced):
    """Files a second: 4 KiB each, made, written and closed."""
    directory.mkdir()
    body = PIECE[:4096]
    with timed() as watch:
        for number in range(count):
            with open(directory / f"f{number}", "wb", buffering=0) as out:
                out.write(number.to_bytes(8) + body[8:])
                if synced:
                    os.fsync(out.fileno())
    return count / watch.seconds


def commits(driver, bucket, count):
    """Files a second that a client makes and saves, one after another, without a mount.

    A request for each: file and content go together, under an id that was reserved.
    """
    reserved = driver.run(calls.reserve(count))
    with timed() as watch:
        for number in range(count):
            node = reserved.first + number
            made = MakeFile(parent=bucket, name=uuid.uuid4().hex, id=node)
            body = number.to_bytes(8) + PIECE[8:4096]
            commit = Commit(node=node, length=4096, whole=True, extents=[(0, 4096)], payload=4096)
            for outcome in driver.run(calls.apply([made, (commit, body)])):
                calls.good(outcome)
    return count / watch.seconds


def a_byte(path, at):
    """Seconds to change one byte, close acknowledged."""
    with timed() as watch, open(path, "r+b", buffering=0) as out:
        out.seek(at)
        out.write(b"!")
    return watch.seconds


def transactions(path, count):
    program = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "for number in range(int(sys.argv[2])):\n"
        "    with db: db.execute('update t set b = b || ? where rowid = ?', ('x', 1 + number))\n"
    )
    subprocess.run(["python3", "-c", program, str(path), str(count)], check=True)


def endpoint(home):
    (sock,) = (home.path / "run" / "rengafs").glob("service-*.sock")
    token = (home.path / ".local" / "share" / "rengafs" / "embedded.token").read_text().strip()
    return Endpoint(f"unix:{sock}", token)


class Fresh:
    """Names that were not used before."""

    def __init__(self, directory):
        self.directory = directory

    def __call__(self):
        return self.directory / uuid.uuid4().hex


def rows(scratch, quick):
    home = Home(scratch / "home")
    local = Fresh(scratch / "local")
    local.directory.mkdir()
    size, count, rounds = (128, 200, 3) if quick else (1024, 1000, 3)
    try:
        with home.mounted() as path:
            (path / "data").mkdir()
            yield from _to_the_service(home, Fresh(path / "data"), local, size, count, rounds)
        with home.mounted("behind", "--write-back") as path:
            there = Fresh(path / "data")
            row = compare(
                f"{count} files of 4 KiB, --write-back",
                "files/s",
                "ext4, fsync each",
                0.2,
                lambda: small(there(), count, synced=False),
                lambda: small(local(), count, synced=True),
                rounds=rounds,
            )
            if statistics.median(row.theirs) < A_SECOND:
                row.note = f"{A_SECOND:,.0f} a second are not asked: ext4 does not reach them"
            yield row
            if not row.note:
                limits = [A_SECOND] * len(row.ours)
                yield Row(row.work, "files/s", "a fixed rate", 1, row.ours, limits)
            sync(path)
        yield _through_a_link(home, 200 if quick else 2000)
        yield from _moved(home, local, size)
    finally:
        home.kill_all()


def _through_a_link(home, count):
    with running_service(listen="127.0.0.1:0") as service, delayed(service.address, 0.02) as link:
        (home.path / "token").write_text(service.token)
        options = ["--endpoint", link.address, "--token-file", str(home.path / "token")]
        with home.mounted("far", "--write-back", *options) as path:
            (path / "data").mkdir()
            fresh = Fresh(path / "data")

            def committed():
                with timed() as watch:
                    small(fresh(), count, synced=False)
                    sync(path)
                return watch.seconds

            return compare(
                f"{count} files of 4 KiB through 20 ms, --write-back, all committed",
                "s",
                "10 s for 2,000",
                1,
                committed,
                lambda: 10.0 * count / 2000,
                rounds=2,
            )


def _to_the_service(home, there, local, size, count, rounds):
    def discarded(path, synced):
        seconds = large(path, size, synced=synced)
        path.unlink()
        return seconds

    source = local()
    large(source, size, synced=True)
    yield compare(
        f"cp of {size} MiB, close acknowledged",
        "MiB/s",
        "cp to ext4 and fsync",
        0.5,
        lambda: size / copied(source, there(), synced=False),
        lambda: size / copied(source, local(), synced=True),
        rounds=5,
        memory=2 * size * MIB,
    )
    source.unlink()
    yield compare(
        f"write {size} MiB by write(2), close acknowledged",
        "MiB/s",
        "the same on ext4, and fsync",
        0.5,
        lambda: size / discarded(there(), False),
        lambda: size / discarded(local(), True),
        rounds=rounds,
        memory=2 * size * MIB,
    )
    big = there()
    first = large(big, size, synced=False)
    yield compare(
        f"change one byte of {size} MiB, close acknowledged",
        "s",
        "the first write of it",
        1 / 20,
        lambda: a_byte(big, size * MIB // 2 + int(time.monotonic() * 1000) % MIB),
        lambda: first,
        rounds=rounds,
    )
    driver = BlockingDriver(endpoint(home))
    try:
        bucket = os.stat(there.directory).st_ino
        yield compare(
            f"{count // 2} files of 4 KiB, close acknowledged",
            "files/s",
            "the same client without a mount",
            0.5,
            lambda: small(there(), count // 2, synced=False),
            lambda: commits(driver, bucket, count // 2),
            rounds=rounds,
        )
    finally:
        driver.close()
    yield from _sqlite(there, local, 500)


def _database(local):
    """Return a new SQLite database of 100 MiB."""
    made = local()
    program = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('create table t (b)')\n"
        "with db: db.executemany('insert into t values (?)',"
        " (('y' * 1000,) for _ in range(100_000)))"
    )
    subprocess.run(["python3", "-c", program, str(made)], check=True)
    return made


def _sqlite(there, local, count):
    made = _database(local)
    (there.directory / "db").mkdir()
    file = there.directory / "db" / "big.sqlite"
    shutil.copyfile(made, file)

    def rate(path):
        with timed() as watch:
            transactions(path, count)
        return count / watch.seconds

    yield compare(
        f"sqlite3, {count} small transactions on 100 MiB",
        "transactions/s",
        "ext4",
        0,
        lambda: rate(file),
        lambda: rate(made),
        rounds=1,
    )


def _moved(home, local, size):
    """What goes over the line between mount and service, either way."""
    with running_service(listen="127.0.0.1:0") as service, delayed(service.address, 0) as link:
        (home.path / "token").write_text(service.token)
        options = ["--endpoint", link.address, "--token-file", str(home.path / "token")]
        with home.mounted("counted", *options) as path:
            (path / "data").mkdir()

            def moved(doing):
                before = link.moved
                doing()
                return (link.moved - before) / MIB

            big = path / "data" / "big"
            large(big, size, synced=False)
            yield compare(
                f"change one byte of {size} MiB: moved",
                "MiB",
                "the most there may be",
                1,
                lambda: moved(lambda: a_byte(big, size * MIB // 2)),
                lambda: 16.0,
                rounds=1,
            )
            file = path / "data" / "big.sqlite"
            shutil.copyfile(_database(local), file)
            yield compare(
                "sqlite3, 500 small transactions on 100 MiB: moved",
                "MiB",
                "the most there may be",
                1,
                lambda: moved(lambda: transactions(file, 500)),
                lambda: 64.0,
                rounds=1,
            )
            yield compare(
                "sqlite3, 500 small transactions on 100 MiB: versions left",
                "versions",
                "one save",
                1,
                lambda: len(saves(file)) - 1.0,
                lambda: 1.0,
                rounds=1,
            )
