"""``python -m bench.peers.profiling WORK``: where rengafs' time goes in a work, by py-spy.

Writes a flame graph for the mount and one for the service to ``.cache/bench``, and prints the
functions in which most of the time was spent.
"""

import argparse
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from support.swift import running_swift

from bench.peers.__main__ import FAR, FULL, HERE, QUICK, ROOT
from bench.peers.links import far
from bench.peers.ours import Rengafs, RengafsWriteBack
from bench.peers.store import Access, Store
from bench.peers.tools import Tools, install
from bench.peers.trials import Results, Trial
from bench.peers.works import WORKS

RATE = 200
SHOWN = 25
WAITING = (
    "Condition.wait (",
    "WorkerThread._work (",
    "EpollIOManager.get_events (",
    "Runner.run (",  # uvloop, which is not Python and so not seen: it waits, mostly
)
"""What a thread does that has nothing to do; py-spy takes some of it for work."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.peers.profiling", description=__doc__)
    parser.add_argument("work", choices=list(WORKS))
    parser.add_argument("--far", action="store_true", help="through a link of 20 ms")
    parser.add_argument("--write-back", action="store_true")
    options = parser.parse_args()
    cache = ROOT / ".cache" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    tools = install(cache)
    sizes = QUICK if os.environ.get("QUICK", "") not in ("", "0") else FULL
    contender = RengafsWriteBack() if options.write_back else Rengafs()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rengafs-bench-")))
        swift = stack.enter_context(running_swift(memcached=True))
        here = Access(swift.url, swift.user, swift.key)
        address = stack.enter_context(far(swift.url)) if options.far else swift.url
        store = stack.enter_context(Store(here))
        access = Access(address, swift.user, swift.key)
        session = stack.enter_context(contender.session(scratch, store, access))
        where = FAR if options.far else HERE
        trial = Trial(Results(), contender.name, where, session)
        # What is remounted on the way has another process: each is recorded by itself.
        watched = _Watched(session, tools, cache, options.work)
        with watched.recording():
            WORKS[options.work](trial, sizes, scratch)
    watched.tell()


class _Watched:
    """Records a session's processes; those of each mount anew."""

    def __init__(self, session, tools: Tools, directory: Path, work: str) -> None:
        self._session = session
        self._tools = tools
        self._directory = directory
        self._work = work
        self._count = 0
        self._recorders: list[tuple[subprocess.Popen, Path]] = []
        self._files: list[tuple[str, Path]] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        for old in self._directory.glob(f"profile-{self._work}-*"):
            old.unlink()
        mount, unmount = self._session.mount, self._session.unmount

        def mounted() -> None:
            mount()
            self._begin("mount", self._session.mount_pids())

        def unmounted() -> None:
            self._end("mount")
            unmount()

        self._session.mount, self._session.unmount = mounted, unmounted
        mine = self._session.mount_pids()
        self._begin("service", [pid for pid in self._session.pids() if pid not in mine])
        self._begin("mount", mine)
        try:
            yield
        finally:
            self._end("")

    def _begin(self, name: str, pids: list[int]) -> None:
        for pid in pids:
            self._count += 1
            path = self._directory / f"profile-{self._work}-{name}-{self._count}.txt"
            command = [self._tools.py_spy, "record", "--pid", str(pid), "--rate", str(RATE)]
            command += ["--format", "raw", "--output", str(path), "--duration", "3600"]
            recorder = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            self._recorders.append((recorder, path))
            self._files.append((name, path))

    def _end(self, only: str) -> None:
        left = []
        for recorder, path in self._recorders:
            if only and f"-{only}-" not in path.name:
                left.append((recorder, path))
                continue
            recorder.send_signal(signal.SIGINT)
            try:
                recorder.wait(60)
            except subprocess.TimeoutExpired:
                recorder.kill()
                recorder.wait()
        self._recorders = left

    def tell(self) -> None:
        for wanted in ("mount", "service"):
            own, total, samples = Counter(), Counter(), 0
            for name, path in self._files:
                if name == wanted and path.exists():
                    samples += _count(path, own, total)
            print(f"\n{wanted}: {samples / RATE:.1f} s of work; the most of it, by itself")
            for function, count in own.most_common(SHOWN):
                print(f"  {count / RATE:7.2f} s  {function}")
            print("and with what it calls")
            for function, count in total.most_common(2 * SHOWN):
                print(f"  {count / RATE:7.2f} s  {function}")


def _count(path: Path, own: Counter, total: Counter) -> int:
    """Add up a file of ``frame;frame;frame count`` lines."""
    samples = 0
    for line in path.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        # Without line numbers: functions, not places in them.
        frames = [frame.rpartition(":")[0] + ")" for frame in stack.split(";") if ":" in frame]
        if not frames or frames[-1].startswith(WAITING):
            continue
        samples += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            total[frame] += int(count)
    return samples


if __name__ == "__main__":
    main()
