"""The work, once for all: each function does it in the directory that a session gives it.

Bytes are random, so nothing gains by compressing or by finding them twice. What is read cold is
compared afterwards: a fast wrong answer is a failure.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.peers.contenders import Session
from bench.peers.processes import cpu_seconds, resident_mib
from bench.peers.store import Listing
from bench.peers.trials import Trial

MIB = 1 << 20
SMALL = 4096
PIECE = MIB
SEED = 20261123
NOBODYS_GIT = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    big: int
    """MiB of the big file."""
    files: int
    tree: int
    """Files of the git repository and the tar archive."""
    reads: int
    """Random ones."""
    inodes: int
    seen_seconds: float
    """When a change elsewhere is given up."""
    seen_rounds: int


Work = Callable[[Trial, Sizes, Path], None]


def big(trial: Trial, sizes: Sizes, scratch: Path) -> None:
    """One big file: written, read, changed."""
    data = noise(sizes.big)
    session = trial.session
    gib = sizes.big / 1024
    path = session.root / "big"

    def write() -> None:
        pids, used = session.pids(), cpu_seconds(session.pids())
        with _Peak(session) as peak:
            begun = time.perf_counter()
            _write(path, data)
            closed = time.perf_counter()
            stored = session.settled(_has("big"))
        trial.record("write", sizes.big / (closed - begun))
        trial.record("write-stored", sizes.big / (stored - begun))
        if pids:
            trial.record("cpu-write", (cpu_seconds(pids) - used) / gib)
            trial.record("memory-load", peak.mib)

    def write_synced() -> None:
        begun = time.perf_counter()
        _write(session.root / "synced", data, sync=True)
        stored = session.settled(_has("synced"))
        trial.record("write-fsync", sizes.big / (stored - begun))
        os.unlink(session.root / "synced")

    def byte() -> None:
        before = session.listing().get("big")
        begun = time.perf_counter()
        with path.open("r+b", buffering=0) as file:
            file.seek(len(data) // 2)
            file.write(bytes([data[len(data) // 2] ^ 255]))
        closed = time.perf_counter()
        stored = session.settled(lambda listing: listing.get("big") != before)
        trial.record("byte", closed - begun)
        trial.record("byte-stored", stored - begun)
        with path.open("r+b", buffering=0) as file:
            file.seek(len(data) // 2)
            file.write(data[len(data) // 2 : len(data) // 2 + 1])
        session.settled(lambda _: True)

    def read() -> None:
        session.forget()
        pids, used = session.pids(), cpu_seconds(session.pids())
        seconds, found = _read(path, len(data))
        if pids:
            trial.record("cpu-read", (cpu_seconds(pids) - used) / gib)
        assert found == data, "it reads other bytes than were written"
        trial.record("read-cold", sizes.big / seconds)
        trial.record("read-warm", sizes.big / _read(path, len(data))[0])

    def at_random() -> None:
        session.forget()
        places = random.Random(SEED + 1)
        with path.open("rb", buffering=0) as file:
            begun = time.perf_counter()
            for _ in range(sizes.reads):
                at = places.randrange(len(data) // SMALL) * SMALL
                assert os.pread(file.fileno(), SMALL, at) == data[at : at + SMALL]
            trial.record("random-cold", sizes.reads / (time.perf_counter() - begun))

    def first_byte() -> None:
        session.forget()
        begun = time.perf_counter()
        with path.open("rb", buffering=0) as file:
            file.read(1)
            trial.record("first-byte", time.perf_counter() - begun)

    trial.attempt(write, "write", "write-stored")
    trial.attempt(write_synced, "write-fsync")
    trial.attempt(byte, "byte", "byte-stored")
    trial.attempt(read, "read-cold", "read-warm")
    trial.attempt(at_random, "random-cold")
    trial.attempt(first_byte, "first-byte")


def small(trial: Trial, sizes: Sizes, scratch: Path) -> None:
    """Many small files: made, listed, read, renamed, removed."""
    session = trial.session
    source = random.Random(SEED)
    files = {f"file-{number:05}": source.randbytes(SMALL) for number in range(sizes.files)}
    folder = session.root / "small"

    def create() -> None:
        folder.mkdir()
        begun = time.perf_counter()
        for name, data in files.items():
            _write(folder / name, data)
        closed = time.perf_counter()
        stored = session.settled(_has("small/file-", len(files)))
        trial.record("create", sizes.files / (closed - begun))
        trial.record("create-stored", sizes.files / (stored - begun))

    def ls() -> None:
        session.forget()
        begun = time.perf_counter()
        done = subprocess.run(["ls", "-l", str(folder)], check=True, capture_output=True)
        seconds = time.perf_counter() - begun
        assert done.stdout.count(f" {SMALL} ".encode()) == sizes.files, "ls tells other lengths"
        trial.record("ls-cold", sizes.files / seconds)

    def read() -> None:
        session.forget()
        for row in ("read-files-cold", "read-files-warm"):
            begun = time.perf_counter()
            found = {name: (folder / name).read_bytes() for name in files}
            trial.record(row, sizes.files / (time.perf_counter() - begun))
            assert found == files, "it reads other bytes than were written"

    def stat() -> None:
        names = [str(folder / name) for name in files]
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < 0.5:
            for name in names:
                os.stat(name)
            count += len(names)
        trial.record("stat-warm", count / (time.perf_counter() - begun))

    trial.attempt(create, "create", "create-stored")
    trial.attempt(ls, "ls-cold")
    trial.attempt(read, "read-files-cold", "read-files-warm")
    trial.attempt(stat, "stat-warm")
    _move_and_remove(trial, sizes, folder)


def _move_and_remove(trial: Trial, sizes: Sizes, folder: Path) -> None:
    session, moved = trial.session, folder.with_name("moved")

    def rename() -> None:
        begun = time.perf_counter()
        folder.rename(moved)
        stored = session.settled(_has("moved/file-", sizes.files, gone="small/file-"))
        trial.record("rename", stored - begun)

    def remove() -> None:
        where = moved if moved.exists() else folder
        begun = time.perf_counter()
        subprocess.run(["rm", "-r", str(where)], check=True, capture_output=True)
        stored = session.settled(_has(f"{where.name}/file-", 0))
        trial.record("remove", sizes.files / (stored - begun))

    trial.attempt(rename, "rename")
    trial.attempt(remove, "remove")


def tree(trial: Trial, sizes: Sizes, scratch: Path) -> None:
    """What people do all day: git, tar, grep."""
    session = trial.session
    origin, archive = _origin(scratch, sizes.tree)

    def clone() -> None:
        begun = time.perf_counter()
        _git("clone", "-q", "--no-local", str(origin), str(session.root / "clone"))
        trial.record("clone", time.perf_counter() - begun)
        session.settled(lambda _: True)

    def status() -> None:
        session.forget()
        begun = time.perf_counter()
        told = _git("-C", str(session.root / "clone"), "status", "--porcelain")
        trial.record("status", time.perf_counter() - begun)
        assert told == "", f"git status tells of changes: {told[:200]}"

    def untar() -> None:
        begun = time.perf_counter()
        subprocess.run(
            ["tar", "xf", str(archive), "-C", str(session.root)], check=True, capture_output=True
        )
        trial.record("untar", time.perf_counter() - begun)
        session.settled(lambda _: True)

    def grep() -> None:
        session.forget()
        for row in ("grep-cold", "grep-warm"):
            begun = time.perf_counter()
            done = subprocess.run(
                ["grep", "-rl", "the needle", str(session.root / "tree")],
                check=True,
                capture_output=True,
            )
            trial.record(row, time.perf_counter() - begun)
            assert done.stdout.count(b"\n") == 1, "grep finds another number of files"

    trial.attempt(clone, "clone")
    trial.attempt(status, "status")
    trial.attempt(untar, "untar")
    trial.attempt(grep, "grep-cold", "grep-warm")


def elsewhere(trial: Trial, sizes: Sizes, scratch: Path) -> None:
    """A save on one mount, until an open on another reads it."""
    other = trial.session.beside()

    def seen() -> None:
        here, there = trial.session.root / "seen", other.root / "seen"
        here.write_bytes(b"00000000")
        trial.session.settled(_has("seen"))
        other.mount()
        assert there.read_bytes() == b"00000000"
        for number in range(1, sizes.seen_rounds + 1):
            text = f"{number:08}".encode()
            here.write_bytes(text)
            begun = time.perf_counter()
            while there.read_bytes() != text:
                if time.perf_counter() - begun > sizes.seen_seconds:
                    trial.gave_up("seen", sizes.seen_seconds)
                    return
                time.sleep(0.001)
            trial.record("seen", time.perf_counter() - begun)

    try:
        trial.attempt(seen, "seen", seconds=sizes.seen_seconds + 120)
    finally:
        other.close()


def memory(trial: Trial, sizes: Sizes, scratch: Path) -> None:
    """What the mount's processes hold."""
    session = trial.session
    trial.attempt(
        lambda: trial.record("memory-idle", resident_mib(session.mount_pids())), "memory-idle"
    )

    def inodes() -> None:
        folder = session.root / "many"
        folder.mkdir()
        session.populate(folder.name, sizes.inodes)
        session.forget()
        done = subprocess.run(["ls", "-l", str(folder)], check=True, capture_output=True)
        assert done.stdout.count(b"\n") == sizes.inodes + 1
        trial.record("memory-inodes", resident_mib(session.mount_pids()))

    trial.attempt(inodes, "memory-inodes", seconds=900)


WORKS: dict[str, Work] = {
    "big": big,
    "small": small,
    "tree": tree,
    "elsewhere": elsewhere,
    "memory": memory,
}


def noise(mib: int) -> bytes:
    """The same random bytes each time."""
    source = random.Random(SEED)
    return b"".join(source.randbytes(MIB) for _ in range(mib))


# --- parts of it ----------------------------------------------------------------------------


def _write(path: Path, data: bytes, *, sync: bool = False) -> None:
    view = memoryview(data)
    with path.open("wb", buffering=0) as file:
        for at in range(0, len(data), PIECE):
            assert file.write(view[at : at + PIECE]) == min(PIECE, len(data) - at)
        if sync:
            os.fsync(file.fileno())


def _read(path: Path, size: int) -> tuple[float, bytearray]:
    """Return how long it took, and what it was."""
    found = bytearray(size + 1)
    view = memoryview(found)
    at = 0
    begun = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(view[at : at + PIECE]):
            at += count
    seconds = time.perf_counter() - begun
    view.release()
    del found[at:]
    return seconds, found


def _has(prefix: str, count: int = 1, *, gone: str = "") -> Callable[[Listing], bool]:
    """Whether a store lists *count* names with a prefix, and none with another."""

    def expected(listing: Listing) -> bool:
        if gone and any(name.startswith(gone) for name in listing):
            return False
        return sum(name.startswith(prefix) for name in listing) == count

    return expected


class _Peak:
    """The most memory that a session's mount holds while something is done."""

    mib = 0.0

    def __init__(self, session: Session) -> None:
        self._session = session
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.mib = max(self.mib, resident_mib(self._session.mount_pids()))


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **NOBODYS_GIT},
    )
    return done.stdout


def _origin(scratch: Path, count: int) -> tuple[Path, Path]:
    """Return a repository with some history, and an archive of its files; made once."""
    origin, archive = scratch / "origin", scratch / "tree.tar"
    if archive.exists():
        return origin, archive
    folder = scratch / "tree"
    source = random.Random(SEED)
    words = [f"word{number}" for number in range(2000)]
    _git("init", "-q", str(origin))
    for number in range(count):
        text = "\n".join(" ".join(source.choices(words, k=10)) for _ in range(40))
        if number == count // 2:
            text += "\nthe needle\n"
        name = f"part{number % 10}/file{number}.txt"
        for place in (origin, folder):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        if number % (count // 4) == 0 or number == count - 1:
            _git("-C", str(origin), "add", ".")
            who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
            _git("-C", str(origin), *who, "commit", "-q", "-m", f"up to {number}")
    subprocess.run(["tar", "cf", str(archive), "-C", str(scratch), "tree"], check=True)
    shutil.rmtree(folder)
    return origin, archive
