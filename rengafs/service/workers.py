"""Several processes that serve one socket: started, replaced when they die, ended together.

Each is a fresh interpreter, so nothing is shared but the socket. This module knows nothing
of what they do. A worker tells by its pipe that it serves, or why it can't; and when its
starter is gone, the pipe's end tells it to go too.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType

from rengafs.protocol.errors import RengafsError, SetupError

START_SECONDS = 60.0
END_SECONDS = 15.0
"""A worker ends by itself within 10 s of SIGTERM; after this it is killed."""
YOUNG_SECONDS = 10.0
"""A worker that dies younger than this is replaced only after a pause."""
PAUSES = (1.0, 5.0, 30.0)
"""Seconds before the replacements of workers that die young, one after the other."""

READY = "ready"

Work = Callable[[Callable[[], None]], None]
"""Serves until SIGTERM; calls its argument when it serves. Sent to the new process."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    began: float
    ready: bool = False


class Workers:
    """The processes, as their starter sees them."""

    def __init__(
        self,
        count: int,
        work: Work,
        *,
        environment: Mapping[str, str],
        buried: Callable[[int], None],
    ) -> None:
        """*environment* is added to theirs; *buried* is told the id of each that is gone."""
        self._count = count
        self._work = work
        self._environment = environment
        self._buried = buried
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")
        self._young_deaths = 0
        self._next_start = 0.0
        self._told = False

    def run(self, started: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; call *started* when all serve.

        Raises `SetupError` if one of the first can't begin.
        """
        with _stop_signals() as wakeup:
            try:
                for _ in range(self._count):
                    self._start()
                self._supervise(started, wakeup)
            finally:
                self._end()

    def _supervise(self, started: Callable[[], None], wakeup: socket.socket) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            pipes = {worker.pipe: worker for worker in self._workers}
            for source in wait([*pipes, wakeup], timeout=self._patience(deadline)):
                if source is wakeup:
                    return
                self._hear(pipes[source])  # type: ignore[index]
            if not self._told and all(worker.ready for worker in self._workers):
                self._told = True
                started()
            if not self._told and time.monotonic() > deadline:
                raise SetupError(f"the workers did not begin within {START_SECONDS:g} s")
            if len(self._workers) < self._count and time.monotonic() >= self._next_start:
                self._start()

    def _patience(self, deadline: float) -> float | None:
        now = time.monotonic()
        if not self._told:
            return max(0.0, deadline - now)
        return max(0.0, self._next_start - now) if len(self._workers) < self._count else None

    def _start(self) -> None:
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=_begin, args=(theirs, self._work))
        with _environment(self._environment):
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, mine, time.monotonic()))

    def _hear(self, worker: _Worker) -> None:
        """Take what a worker tells: that it serves, why it can't, or by silence that it died."""
        try:
            told = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if told == READY:
            worker.ready = True
        elif not self._told:
            raise SetupError(told)
        else:
            log.error("a worker can't begin: %s", told)

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(END_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        code, number = worker.process.exitcode, worker.process.pid
        worker.process.close()
        if number is not None:
            self._buried(number)
        if not self._told:
            raise SetupError(f"a worker ended with {code} before it served; see the log")
        now = time.monotonic()
        young = now - worker.began < YOUNG_SECONDS
        self._young_deaths = self._young_deaths + 1 if young else 0
        pause = PAUSES[min(self._young_deaths, len(PAUSES)) - 1] if young else 0.0
        self._next_start = now + pause
        log.warning("the worker %s ended with %s; another begins in %g s", number, code, pause)

    def _end(self) -> None:
        """End all, politely for a bounded time."""
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + END_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                log.warning("the worker %s does not end; it is killed", worker.process.pid)
                worker.process.kill()
                worker.process.join()
            worker.process.close()
            worker.pipe.close()
        self._workers.clear()


def _begin(pipe: Connection, work: Work) -> None:
    """Run in the new process."""
    threading.Thread(target=_follow_starter, args=(pipe,), daemon=True).start()
    try:
        work(lambda: pipe.send(READY))
    except RengafsError as error:
        pipe.send(error.message)


def _follow_starter(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """Give a socket that can be read when SIGTERM or SIGINT came."""
    mine, theirs = socket.socketpair()
    theirs.setblocking(False)

    def note(_number: int, _frame: FrameType | None) -> None:
        """Nothing: the signal's number is written to the socket before this runs."""

    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, note) for number in signals}
    wakeup = signal.set_wakeup_fd(theirs.fileno())
    try:
        yield mine
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        mine.close()
        theirs.close()


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
