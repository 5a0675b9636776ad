"""Who is measured: how each is mounted over Swift, and how all it has cached is taken from it.

A contender begins *sessions*: one mount of one container (bucket), empty at first. All speak to
the same Swift; ``far`` puts the same link between each mount and what it speaks to. For
rengafs that is its service, which stands beside Swift, as the peers' Swift does.
"""

import os
import shutil
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from support.mounts import is_mounted

from bench.peers.processes import descendants, end
from bench.peers.store import Access, Listing, Store

READY_SECONDS = 60
PUT_AT_ONCE = 8


class Failed(Exception):
    """A contender did not do what it should."""


class Session(ABC):
    """One mount of a new container."""

    def __init__(self, scratch: Path, store: Store, container: str = "") -> None:
        self.container = container or f"c{uuid.uuid4().hex[:16]}"
        self.scratch = scratch / uuid.uuid4().hex[:8]
        self.scratch.mkdir(parents=True)
        self.mountpoint = self.scratch / "m"
        self.mountpoint.mkdir()
        self._store = store

    @property
    def root(self) -> Path:
        """The container as a directory."""
        return self.mountpoint

    @abstractmethod
    def mount(self) -> None:
        """Mount, with whatever is cached; return when it is ready."""

    @abstractmethod
    def unmount(self) -> None:
        """Unmount; what is cached stays."""

    @abstractmethod
    def pids(self) -> list[int]:
        """All processes of the contender, those of a service of its own as well."""

    @abstractmethod
    def mount_pids(self) -> list[int]:
        """Those that run where the mount is."""

    @abstractmethod
    def beside(self) -> "Session":
        """Return another mount's session, not mounted yet, of the same container."""

    def listing(self) -> Listing:
        """Return what the store has of it, where that is a container as another tool sees it."""
        return {}

    def settled(self, expected: Callable[[Listing], bool]) -> float:
        """Wait until the store has all; return the moment at which it had."""
        return self._store.still(self.container, expected, lambda: 0)

    def populate(self, folder: str, count: int) -> None:
        """Have so many files of one byte in a folder, by whatever way is fastest."""
        for name in population(count):
            (self.root / folder / name).write_bytes(b"x")

    def forget(self) -> None:
        """Take all that is cached: here, by the kernel, and in the page cache beneath Swift."""
        self.unmount()
        shutil.rmtree(self.scratch / "cache", ignore_errors=True)
        drop_caches()
        self.mount()

    def kill(self) -> None:
        """End everything; file calls that wait for it fail."""
        end(self.mount_pids(), 2)
        self._detach()

    def close(self) -> None:
        """Unmount, and remove what is left here."""
        try:
            self.unmount()
        except (OSError, Failed, subprocess.SubprocessError):
            self.kill()
        finally:
            self._detach()
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _detach(self) -> None:
        if is_mounted(self.mountpoint):
            subprocess.run(["fusermount3", "-uz", str(self.mountpoint)], check=False)

    def _wait_mounted(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_mounted(self.mountpoint):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"it does not mount: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.02)


def population(count: int) -> list[str]:
    """Return the names of many files."""
    return [f"file-{number:06}" for number in range(count)]


class Contender(ABC):
    """Something that mounts a container."""

    name: str
    options: str
    """As they are told in the report."""
    promise: str
    """What has happened when close returns."""
    acknowledges = True
    """Whether the store has the bytes by then."""

    @abstractmethod
    @contextmanager
    def session(self, scratch: Path, store: Store, access: Access) -> Iterator[Session]:
        """Give a mounted session that comes to Swift by *access*."""


def drop_caches() -> None:
    """Have the kernel forget file contents, entries and inodes."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except PermissionError:
        raise Failed("caches can't be dropped; run the benchmark as root") from None


@contextmanager
def opened(session: Session) -> Iterator[Session]:
    """Mount a session, and close it at the end."""
    try:
        session.mount()
        yield session
    finally:
        session.close()


# --- the peers ------------------------------------------------------------------------------


class _Process:
    """The process of a mount, and the end of it."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def pids(self) -> list[int]:
        return descendants(self.process.pid) if self.process.poll() is None else []

    def wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class _PeerSession(Session):
    """A mount by one process that stays in the foreground."""

    def __init__(self, scratch: Path, store: Store, access: Access, container: str = "") -> None:
        super().__init__(scratch, store, container)
        self.access = access
        self.running: _Process | None = None
        if not container:
            store.make(self.container)

    def listing(self) -> Listing:
        return self._store.listing(self.container)

    def populate(self, folder: str, count: int) -> None:
        names = [f"{folder}/{name}" for name in population(count)]
        with ThreadPoolExecutor(PUT_AT_ONCE) as pool:
            for _ in pool.map(lambda name: self._store.put(self.container, name, b"x"), names):
                pass

    @abstractmethod
    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return the command and what is added to its environment."""

    def mount(self) -> None:
        (self.scratch / "cache").mkdir(exist_ok=True)
        command, environment = self.command()
        self.running = _Process(command, self.scratch / "log", environment)
        self._wait_mounted(self.running.process, self.running.log)

    def unmount(self) -> None:
        if self.running is None:
            return
        if is_mounted(self.mountpoint):
            subprocess.run(["fusermount3", "-u", str(self.mountpoint)], check=True, timeout=60)
        self.running.wait(30)
        self.running = None

    def pids(self) -> list[int]:
        return self.running.pids() if self.running is not None else []

    mount_pids = pids


class _RcloneSession(_PeerSession):
    rclone = ""
    options: tuple[str, ...] = ()

    def beside(self) -> Session:
        other = _RcloneSession(self.scratch.parent, self._store, self.access, self.container)
        other.rclone, other.options = self.rclone, self.options
        return other

    def command(self) -> tuple[list[str], dict[str, str]]:
        config = self.scratch / "rclone.conf"
        config.write_text(
            f"[swift]\ntype = swift\nuser = {self.access.user}\nkey = {self.access.key}\n"
            f"auth = {self.access.auth_url}\n"
        )
        command = [self.rclone, "mount", f"swift:{self.container}", str(self.mountpoint)]
        command += ["--config", str(config), "--cache-dir", str(self.scratch / "cache")]
        command += ["--rc", "--rc-no-auth", "--rc-addr", f"unix://{self.scratch / 'rc'}"]
        return [*command, *self.options], {}

    def settled(self, expected: Callable[[Listing], bool]) -> float:
        return self._store.still(self.container, expected, self._waiting)

    def _waiting(self) -> int:
        import httpx

        transport = httpx.HTTPTransport(uds=str(self.scratch / "rc"))
        with httpx.Client(transport=transport, base_url="http://rc", timeout=30) as client:
            told = client.post("/vfs/stats").json().get("diskCache", {})
        return told.get("uploadsInProgress", 0) + told.get("uploadsQueued", 0)


class Rclone(Contender):
    """rclone mount over Swift's own API, in full cache mode."""

    name = "rclone"
    promise = "it is in rclone's cache here; the upload comes later"
    acknowledges = False
    mount_options = ("--vfs-cache-mode", "full", "--vfs-write-back", "100ms")
    options = (
        "rclone mount swift:CONTAINER --vfs-cache-mode full --vfs-write-back 100ms "
        "(instead of 5 s: to its advantage where the store's answer counts)"
    )

    def __init__(self, program: str) -> None:
        self.program = program

    @contextmanager
    def session(self, scratch: Path, store: Store, access: Access) -> Iterator[Session]:
        session = _RcloneSession(scratch, store, access)
        session.rclone, session.options = self.program, self.mount_options
        with opened(session):
            yield session


class _S3fsSession(_PeerSession):
    s3fs = ""

    def beside(self) -> Session:
        other = _S3fsSession(self.scratch.parent, self._store, self.access, self.container)
        other.s3fs = self.s3fs
        return other

    def command(self) -> tuple[list[str], dict[str, str]]:
        options = f"url={self.access.address},use_path_request_style"
        options += f",use_cache={self.scratch / 'cache'}"
        command = [self.s3fs, self.container, str(self.mountpoint), "-f", "-o", options]
        keys = {"AWSACCESSKEYID": self.access.user, "AWSSECRETACCESSKEY": self.access.key}
        return command, keys


class S3fs(Contender):
    """s3fs over Swift's S3 API, with its cache."""

    name = "s3fs"
    promise = "the store has it"
    options = "s3fs CONTAINER -o use_path_request_style,use_cache=DIR"

    def __init__(self, program: str) -> None:
        self.program = program

    @contextmanager
    def session(self, scratch: Path, store: Store, access: Access) -> Iterator[Session]:
        session = _S3fsSession(scratch, store, access)
        session.s3fs = self.program
        with opened(session):
            yield session


# --- a limit that is a directory too ----------------------------------------------------------


class _PlainSession(Session):
    def mount(self) -> None:
        return

    unmount = mount

    def pids(self) -> list[int]:
        return []

    mount_pids = pids

    def beside(self) -> Session:
        raise Failed("a directory is mounted nowhere else")

    def settled(self, expected: Callable[[Listing], bool]) -> float:
        os.sync()
        return time.perf_counter()


class Disk(Contender):
    """A directory of this machine's disk: what no mount is to beat."""

    name = "disk"
    promise = "it is in the page cache"
    acknowledges = False
    options = "the file system beneath everything else here"

    @contextmanager
    def session(self, scratch: Path, store: Store, access: Access) -> Iterator[Session]:
        session = _PlainSession(scratch, store)
        with opened(session):
            yield session
