"""Writers that note what was acknowledged, and what may happen to those they write to."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.workload import Expected

SECONDS = 240


def eventually(condition, seconds=SECONDS):
    """Wait for *condition*; it must become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)


def sync(path):
    """Do what ``sync PATH`` does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def synced(path):
    """Tell whether ``sync PATH`` went well."""
    try:
        sync(path)
    except OSError:
        return False
    return True


def report(mount):
    """Return what a mount says is still to be sent."""
    return json.loads(os.getxattr(mount, "user.renga.report"))


def saves(file):
    """Return the contents of all saves of a name, in order."""
    history = file.parent / ".versions" / file.name
    return [save.read_bytes() for save in sorted(history.iterdir())]


def process_of(home, command, mountpoint=None):
    """Return the process of a home that runs ``rengafs COMMAND`` itself."""
    wanted = {command} | ({os.fsencode(mountpoint), b"--foreground"} if mountpoint else set())
    for pid in home.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if wanted <= set(words) and (command != b"mount" or b"--foreground" in words):
            return pid
    raise AssertionError(f"nobody runs rengafs {command.decode()}")


def kill(pid):
    """End a process as a power cut would, and wait until it has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], SECONDS)
    finally:
        os.close(descriptor)


class Away:
    """The service of a home, while it answers nothing at all."""

    def __init__(self, home):
        self.pid = process_of(home, b"serve")

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


class Writing:
    """A tool that works in a directory until it is ended: see `workload`."""

    def __init__(self, root, notes, seed):
        self.notes = notes
        self.seed = seed
        command = [sys.executable, "-m", "support.workload", str(root), str(notes), str(seed)]
        self.said = notes.with_name(f"{notes.name}.said")
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(command, stderr=said, cwd=Path(__file__).parents[1])

    def acknowledged(self):
        """Return the seed, and how much was acknowledged by now."""
        return self.seed, self.notes.stat().st_size if self.notes.exists() else 0

    @property
    def count(self):
        """How much was acknowledged by now."""
        return self.acknowledged()[1]

    def end(self):
        """Kill it; tell whether it was still at work, as one whose calls all went well is."""
        was_at_work = self.process.poll() is None
        self.process.kill()
        self.process.wait(SECONDS)
        return was_at_work


def check_all_is_there(directory, seed, acknowledged):
    """Everything acknowledged is there, in order and once; and nothing that was not written."""
    Expected(seed, acknowledged).check(directory)
