"""Reading: warm from the kernel, cold from a service here and far away, small files, names."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
from support.links import delayed
from support.mounts import Home
from support.passthrough import passthrough
from support.services import RunningService, running_service
from support.talking import Talk, talking

from bench.timing import Row, compare, have_memory, timed
from rengafs.client import calls
from rengafs.protocol.operations import Commit, MakeDirectory, MakeFile
from rengafs.protocol.records import ROOT

MIB = 1 << 20
PIECE = MIB
SMALL = 4096


PARTS = ("warm", "cold", "list", "far", "small", "seen")
HERE = frozenset(PARTS[:3])


def rows(scratch: Path, quick: bool, parts: Collection[str] = PARTS) -> Iterator[Row]:
    """Yield the comparisons."""
    size = (128 if quick else 1024) * MIB
    if HERE.intersection(parts):
        with running_service(scratch / "here") as service, talking(service) as talk:
            place = _Place(service, talk, scratch / "here-home")
            if "warm" in parts:
                yield from _warm(place, scratch, size, 2000 if quick else 10_000)
            if "cold" in parts:
                yield _cold_here(place, scratch, size // 2)
            if "list" in parts:
                yield from _listing(place, scratch, 10_000 if quick else 100_000)
    if HERE.issuperset(parts):
        return
    with (
        running_service(scratch / "far", listen="127.0.0.1:0") as service,
        talking(service) as talk,
    ):
        place = _Place(service, talk, scratch / "far-home")
        if "far" in parts:
            yield _cold_far(place, size // 4, "and kept on disk")
            yield _cold_far(place, size // 4, "nothing kept", "--cache-size", "0")
        if "small" in parts:
            yield _small_files(place, 500 if quick else 5000)
        if "seen" in parts:
            yield _propagation(place)


class _Place:
    """A service, and mounts of it."""

    def __init__(self, service: RunningService, talk: Talk, home: Path) -> None:
        self.service = service
        self.talk = talk
        self._homes = home
        self._count = 0
        self.bucket = talk.bucket()
        page = talk.run(calls.entries(ROOT))
        self.name = next(entry.name for entry in page.entries if entry.node.id == self.bucket.id)

    @contextmanager
    def mount(self, address: str = "", *options: str) -> Iterator[Path]:
        """Give the bucket on a mount with nothing cached."""
        self._count += 1
        root = self._homes / str(self._count)
        root.mkdir(parents=True)
        home = Home(root)
        (root / "token").write_text(self.service.token)
        where = ("--endpoint", address or self.service.address)
        with home.mounted("m", *where, "--token-file", str(root / "token"), *options) as path:
            yield path / self.name
        shutil.rmtree(root)

    def file(self, name: str, size: int, seed: bytes) -> None:
        """Save a file of *size* bytes, not through a mount."""
        node = self.talk.do(MakeFile(parent=self.bucket.id, name=name)).node
        commit = Commit(node=node.id, length=size, whole=True, extents=[(0, size)], payload=size)
        flow = calls.commit(commit, lambda: _pieces(size, seed))
        self.talk.driver.run(flow, patience_seconds=600)


def _pieces(size: int, seed: bytes) -> Iterator[bytes]:
    block = (seed * (PIECE // len(seed) + 1))[:PIECE]
    for at in range(0, size, PIECE):
        yield block[: min(PIECE, size - at)]


def _read(path: Path) -> float:
    """Read a file through; return bytes per second, in MB."""
    total = 0
    buffer = bytearray(PIECE)
    with timed() as watch, path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            total += count
    return total / watch.seconds / 1e6


def _drop(path: Path) -> None:
    """Have the kernel forget what it has of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _read_ahead_alike(theirs: Path, ours: Path) -> None:
    """Have the kernel read ahead on one mount as far as on another."""
    with suppress(PermissionError):  # only root may, and then ours is as the kernel has it, too
        _read_ahead(theirs).write_text(_read_ahead(ours).read_text())


def _read_ahead(mounted: Path) -> Path:
    device = os.stat(mounted).st_dev
    return Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")


def _warm(place: _Place, scratch: Path, size: int, count: int) -> Iterator[Row]:
    """Beside ext4, and beside what the kernel gives through FUSE at most."""
    have_memory(3 * size)
    place.file("warm", size, b"warm")
    names = [f"file-{number:06}" for number in range(count)]
    folder = place.talk.do(MakeDirectory(parent=place.bucket.id, name="names")).node
    for start in range(0, count, 1000):
        operations = [MakeFile(parent=folder.id, name=name) for name in names[start : start + 1000]]
        place.talk.driver.run(calls.apply(operations, atomic=True), patience_seconds=600)
    plain = scratch / "warm"
    plain.mkdir()
    with (plain / "warm").open("wb") as file:
        for piece in _pieces(size, b"warm"):
            file.write(piece)
    for name in names:
        (plain / name).touch()
    with (
        place.mount() as ours,
        passthrough(plain, scratch / "shown-warm", keep_cache=True) as shown,
    ):
        _read_ahead_alike(shown, ours)
        for path in (ours, plain, shown):
            _read(path / "warm")
        for path in (ours / "names", plain, shown):
            _stats(path, names, count)
        yield compare(
            f"re-read of {size // MIB} MiB",
            "MB/s",
            "ext4's page cache",
            0.9,
            lambda: _read(ours / "warm"),
            lambda: _read(plain / "warm"),
            peer=("pyfuse3 passthrough", lambda: _read(shown / "warm")),
        )
        yield compare(
            f"warm stat of {count} names",
            "1000/s",
            "ext4",
            0.9,
            lambda: _stats(ours / "names", names),
            lambda: _stats(plain, names),
            peer=("pyfuse3 passthrough", lambda: _stats(shown, names)),
        )
    shutil.rmtree(plain)


def _stats(directory: Path, names: list[str], times: int = 50_000) -> float:
    """Look at one name after another, from within: however deep the directory lies."""
    within = os.open(directory, os.O_PATH)
    try:
        with timed() as watch:
            for name in itertools.islice(itertools.cycle(names), times):
                os.stat(name, dir_fd=within)
    finally:
        os.close(within)
    return times / watch.seconds / 1000


def _cold_here(place: _Place, scratch: Path, size: int) -> Row:
    rounds = 5
    for number in range(rounds):
        place.file(f"cold-{number}", size, b"cold")
    source = scratch / "source"
    source.mkdir()
    with (source / "file").open("wb") as file:
        for piece in _pieces(size, b"cold"):
            file.write(piece)
    with ExitStack() as stack:
        bucket = stack.enter_context(place.mount())
        shown = stack.enter_context(passthrough(source, scratch / "shown"))
        _read_ahead_alike(shown, bucket)
        numbers = iter(range(rounds))

        def theirs() -> float:
            _drop(shown / "file")
            return _read(shown / "file")

        row = compare(
            f"cold sequential read of {size // MIB} MiB, service here",
            "MB/s",
            "pyfuse3 passthrough over ext4",
            0.8,
            lambda: _read(bucket / f"cold-{next(numbers)}"),
            theirs,
            rounds=rounds,
            memory=2 * size,
        )
    shutil.rmtree(source)
    return row


def _cold_far(place: _Place, size: int, how: str, *options: str) -> Row:
    rounds = 5
    files = [f"{how}-{number}" for number in range(2 * rounds)]
    for name in files:
        place.file(name, size, name.encode())
    with place.mount("", *options) as bucket:
        mine, plain = iter(files[:rounds]), iter(files[rounds:])

        def theirs() -> float:
            status = place.talk.run(calls.entry(place.bucket.id, next(plain)))
            return _stream(place, status.node.version)

        return compare(
            f"cold sequential read of {size // MIB} MiB over TCP, {how}",
            "MB/s",
            "one plain httpx stream",
            0.8,
            lambda: _read(bucket / next(mine)),
            theirs,
            rounds=rounds,
            memory=3 * size,
        )


def _stream(place: _Place, version: int) -> float:
    total = 0
    headers = {"authorization": f"Bearer {place.service.token}"}
    url = place.service.address + calls.content(version).path
    with (
        httpx.Client(headers=headers) as client,
        timed() as watch,
        client.stream("GET", url) as response,
    ):
        for piece in response.iter_bytes():
            total += len(piece)
    return total / watch.seconds / 1e6


def _small_files(place: _Place, count: int) -> Row:
    folder = place.talk.do(MakeDirectory(parent=place.bucket.id, name="small")).node
    for start in range(0, count, 500):
        names = [f"f{number:05}" for number in range(start, min(start + 500, count))]
        made = place.talk.run(
            calls.apply([MakeFile(parent=folder.id, name=name) for name in names])
        )
        saves = [
            _save(outcome.node.id, f"{name}.".encode() * (SMALL // 7))
            for outcome, name in zip(made, names, strict=True)
        ]
        place.talk.driver.run(calls.apply(saves), patience_seconds=600)
    with delayed(place.service.address, 0.02) as link:

        def ours() -> float:
            with place.mount(link.address) as bucket, timed() as watch:
                done = subprocess.run(
                    f"tar c -C {bucket} small | wc -c", shell=True, check=True, capture_output=True
                )
                assert int(done.stdout) > count * SMALL
            return count / watch.seconds

        def theirs() -> float:
            page = place.talk.run(calls.entries(folder.id, limit=100))
            headers = {"authorization": f"Bearer {place.service.token}"}
            with httpx.Client(headers=headers, base_url=link.address) as client, timed() as watch:
                for entry in page.entries:
                    client.get(calls.content(entry.node.version).path).raise_for_status()
            return len(page.entries) / watch.seconds

        return compare(
            f"cold tar of {count} files of 4 KiB, 20 ms away",
            "files/s",
            "one request a file",
            20,
            ours,
            theirs,
            rounds=3,
        )


def _save(node: int, data: bytes) -> tuple[Commit, bytes]:
    size = len(data)
    return Commit(node=node, length=size, extents=[(0, size)], payload=size), data


def _listing(place: _Place, scratch: Path, count: int) -> Iterator[Row]:
    folder = place.talk.do(MakeDirectory(parent=place.bucket.id, name="many")).node
    for start in range(0, count, 1000):
        operations = [
            MakeFile(parent=folder.id, name=f"file-{number:06}")
            for number in range(start, min(start + 1000, count))
        ]
        place.talk.driver.run(calls.apply(operations, atomic=True), patience_seconds=600)
    plain = scratch / "many"
    plain.mkdir()
    for number in range(count):
        (plain / f"file-{number:06}").touch()

    def cold() -> float:
        with place.mount() as bucket:
            return _list(bucket / "many", count)

    yield compare(
        f"cold ls -l of {count} entries",
        "s",
        "the service's own listing",
        1.5,
        cold,
        lambda: _pages(place, folder.id, count),
        rounds=3,
    )
    with place.mount() as bucket:
        _list(bucket / "many", count)
        _list(plain, count)
        yield compare(
            f"warm ls -l of {count} entries",
            "1000/s",
            "ext4",
            0.5,
            lambda: count / _list(bucket / "many", count) / 1000,
            lambda: count / _list(plain, count) / 1000,
        )
    shutil.rmtree(plain)


def _list(path: Path, count: int) -> float:
    with timed() as watch:
        done = subprocess.run(["ls", "-l", str(path)], check=True, capture_output=True)
    assert done.stdout.count(b"\n") == count + 1
    return watch.seconds


def _pages(place: _Place, folder: int, count: int) -> float:
    seen, after = 0, ""
    with timed() as watch:
        while True:
            page = place.talk.run(calls.entries(folder, after=after))
            seen += len(page.entries)
            after = page.next
            if not after:
                break
    assert seen == count
    return watch.seconds


def _propagation(place: _Place) -> Row:
    """Seconds from a save's answer to its first sight on another mount, which polls by open."""
    place.file("seen", 8, b"00000000")
    with place.mount() as here, place.mount() as there:
        assert (there / "seen").read_bytes() == b"00000000"

        def ours() -> float:
            text = os.urandom(8)
            (here / "seen").write_bytes(text)
            with timed() as watch:
                while (there / "seen").read_bytes() != text:
                    pass
            return watch.seconds

        return compare(
            "a save is seen by another mount",
            "s",
            "the promise",
            1.0,
            ours,
            lambda: 0.2,
            rounds=20,
        )
