"""Each kind of request meets each trouble of a network, on its way to the service or back.

Whatever is called ends in bounded time, well or with EIO; may then be repeated; makes one save
of each; and leaves nobody waiting for what does not come.
"""

import errno
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.services import running_service
from support.trouble import Trouble
from support.workload import history
from support.writing import eventually, sync

TROUBLES = (
    "cut",
    "delay",
    "lose the answer",
    "cut the answer",
    "cut the body",
    "500",
    "503",
    "stall",
)
PATIENCE = 4
STALL_SECONDS = 6
"""Longer than patience."""
TOLD = {"500", "stall"}
"""A defect of the service, and what outlasts patience, are EIO; the rest no tool notices."""
BOUND_SECONDS = 90
"""For one call, on a busy machine."""
ATTEMPTS = 3
MIB = 1 << 20

MODES = pytest.mark.parametrize(
    "options", [["--write-back"], []], ids=["write-back", "close-to-open"]
)
SIZES = pytest.mark.parametrize("size", [100, 3 * MIB], ids=["small", "streamed"])


@contextmanager
def lined(home, what, *options):
    """Give a line with troubles, a bucket of a mount behind it, and the same without troubles."""
    with (
        running_service(listen="127.0.0.1:0") as service,
        Trouble(service.address, what, (), STALL_SECONDS) as line,
    ):
        token = home.path / "token"
        token.write_text(service.token)
        direct = ["--endpoint", service.address, "--token-file", str(token)]
        troubled = ["--endpoint", line.address, "--token-file", str(token)]
        troubled += ["--cache-dir", str(home.path / "far-cache")]
        with (
            home.mounted("straight", *direct) as straight,
            home.mounted("far", "--patience", str(PATIENCE), *troubled, *options) as far,
        ):
            (straight / "data").mkdir()
            eventually((far / "data").is_dir)
            yield line, far / "data", straight / "data"
            line.end()
            eventually(lambda: none_waits_for_ever([service.process.pid, *home.processes()]))


def none_waits_for_ever(pids):
    """Whether no thread of these processes is in state D."""
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                if status.read_text().rpartition(")")[2].split()[0] == "D":
                    return False
    return True


def attempt(action):
    """Do something; tell whether it went well. Else it must be EIO; and never last for long."""
    begun = time.monotonic()
    try:
        action()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    finally:
        assert time.monotonic() - begun < BOUND_SECONDS
    return True


def save(file, body):
    """Save a file, and wait until the service has it."""
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        left = memoryview(body)
        while left:
            left = left[os.write(out, left) :]
        os.fsync(out)
    finally:
        os.close(out)


@pytest.mark.timeout(600)
@MODES
@SIZES
def test_a_save_that_meets_trouble_is_made_once(home, options, size):
    with lined(home, "/fs/apply", *options) as (line, far, straight):
        (far / "first").write_bytes(b"")
        for trouble in TROUBLES:
            name, body, met = trouble.replace(" ", "-"), os.urandom(size), line.met
            # Made beforehand, so that it is the save that meets it.
            os.close(os.open(far / name, os.O_WRONLY | os.O_CREAT))
            sync(far)
            line.expect(trouble)
            went_well = [attempt(lambda n=name, b=body: save(far / n, b))]
            while not went_well[-1]:
                assert len(went_well) < ATTEMPTS, f"{trouble}: it can't be repeated"
                went_well.append(attempt(lambda n=name, b=body: save(far / n, b)))
            assert line.met == met + 1, f"{trouble} was not met"
            assert len(went_well) == 1 or trouble in TOLD, f"{trouble} was told to the tool"
            eventually(lambda n=name, b=body: history(straight / n) == [b])


@pytest.mark.timeout(600)
def test_a_name_that_is_changed_through_trouble_is_changed_once(home):
    with lined(home, "/fs/apply") as (line, far, straight):
        for trouble in TROUBLES:
            name = trouble.replace(" ", "-")
            (far / name).write_bytes(b"content")
            line.expect(trouble)
            while not attempt(lambda n=name: os.rename(far / n, far / f"{n}-renamed")):
                assert trouble in TOLD, f"{trouble} was told to the tool"
                if (far / f"{name}-renamed").exists():
                    break  # it was done, and that was not told
            eventually(lambda n=name: not (straight / n).exists())
            assert (straight / f"{name}-renamed").read_bytes() == b"content"


@pytest.mark.timeout(600)
@SIZES
def test_what_is_read_through_trouble_is_right_or_an_error_that_passes(home, size):
    with lined(home, "/content") as (line, far, straight):
        for trouble in TROUBLES:
            name, body, met = trouble.replace(" ", "-"), os.urandom(size), line.met
            (straight / name).write_bytes(body)
            eventually((far / name).exists)
            line.expect(trouble)
            found = []
            for _ in range(ATTEMPTS):
                if attempt(lambda n=name, f=found: f.append((far / n).read_bytes())):
                    break
            assert found == [body], trouble
            assert line.met == met + 1, f"{trouble} was not met"


@pytest.mark.timeout(600)
def test_a_feed_that_meets_trouble_is_taken_up_again(home):
    with lined(home, "/fs/feed") as (line, far, straight):
        file = far / "f"
        for trouble in TROUBLES:
            met = line.met
            line.expect(trouble)
            line.break_connections()
            (straight / "f").write_text(trouble)
            eventually(lambda f=file, t=trouble: shows(f, t), BOUND_SECONDS)
            eventually(lambda m=met: line.met == m + 1, BOUND_SECONDS)
        (straight / "f").write_text("at the end")
        eventually(lambda: shows(file, "at the end"), BOUND_SECONDS)


def shows(file, text):
    try:
        return file.read_text() == text
    except FileNotFoundError:
        return False


@pytest.mark.timeout(600)
def test_files_are_made_while_the_ids_for_them_meet_trouble(home):
    with running_service(listen="127.0.0.1:0") as service:
        (home.path / "token").write_text(service.token)
        with Trouble(service.address, "/fs/reserve", (), STALL_SECONDS) as line:
            line.expect(*TROUBLES)
            options = ["--endpoint", line.address, "--token-file", str(home.path / "token")]
            options += ["--patience", str(PATIENCE), "--write-back"]
            with home.mounted("far", *options) as far:
                (far / "data").mkdir()
                made = 0
                while line.met < len(TROUBLES) or made < len(TROUBLES):
                    assert attempt(lambda n=made: (far / "data" / f"{n}").write_text(f"{n}"))
                    made += 1
                    time.sleep(0.2)
                sync(far)
                assert {file.name: file.read_text() for file in (far / "data").iterdir()} == {
                    f"{number}": f"{number}" for number in range(made)
                }
