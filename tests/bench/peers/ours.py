"""rengafs as a contender: a service with a Swift backend, and mounts of it by the real command."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from support.mounts import COMMAND, Home, clean_environment, is_mounted

from bench.peers.contenders import Contender, Failed, Session, opened, population
from bench.peers.processes import descendants, end
from bench.peers.store import Access, Listing, Store
from rengafs.cli.unsent import report_of
from rengafs.client import calls
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.protocol.operations import Commit, MakeFile, Operation

DRAIN_SECONDS = 240
BATCH = 250
TEMPURL_KEY = "a key of the benchmark's own"


class Service:
    """``rengafs serve`` over Swift, in a process of its own."""

    def __init__(self, scratch: Path, access: Access, *, presigned: bool) -> None:
        self.data = scratch / "data"
        self.log = scratch / "serve.log"
        self._scratch = scratch
        self._access = access
        self._presigned = presigned
        secrets = {"BENCH_SWIFT_KEY": access.key, "BENCH_TEMPURL_KEY": TEMPURL_KEY}
        self._environment = {**clean_environment(scratch / "home"), **secrets}

    def __enter__(self) -> "Service":
        backends = self._scratch / "backends.toml"
        backends.write_text(
            'default = "swift"\n\n[backends.swift]\nkind = "swift"\n'
            f'auth = "v1"\nauth_url = "{self._access.auth_url}"\nuser = "{self._access.user}"\n'
            f'key = "env:BENCH_SWIFT_KEY"\ncontainer = "rengafs-{uuid.uuid4().hex[:8]}"\n'
            'tempurl_key = "env:BENCH_TEMPURL_KEY"\n'
        )
        serve = [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--data", str(self.data)]
        serve += ["--backends", str(backends), *(["--presigned"] if self._presigned else [])]
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                serve,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        line = self.process.stdout.readline()
        if "serving at " not in line:
            self.__exit__()
            raise Failed(f"rengafs serve: {line}{self.log.read_text()[-1000:]}")
        self.address = line.rpartition(" ")[2].strip()
        token = [*COMMAND, "token", "create", "bench", "--everywhere", "--data", str(self.data)]
        done = subprocess.run(
            token, env=self._environment, check=True, capture_output=True, text=True
        )
        self.token = done.stdout.strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process.stdout.close()

    def pids(self) -> list[int]:
        return descendants(self.process.pid)


class _RengafsSession(Session):
    def __init__(
        self, scratch: Path, store: Store, service: Service, address: str, options: tuple[str, ...]
    ) -> None:
        super().__init__(scratch, store)
        self._service = service
        self._address = address
        self._options = options
        self._home = Home(self.scratch)
        token = self.scratch / "token"
        token.write_text(service.token)
        token.chmod(0o600)
        self.bucket = "work"

    @property
    def root(self) -> Path:
        return self.mountpoint / self.bucket

    def mount(self) -> None:
        cache = self.scratch / "cache"
        where = ["--endpoint", self._address, "--token-file", str(self.scratch / "token")]
        self._run("mount", *where, "--cache-dir", str(cache), *self._options, str(self.mountpoint))
        self.root.mkdir(exist_ok=True)

    def populate(self, folder: str, count: int) -> None:
        with closing(BlockingDriver(Endpoint(self._address, self._service.token))) as driver:
            directory = driver.run(calls.path(f"{self.bucket}/{folder}")).node.id
            everything = population(count)
            for start in range(0, count, BATCH):
                names = everything[start : start + BATCH]
                first = driver.run(calls.reserve(len(names))).first
                operations: list[Operation | tuple[Commit, bytes]] = []
                for node, name in enumerate(names, first):
                    operations.append(MakeFile(id=node, parent=directory, name=name))
                    commit = Commit(node=node, length=1, extents=[(0, 1)], payload=1)
                    operations.append((commit, b"x"))
                for outcome in driver.run(calls.apply(operations)):
                    calls.good(outcome)

    def unmount(self) -> None:
        if is_mounted(self.mountpoint):
            self._run("umount", str(self.mountpoint))

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self._home.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if done.returncode:
            raise Failed(f"rengafs {arguments[0]}: {done.stdout}{done.stderr}"[-1000:])

    def pids(self) -> list[int]:
        return [*self.mount_pids(), *self._service.pids()]

    def mount_pids(self) -> list[int]:
        return self._home.processes()

    def kill(self) -> None:
        end(self.mount_pids(), 2)
        self._detach()

    def beside(self) -> Session:
        return _RengafsSession(
            self.scratch.parent, self._store, self._service, self._address, self._options
        )

    def settled(self, expected: Callable[[Listing], bool]) -> float:
        """Wait until the service has all; that is when close returned, unless told otherwise."""
        if "--write-back" in self._options:
            deadline = time.monotonic() + DRAIN_SECONDS
            while _waits(self.mountpoint):
                if time.monotonic() > deadline:
                    raise Failed(f"what was written is not sent after {DRAIN_SECONDS} s")
                time.sleep(0.01)
        return time.perf_counter()


def _waits(mountpoint: Path) -> bool:
    """Whether a mount has something to send yet."""
    report = report_of(str(mountpoint))
    if report is None:
        raise Failed("the mount does not say what it has to send")
    if report.failed:
        raise Failed(f"it could not send {report.failed[0].name}: {report.failed[0].state}")
    return bool(report.files or report.unsent)


class Rengafs(Contender):
    """This project."""

    name = "rengafs"
    promise = "the service has it: bytes and history are durable"
    options = (
        "rengafs serve --backends FILE (Swift; SQLite) --presigned (here, not through the link); "
        "rengafs mount --endpoint http://…"
    )

    def __init__(self, *options: str) -> None:
        self.mount_options = options

    @contextmanager
    def session(self, scratch: Path, store: Store, access: Access) -> Iterator[Session]:
        from bench.peers.links import far

        own = scratch / f"service-{uuid.uuid4().hex[:8]}"
        own.mkdir()
        with ExitStack() as stack:
            # Presigned addresses would lead around the link.
            near = access.address == store.access.address
            store.sign_with(TEMPURL_KEY)
            service = stack.enter_context(Service(own, store.access, presigned=near))
            address = service.address
            if not near:
                address = stack.enter_context(far(address))
            session = _RengafsSession(scratch, store, service, address, self.mount_options)
            yield stack.enter_context(opened(session))


class RengafsWriteBack(Rengafs):
    """The same, with closes that do not wait for the service."""

    name = "rengafs --write-back"
    promise = "it is durable on this machine; it is being sent"
    acknowledges = False
    options = "the same, with --write-back"

    def __init__(self) -> None:
        super().__init__("--write-back")
