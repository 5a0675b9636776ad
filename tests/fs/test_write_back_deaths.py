"""Whatever dies: what was acknowledged is there, byte-true, in order, once; and nothing else.

`make test-faults` kills mount and service at 500 moments each, with and without --write-back.
"""

import errno
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.mounts import is_mounted
from support.scale import scaled
from support.workload import actions
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
import inspect, os, signal, sys
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
    if inspect.iscoroutinefunction(plain):
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
around(Draft, "snapshot", "before the snapshot", "snapshot taken")
around(Draft, "committed", "before going on", "gone on")
around(Remote, "apply_ahead", "before sending ahead", "sent ahead")
plain_write = os.fdatasync
def fdatasync(file):
    if step == "before syncing": die()
    plain_write(file)
    if step == "synced": die()
os.fdatasync = fdatasync
from rengafs.cli.main import main
main()
"""

WRITE_BACK_STEPS = [
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
PLAIN_STEPS = [
    "before the snapshot",
    "snapshot taken",
    "before streaming",
    "streamed",
    "before going on",
    "gone on",
    "before sending ahead",
    "sent ahead",
]
STEPS = [("--write-back", step) for step in WRITE_BACK_STEPS] + [("", step) for step in PLAIN_STEPS]
REPLAY_STEPS = ["before sending", "sent", "before streaming", "before taking in", "taken in"]
SAVES_LONG = next(
    seed
    for seed in itertools.count()
    if any(action.name == "long" for action in itertools.islice(actions(seed), 10))
)
"""A seed with which a long file is written early."""


def place(home):
    path = home.path / "buckets"
    path.mkdir(exist_ok=True)
    return path


def detach(path):
    subprocess.run(["fusermount3", "-uzq", path], check=False)


@contextmanager
def dying(home, step, times, log, *options):
    """Give a mount that dies when it comes to a step for so many times, and its process."""
    work = place(home).with_name("dying")
    work.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PROGRAM, "mount", "--foreground", *options, str(work)]
    dies = {"DIES_AT": step, "DIES_AFTER": str(times)}
    with log.open("wb") as output:
        mounting = subprocess.Popen(
            command, env={**home.environment, **dies}, stdout=output, stderr=output
        )
    try:
        yield work, mounting
    finally:
        mounting.kill()
        mounting.wait()
        detach(work)


@pytest.mark.timeout(scaled(300, 3600))
@pytest.mark.parametrize(("option", "step"), STEPS, ids=lambda word: word.strip("-") or "plain")
def test_a_mount_that_dies_at_a_step_of_a_save_loses_nothing_acknowledged(
    shared_home, option, step, tmp_path
):
    home = shared_home
    with home.mounted() as path:  # the service stays for all of it
        for number in range(scaled(1, 5)):
            name = f"{STEPS.index((option, step))}-{number}"
            (path / name).mkdir()
            times = 1 if "ahead" in step else 1 + 3 * number
            seed = SAVES_LONG if "ahead" in step else number
            with dying(home, step, times, tmp_path / f"{name}.log", *option.split()) as (work, one):
                eventually(
                    lambda w=work, n=name, m=one: (
                        m.poll() is not None or (is_mounted(w) and is_there(w / n))
                    )
                )
                writing = Writing(work / name, tmp_path / name, seed)
                try:
                    ended = one.wait(SECONDS)
                finally:
                    writing.end()
                assert ended == -signal.SIGKILL, "it did not come to the step"
            with home.mounted("after") as after:
                check_all_is_there(after / name, *writing.acknowledged())
    assert not list((home.path / ".local" / "state").rglob("journal-*"))


@pytest.mark.timeout(scaled(300, 3600))
@pytest.mark.parametrize("step", REPLAY_STEPS)
def test_a_mount_that_dies_while_it_sends_what_another_left_loses_and_doubles_nothing(
    shared_home, step, tmp_path
):
    home = shared_home
    with home.mounted():  # the service stays for all of it
        name = f"replay-{REPLAY_STEPS.index(step)}"
        first = place(home).with_name("first")
        first.mkdir(exist_ok=True)
        home.run("mount", "--write-back", str(first))
        bodies = {"small": b"x" * 1000, "middle": b"y" * (1 << 20), "large": b"z" * (3 << 20)}
        (first / name).mkdir()
        (first / name / "small").write_bytes(b"before")
        sync(first)
        with Away(home):
            for file, body in bodies.items():
                (first / name / file).write_bytes(body)
            kill(process_of(home, b"mount", first))
        detach(first)
        with dying(home, step, 1, tmp_path / f"{name}.log") as (_, one):
            assert one.wait(SECONDS) == -signal.SIGKILL, "it did not come to the step"
        with home.mounted("after") as after:
            found = {path.name: saves(path) for path in (after / name).iterdir()}
            expected = {file: [body] for file, body in bodies.items()}
            assert found == {**expected, "small": [b"before", bodies["small"]]}
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
        for number in range(scaled(6, 500)):
            home.run("mount", *options, str(place(home)))
            work = place(home) / "data" / f"r{number}"
            work.mkdir()
            writing = Writing(work, tmp_path / f"notes{number}", number)
            try:
                eventually(lambda w=writing: w.count)
                time.sleep(dice.random() * 0.8)
                kill(process_of(home, b"mount", place(home)))
            finally:
                writing.end()
            detach(place(home))
            home.run("mount", str(place(home)))
            home.run("umount", str(place(home)))
            eventually(lambda n=number: (keeper / "data" / f"r{n}").is_dir())
            check_all_is_there(keeper / "data" / f"r{number}", *writing.acknowledged())


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


@pytest.mark.timeout(scaled(300, 7200))
@pytest.mark.parametrize("options", [["--write-back"], []], ids=["write-back", "close-to-open"])
def test_a_service_that_is_killed_and_comes_again_gets_everything_once(home, options, tmp_path):
    """Tools notice nothing of it: whatever they call comes to a good end."""
    served = Served(home)
    served.start()
    try:
        with home.mounted("buckets", "--patience", "120", *options, *served.options) as path:
            for number in range(scaled(1, 50)):
                directory = path / f"data{number}"
                directory.mkdir()
                writing = Writing(directory, tmp_path / f"notes{number}", number)
                dice = random.Random(number)
                try:
                    for _ in range(scaled(4, 10)):
                        time.sleep(dice.random())
                        served.kill()
                        time.sleep(dice.random() * scaled(0.5, 2))
                        served.start()
                    reached = writing.count
                    eventually(lambda w=writing, r=reached: w.count > r or w.process.poll())
                finally:
                    assert writing.end(), writing.said.read_text()
                sync(path)
                check_all_is_there(directory, *writing.acknowledged())
    finally:
        served.kill()


@pytest.mark.timeout(scaled(300, 3600))
def test_saves_go_on_while_the_service_is_away_for_long_and_are_all_sent(home):
    """Each is closed while it is away, through one descriptor and through new ones."""
    with home.mounted("buckets", "--write-back") as path:
        (path / "data").mkdir()
        file = path / "data" / "f"
        file.write_bytes(b"")
        expected, written = [], b""
        out = os.open(file, os.O_WRONLY)
        try:
            with Away(home):
                until = time.monotonic() + scaled(8, 600)
                while time.monotonic() < until:
                    line = b"%d\n" % len(written)
                    os.write(out, line)
                    os.close(os.dup(out))
                    written += line
                    expected.append(written)
                    time.sleep(0.2)
                os.close(out)
                out = -1
                state = os.getxattr(file, "user.renga.state")
                assert state == b"uploading" or state.endswith(b"tried again")
        finally:
            if out >= 0:
                os.close(out)
        eventually(lambda: os.getxattr(file, "user.renga.state") == b"clean")
        # Saves of one descriptor: each takes the place of the one before.
        assert saves(file) == expected[-1:]
        assert file.read_bytes() == written


@pytest.mark.timeout(scaled(300, 3600))
def test_without_write_back_close_fails_in_time_and_the_next_mount_saves_what_was_kept(home):
    with home.mounted("keeper") as keeper:  # so that the service stays
        (keeper / "data").mkdir()
        (keeper / "data" / "f").write_bytes(b"before")
        with home.mounted("buckets", "--patience", "3") as path:
            out = os.open(path / "data" / "f", os.O_WRONLY | os.O_APPEND)
            with Away(home):
                os.write(out, b", and after")
                with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
                    os.close(out)
                time.sleep(scaled(0, 600))
                (kept,) = set(re.findall(r"its bytes are in (\S+)", home.logs()))
                assert b", and after" in Path(kept).read_bytes()
        with home.mounted("next") as path:
            assert saves(path / "data" / "f") == [b"before", b"before, and after"]


@contextmanager
def left_open(home, body):
    """Have *body* written to ``data/f`` of a mount that is killed with the file open."""
    home.run("mount", str(place(home)))
    (place(home) / "data").mkdir(exist_ok=True)
    out = os.open(place(home) / "data" / "f", os.O_WRONLY | os.O_CREAT)
    try:
        for start in range(0, len(body), 1 << 20):
            os.write(out, body[start : start + (1 << 20)])
        kill(process_of(home, b"mount", place(home)))
        yield
    finally:
        with open(os.devnull) as nothing:
            os.dup2(nothing.fileno(), out)
            os.close(out)
        detach(place(home))


def test_drafts_that_nobody_saved_are_saved_by_the_next_mount(home):
    """A mount without --write-back that is killed with a file open and 40 MiB written."""
    body = os.urandom(40 << 20)
    with left_open(home, body):
        pass
    with home.mounted() as path:
        found = (path / "data" / "f").read_bytes()
        assert len(found) >= 16 << 20
        assert found == body[: len(found)]


def test_drafts_of_files_that_others_have_saved_since_are_kept_and_told(home):
    body = os.urandom(40 << 20)
    with home.mounted("keeper") as keeper:
        (keeper / "data").mkdir()
        (keeper / "data" / "f").write_bytes(b"before")
        with left_open(home, body):
            (keeper / "data" / "f").write_bytes(b"theirs")
        with home.mounted("next") as path:
            assert (path / "data" / "f").read_bytes() == b"theirs"
            assert saves(path / "data" / "f") == [b"before", b"theirs"]
            (told,) = re.findall(r"(\S+/drafts/\S+/data)", home.run("status").stdout)
            found = Path(told).read_bytes()
            assert len(found) >= 16 << 20
            assert found == body[: len(found)]
