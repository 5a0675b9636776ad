"""Whatever dies: what was acknowledged is there, byte-true, in order, once; and nothing else.

`make test-full` kills at 500 moments, and lets the service be away for ten minutes.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.mounts import is_mounted
from support.scale import scaled
from support.writing import (
    SECONDS,
    Away,
    Writing,
    check_all_is_there,
    eventually,
    kill,
    process_of,
    saves,
    sync,
)

# The mount, with a death at the N-th time that it comes to a step.
PROGRAM = """
import os, signal, sys
import trio
from rengafs.fs.remote import Remote
from rengafs.fs.writes.writeback.journal import Journal
from rengafs.fs.writes.writeback.outbox import Outbox
from rengafs.fs.writes.drafts import Draft
step, left = os.environ["DIES_AT"], [int(os.environ["DIES_AFTER"])]

def die():
    left[0] -= 1
    if left[0] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)

def around(kind, name, before=None, after=None):
    plain = getattr(kind, name)
    if name in ("apply", "commit", "seal", "append"):
        async def wrapped(*args, **kwargs):
            if step == before: die()
            result = await plain(*args, **kwargs)
            if step == after: die()
            return result
    else:
        def wrapped(*args, **kwargs):
            if step == before: die()
            result = plain(*args, **kwargs)
            if step == after: die()
            return result
    setattr(kind, name, wrapped)

around(Draft, "seal", "before sealing", "sealed")
around(Journal, "append", "before the journal", "journaled")
around(Outbox, "add", None, "queued")
around(Remote, "apply", "before sending", "sent")
around(Remote, "commit", "before streaming", "streamed")
around(Outbox, "answered", "before taking in", "taken in")
plain_write = os.fdatasync
def fdatasync(file):
    if step == "before syncing": die()
    plain_write(file)
    if step == "synced": die()
os.fdatasync = fdatasync
from rengafs.cli.main import main
main()
"""

STEPS = [
    "before sealing",
    "sealed",
    "before the journal",
    "before syncing",
    "synced",
    "journaled",
    "queued",
    "before sending",
    "sent",
    "before streaming",
    "streamed",
    "before taking in",
    "taken in",
]


def place(home):
    path = home.path / "buckets"
    path.mkdir(exist_ok=True)
    return path


def detach(path):
    subprocess.run(["fusermount3", "-uzq", path], check=False)


@pytest.mark.timeout(scaled(300, 3600))
@pytest.mark.parametrize("step", STEPS)
def test_a_mount_that_dies_at_a_step_of_a_save_loses_nothing_acknowledged(
    shared_home, step, tmp_path
):
    home = shared_home
    with home.mounted() as path:  # the service stays for all of it
        for number in range(scaled(1, 5)):
            name = f"{STEPS.index(step)}-{number}"
            (path / name).mkdir()
            work = place(home).with_name("dying")
            work.mkdir(exist_ok=True)
            dies = {"DIES_AT": step, "DIES_AFTER": str(1 + 3 * number)}
            command = [sys.executable, "-c", PROGRAM, "mount", "--write-back", "--foreground"]
            log = tmp_path / f"{name}.log"
            with log.open("wb") as output:
                mounting = subprocess.Popen(
                    [*command, str(work)],
                    env={**home.environment, **dies},
                    stdout=output,
                    stderr=output,
                )
            try:
                eventually(
                    lambda w=work, n=name, m=mounting: (
                        m.poll() is not None or (is_mounted(w) and is_there(w / n))
                    )
                )
                writing = Writing(work / name, tmp_path / name, number)
                try:
                    mounting.wait(SECONDS)
                finally:
                    writing.end()
            finally:
                mounting.kill()
                mounting.wait()
                detach(work)
            with home.mounted("after") as after:
                check_all_is_there(after / name, *writing.acknowledged())
    assert not list((home.path / ".local" / "state").rglob("journal-*"))


def is_there(path):
    try:
        return path.is_dir()
    except OSError:
        return False


@pytest.mark.timeout(scaled(300, 7200))
@pytest.mark.parametrize("options", [["--write-back"], []], ids=["write-back", "close-to-open"])
def test_a_mount_that_is_killed_at_any_moment_loses_nothing_acknowledged(home, options, tmp_path):
    dice = random.Random(7)
    with home.mounted("keeper") as keeper:  # so that the service stays
        (keeper / "data").mkdir()
        for number in range(scaled(6, 250)):
            home.run("mount", *options, str(place(home)))
            work = place(home) / "data" / f"r{number}"
            work.mkdir()
            writing = Writing(work, tmp_path / f"notes{number}", number)
            try:
                eventually(lambda w=writing: w.acknowledged()[0])
                time.sleep(dice.random() * 0.8)
                kill(process_of(home, b"mount", place(home)))
            finally:
                writing.end()
            detach(place(home))
            home.run("mount", str(place(home)))
            home.run("umount", str(place(home)))
            eventually(lambda n=number: (keeper / "data" / f"r{n}").is_dir())
            check_all_is_there(keeper / "data" / f"r{number}", *writing.acknowledged())


@pytest.mark.timeout(scaled(300, 7200))
def test_the_files_as_they_were_at_the_kill_are_enough_for_the_next_mount(home, tmp_path):
    """As after a power cut: what was not in the files by then does not count."""
    for number in range(scaled(2, 50)):
        home.run("mount", "--write-back", str(place(home)))
        work = place(home) / "data" / f"r{number}"
        work.mkdir(parents=True)
        state = home.path / ".local" / "state" / "rengafs" / "drafts"
        copy = tmp_path / f"copy{number}"
        writing = Writing(work, tmp_path / f"notes{number}", number)
        try:
            eventually(lambda w=writing: len(w.acknowledged()[0]) > 2)
            with Away(home):
                time.sleep(0.3)
                writing.process.send_signal(signal.SIGSTOP)
                mounting = process_of(home, b"mount")
                os.kill(mounting, signal.SIGSTOP)
                shutil.copytree(state, copy)
                kill(mounting)
        finally:
            writing.end()
        detach(place(home))
        shutil.rmtree(state)
        shutil.copytree(copy, state)
        with home.mounted() as path:
            check_all_is_there(path / "data" / f"r{number}", *writing.acknowledged())


class Served:
    """A service that the test starts, kills and starts again."""

    def __init__(self, home):
        self.home = home
        self.listen, self.data = home.path / "run" / "s.sock", home.path / "served"
        self.token = home.path / "token"
        self.options = ["--endpoint", f"unix:{self.listen}", "--token-file", str(self.token)]
        self.process = None

    def start(self):
        serve = ["serve", "--listen", f"unix:{self.listen}", "--data", str(self.data)]
        self.process = subprocess.Popen(
            [*self.home.command, *serve],
            env=self.home.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline()
        if not self.token.exists():
            created = self.home.run("token", "create", "me", "--data", str(self.data)).stdout
            self.token.write_text(created.split()[-1])
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.process.wait(SECONDS)


@pytest.mark.timeout(scaled(300, 3600))
def test_a_service_that_is_killed_and_comes_again_gets_everything_once(home, tmp_path):
    served = Served(home)
    served.start()
    try:
        with home.mounted("buckets", "--write-back", *served.options) as path:
            (path / "data").mkdir()
            writing = Writing(path / "data", tmp_path / "notes", 1)
            dice = random.Random(3)
            try:
                for _ in range(scaled(3, 100)):
                    time.sleep(dice.random())
                    served.kill()
                    time.sleep(dice.random() * scaled(0.5, 5))
                    served.start()
                eventually(lambda: len(writing.acknowledged()[0]) > 3)
            finally:
                writing.end()
            sync(path)
            check_all_is_there(path / "data", *writing.acknowledged())
    finally:
        served.kill()


def test_a_writer_goes_on_while_the_service_is_away_for_long(home):
    with home.mounted("buckets", "--write-back") as path:
        (path / "data").mkdir()
        file = path / "data" / "f"
        file.write_bytes(b"")
        written = b""
        with file.open("ab", buffering=0) as out, Away(home):
            until = time.monotonic() + scaled(8, 600)
            while time.monotonic() < until:
                line = b"%d\n" % len(written)
                out.write(line)
                written += line
                time.sleep(0.05)
        eventually(lambda: os.getxattr(file, "user.renga.state") == b"clean")
        assert file.read_bytes() == written
        assert saves(file) == [written]


def test_drafts_that_nobody_saved_are_saved_by_the_next_mount_unless_others_did(home):
    """A mount without --write-back that is killed with a file open and 20 MiB written."""
    home.run("mount", str(place(home)))
    (place(home) / "data").mkdir()
    body = os.urandom(40 << 20)
    out = os.open(place(home) / "data" / "f", os.O_WRONLY | os.O_CREAT)
    try:
        for start in range(0, len(body), 1 << 20):
            os.write(out, body[start : start + (1 << 20)])
        kill(process_of(home, b"mount"))
    finally:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), out)
            os.close(out)
    detach(place(home))
    with home.mounted() as path:
        found = Path(path / "data" / "f").read_bytes()
        assert len(found) >= 16 << 20
        assert found == body[: len(found)]
