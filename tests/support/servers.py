"""What the stores' servers need: free ports, processes that end, answers that are waited for."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import platformdirs

SECONDS = 120
BUILD_SECONDS = 600


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; somebody may before us, so starts are tried again."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def python_with(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of a virtual environment with *packages*.

    It is built by the first who asks, and kept in the user's cache.
    """
    python = f"py{sys.version_info[0]}.{sys.version_info[1]}"
    kept = Path(platformdirs.user_cache_dir("rengafs-tests")) / f"{name}-{python}"
    kept.mkdir(parents=True, exist_ok=True)
    venv, ready = kept / "venv", kept / "ready"
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(venv, ignore_errors=True)
            _build([sys.executable, "-m", "venv", "--without-pip", venv], name)
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
            _build([*pip, venv / "bin" / "python", "install", "-q", *packages], name)
            ready.touch()
    return venv / "bin" / "python"


def _build(command: Sequence[object], name: str) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{name} can't be installed: {done.stdout}{done.stderr}")


class Processes:
    """Servers in process groups of their own, with a log each."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(
        self,
        name: str,
        command: Sequence[object],
        environment: dict[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        with (self._logs / f"{name}.out").open("ab") as log:
            process = subprocess.Popen(
                # They end with the tests, also if these are killed.
                ["setpriv", "--pdeathsig", "TERM", *map(str, command)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self._running.append((name, process))

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + SECONDS
        while not true():
            for name, process in self._running:
                if process.poll() is not None:
                    raise AssertionError(f"{name} ended: {self.told()}")
            if time.monotonic() > until:
                raise AssertionError(f"{what} did not come up: {self.told()}")
            time.sleep(0.05)

    def told(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}"
            for log in sorted(self._logs.iterdir())
            if log.is_file()
        )

    def stop(self) -> None:
        for _, process in reversed(self._running):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for _, process in reversed(self._running):
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(120)
        self._running.clear()


def answers(url: str) -> bool:
    """Whether a server answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status < 400)
    except (urllib.error.URLError, OSError):
        return False
