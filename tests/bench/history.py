"""History: many versions, and the past of a large directory beside its present."""

import random
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.catalogs import open_desk
from support.mounts import Home
from support.services import RunningService, running_service
from support.talking import Talk, talking

from bench.timing import Row, compare, timed
from rengafs.catalog.values import Actor
from rengafs.client import calls
from rengafs.protocol.operations import Commit, MakeFile, PutLabel, Restore, Unlink
from rengafs.protocol.records import ROOT, Node

AT_ONCE = 250
OPENED = 100


def rows(scratch: Path, quick: bool) -> Iterator[Row]:
    """Yield the comparisons."""
    files, saves = (2000, 10) if quick else (10_000, 10)
    versions = 1000 if quick else 10_000
    data = scratch / "data"
    with running_service(data) as service:
        token = service.token
    _fill(data, token, files, saves)
    with running_service(data, token=token) as service, talking(service) as talk:
        place = _Place(service, scratch / "homes")
        yield _as_of(place, files, saves)
        yield _restore(talk, files)
        bucket = talk.bucket()
        _save_often(talk, talk.file(bucket, "f"), versions)
        name = talk.run(calls.entries(ROOT)).entries
        shown = next(entry.name for entry in name if entry.node.id == bucket.id)
        yield _list_versions(place, shown, versions)
        yield _open_versions(place, shown, versions)


class _Place:
    """A service, and fresh mounts of it."""

    def __init__(self, service: RunningService, homes: Path) -> None:
        self._service = service
        self._homes = homes
        self._count = 0

    @contextmanager
    def mount(self) -> Iterator[Path]:
        self._count += 1
        root = self._homes / str(self._count)
        root.mkdir(parents=True)
        (root / "token").write_text(self._service.token)
        where = ("--endpoint", self._service.address, "--token-file", str(root / "token"))
        with Home(root).mounted("m", *where) as path:
            yield path

    def seconds_of(self, *command: str) -> float:
        """Return how long a command takes in a mount that has seen nothing yet."""
        with self.mount() as path, timed() as watch:
            subprocess.run(command, cwd=path, check=True, stdout=subprocess.DEVNULL)
        return watch.seconds


def _fill(data: Path, token: str, files: int, saves: int) -> None:
    """Write a catalog of a directory with many files, each saved often; no bytes lie anywhere."""
    with open_desk(data) as desk:
        # After the service's own beginning; never in the future of its clock.
        desk.clock.now_ns = time.time_ns() - 10**12
        holder = desk.catalog.holder(token)
        desk.actor = Actor(holder.user, holder.name)
        bucket = desk.bucket("large")
        directory = desk.directory(bucket, "d")
        made: list[Node] = []
        for first in range(0, files, AT_ONCE):
            wanted = [
                MakeFile(parent=directory.id, name=f"file-{first + number:05}")
                for number in range(AT_ONCE)
            ]
            made += [outcome.node for outcome in desk.apply(*wanted, atomic=True) if outcome.node]
        for save in range(saves):
            for first in range(0, files, AT_ONCE):
                several = [
                    desk.staged(node, f"{save} of {node.id}")
                    for node in made[first : first + AT_ONCE]
                ]
                desk.apply(*several, atomic=True)
            if save == saves // 2:
                desk.do(PutLabel(bucket=bucket.id, name="half-way"))


def _as_of(place: _Place, files: int, saves: int) -> Row:
    return compare(
        f"ls -l of {files} files as of a label ({saves} saves each)",
        "s",
        "the same, live",
        2.0,
        lambda: place.seconds_of("ls", "-l", "large/d/.versions/@half-way"),
        lambda: place.seconds_of("ls", "-l", "large/d"),
        rounds=3,
    )


def _restore(talk: Talk, files: int) -> Row:
    directory = talk.run(calls.path("large/d")).node
    names = [f"file-{number:05}" for number in range(files)]

    def restore() -> float:
        at = talk.run(calls.service()).change
        for first in range(0, files, AT_ONCE):
            several = names[first : first + AT_ONCE]
            talk.run(calls.apply([Unlink(parent=directory.id, name=name) for name in several]))
        with timed() as watch:
            outcome = talk.do(Restore(path="large/d", at=at))
        assert outcome.restored == files
        return watch.seconds

    return compare(
        f"restore of {files} deleted files, one change",
        "s",
        "10 s: what other writers may wait",
        1.0,
        restore,
        lambda: 10.0,
        rounds=2,
    )


def _save_often(talk: Talk, file: Node, versions: int) -> None:
    for first in range(0, versions, AT_ONCE):
        several = []
        for number in range(first, min(first + AT_ONCE, versions)):
            data = b"save %d\n" % number
            extents = [(0, len(data))]
            commit = Commit(node=file.id, length=len(data), extents=extents, payload=len(data))
            several.append((commit, data))
        for outcome in talk.run(calls.apply(several)):
            calls.good(outcome)


def _list_versions(place: _Place, bucket: str, versions: int) -> Row:
    return compare(
        f"ls .versions/f of {versions} versions",
        "s",
        "1 s",
        1.0,
        lambda: place.seconds_of("ls", f"{bucket}/.versions/f"),
        lambda: 1.0,
        rounds=3,
    )


def _open_versions(place: _Place, bucket: str, versions: int) -> Row:
    chosen = random.Random(8)

    def opened(pick: range | list[int]) -> float:
        """Return the median time of opening and reading a version, in ms."""
        taken = []
        with place.mount() as path:
            saves = sorted((path / bucket / ".versions" / "f").iterdir())
            for index in pick:
                with timed() as watch:
                    data = saves[index].read_bytes()
                assert data == b"save %d\n" % index
                taken.append(1000 * watch.seconds)
        return statistics.median(taken)

    return compare(
        f"open and read any of {versions} versions",
        "ms",
        f"of the first {OPENED}",
        1.25,
        lambda: opened(chosen.sample(range(versions), OPENED)),
        lambda: opened(range(OPENED)),
        rounds=3,
    )
