"""The machine stops, and what was not synced by then is gone: what was acknowledged is not.

State, drafts, journals, catalog and blobs lie on a disk that keeps only what was synced. That
these tests would show a missing sync is shown, too: without any, they fail.
"""

import os
import random
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest
from support.scale import scaled
from support.volatile import settle, volatile_disk
from support.writing import Away, Writing, check_all_is_there, eventually, kill

MODES = pytest.mark.parametrize(
    "options", [["--write-back"], []], ids=["write-back", "close-to-open"]
)


class Machine:
    """A home on a disk that forgets what was not synced; and its power."""

    def __init__(self, home):
        self.home = home
        self.place = home.path / "buckets"
        self.place.mkdir()
        self._disk, self._image = home.path / ".local", home.path / "image"
        with self._power():
            # An old installation: the directories of the service are there for long.
            home.run("mount", str(self.place))
            (self.place / "data").mkdir()
            home.run("umount", str(self.place))
            settle(self._disk)

    @contextmanager
    def _power(self):
        with volatile_disk(self._image, self._disk):
            try:
                yield
            finally:
                for pid in self.home.processes():
                    with suppress(ProcessLookupError):
                        kill(pid)
                subprocess.run(["fusermount3", "-uzq", self.place], check=False)

    @contextmanager
    def mounted(self, *options):
        """Give the mount's bucket, until the power is cut."""
        with self._power():
            self.home.run("mount", *options, str(self.place))
            yield self.place / "data"


def saved_until_cut(machine, options, seed, notes, seconds):
    """Work for some seconds until the power is cut; return what was acknowledged."""
    with machine.mounted(*options) as data:
        work = data / f"r{seed}"
        work.mkdir()
        writing = Writing(work, notes, seed)
        try:
            eventually(lambda: writing.count > 1)
            if options and seed % 2:
                with Away(machine.home):  # what is acknowledged now is in the journal alone
                    time.sleep(seconds)
                    for pid in machine.home.processes():
                        os.kill(pid, signal.SIGSTOP)
            else:
                time.sleep(seconds)
            for pid in machine.home.processes():
                with suppress(ProcessLookupError):
                    kill(pid)
        finally:
            writing.end()
    return writing.acknowledged()


@pytest.mark.timeout(scaled(300, 7200))
@MODES
def test_a_power_cut_takes_nothing_that_was_acknowledged(home, options, tmp_path):
    machine = Machine(home)
    dice = random.Random(11)
    for number in range(scaled(2, 200)):
        notes = tmp_path / f"notes{number}"
        seed, count = saved_until_cut(machine, options, number, notes, dice.random() * 1.5)
        with machine.mounted() as data:
            home.run("umount", str(machine.place))  # waits for what the journal holds
            home.run("mount", str(machine.place))
            check_all_is_there(data / f"r{number}", seed, count)


@MODES
def test_a_missing_sync_would_be_seen(home, options, tmp_path):
    machine = Machine(home)
    never = tmp_path / "never"
    never.mkdir()
    (never / "sitecustomize.py").write_text(
        "import os\nos.fsync = os.fdatasync = lambda _descriptor: None\n"
    )
    home.environment["PYTHONPATH"] = str(never)
    seed, count = saved_until_cut(machine, options, 1, tmp_path / "notes", 1.0)
    del home.environment["PYTHONPATH"]
    with machine.mounted() as data, pytest.raises((AssertionError, OSError)):
        check_all_is_there(data / "r1", seed, count)
