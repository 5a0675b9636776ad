"""Real kernel mounts by the real command, each with a home of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = [sys.executable, "-m", "rengafs"]
SECONDS = 300


def clean_environment(home: Path) -> dict[str, str]:
    """Return an environment in which rengafs finds nothing of this machine's user."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("XDG_", "RENGA", "RENGAFS"))
    }
    runtime = home / "run"
    runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}


@dataclass
class Home:
    """A user's home: its own data, cache, sockets and mounts."""

    path: Path
    environment: dict[str, str] = field(init=False)
    command: list[str] = field(default_factory=lambda: list(COMMAND))

    def __post_init__(self) -> None:
        self.environment = clean_environment(self.path)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``rengafs`` with *arguments*."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(
                f"rengafs {' '.join(arguments)}: exit {done.returncode}\n"
                f"{done.stdout}{done.stderr}\n{self.logs()}"
            )
        return done

    def logs(self) -> str:
        """Return the last lines of all logs, for a failed test."""
        state = self.path / ".local" / "state"
        return "\n".join(
            f"--- {log.name}\n" + log.read_text(errors="replace")[-4000:]
            for log in sorted(state.rglob("*.log"))
        )

    @contextmanager
    def mounted(self, name: str = "buckets", *options: str) -> Iterator[Path]:
        """Mount on a new directory; unmount at the end, whatever happens."""
        mountpoint = self.path / name
        mountpoint.mkdir(exist_ok=True)
        self.run("mount", *options, str(mountpoint))
        try:
            yield mountpoint
        finally:
            if is_mounted(mountpoint):
                unmounted = self.run("umount", str(mountpoint), check=False)
                if is_mounted(mountpoint):
                    subprocess.run(["fusermount3", "-uz", str(mountpoint)], check=False)
                    raise AssertionError(f"umount failed: {unmounted.stderr}\n{self.logs()}")

    @contextmanager
    def serving(self, *users: str) -> Iterator["Served"]:
        """Run a service for several users, with a token for each."""
        data, socket = self.path / "served", self.path / "run" / "s.sock"
        served = Served(data, f"unix:{socket}", {})
        command = [*COMMAND, "serve", "--listen", served.endpoint, "--data", str(data)]
        with subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, text=True
        ) as service:
            try:
                assert service.stdout is not None
                assert service.stdout.readline()
                for user in users:
                    said = self.run("token", "create", user, "--data", str(data)).stdout
                    served.tokens[user] = self.path / f"{user}.token"
                    served.tokens[user].write_text(said.split()[-1])
                yield served
            finally:
                service.kill()

    def processes(self) -> list[int]:
        """Return the running processes that belong to this home."""
        return [pid for pid, env in _environments() if env.get("HOME") == str(self.path)]

    def kill_all(self) -> None:
        """End what is left of this home, and its mounts."""
        for pid in self.processes():
            with _gone_is_fine():
                os.kill(pid, signal.SIGKILL)
        for mountpoint in _mountpoints():
            if mountpoint.startswith(str(self.path)):
                subprocess.run(["umount", "-l", mountpoint], check=False)


@dataclass
class Served:
    """A service for several users."""

    data: Path
    endpoint: str
    tokens: dict[str, Path]
    """The file of each user's token."""

    def of(self, user: str) -> list[str]:
        """Return the options of ``rengafs mount`` for a user."""
        return ["--endpoint", self.endpoint, "--token-file", str(self.tokens[user])]


def is_mounted(path: Path) -> bool:
    """Whether something is mounted on *path*, dead or alive."""
    return str(path) in _mountpoints()


def _mountpoints() -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def _environments() -> Iterator[tuple[int, Mapping[str, str]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with _gone_is_fine():
                raw = (entry / "environ").read_bytes()
                pairs = (item.partition("=") for item in os.fsdecode(raw).split("\0"))
                yield int(entry.name), {key: value for key, _, value in pairs}


def _gone_is_fine() -> suppress:
    return suppress(ProcessLookupError, FileNotFoundError, PermissionError)
