"""A service that does not answer: saves fail in time, and it is told where their bytes are."""

import errno
import os
import signal
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.mounts import COMMAND, is_mounted
from support.services import running_service
from support.writing import eventually

MIB = 1 << 20
GENEROUS = 90
"""Seconds for what takes a patience of two; without a bound it takes minutes."""


def errno_in_time(action, seconds=GENEROUS):
    """Return the errno of *action*, which must come back within a generous time."""
    found = []

    def run():
        try:
            action()
            found.append(0)
        except OSError as error:
            found.append(error.errno)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"no answer within {seconds} s"
    return found[0]


def options_for(home, service, *more):
    token = home.path / "token"
    token.write_text(service.token)
    return ["--endpoint", service.address, "--token-file", str(token), *more]


def silence(service, how):
    if how == "stopped":
        os.kill(service.process.pid, signal.SIGSTOP)
    else:
        service.kill()


def wake(service):
    if service.process.poll() is None:
        os.kill(service.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_large_save_fails_after_one_patience_and_its_bytes_are_kept(home, how):
    data = os.urandom(4 * MIB)
    with running_service() as service:
        options = options_for(home, service, "--patience", "2", "--drain-timeout", "5")
        with home.mounted("buckets", *options) as path:
            (path / "data").mkdir()
            out = os.open(path / "data" / "f", os.O_CREAT | os.O_WRONLY)
            os.write(out, data)
            silence(service, how)
            try:
                assert errno_in_time(lambda: os.close(out)) == errno.EIO
                (kept,) = (home.path / ".local" / "state").rglob("drafts/*/*/data")
                assert kept.read_bytes() == data
                # The last try, when the kernel lets go of the file, fails alike.
                eventually(lambda: ": failed: " in home.run("status", f"{path}/data/f").stdout)
                told = home.run("status", f"{path}/data/f").stdout
                assert told.strip().endswith(f"its bytes are in {kept}")
                said = home.run("status").stdout
                assert f"{path}/data/f: failed: " in said
                assert str(kept) in said
                assert "data/f is not saved: " in home.logs()
                assert str(kept) in home.logs()
            finally:
                wake(service)


@contextmanager
def in_the_foreground(home, name, *options):
    """Give a mount point, and the very process that serves it."""
    path = home.path / name
    path.mkdir()
    process = subprocess.Popen(
        [*COMMAND, "mount", "--foreground", *options, str(path)],
        env=home.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: is_mounted(path) and os.access(path, os.R_OK))
        yield path, process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        if is_mounted(path):
            subprocess.run(["umount", "-l", path], check=False)


def test_sigterm_without_the_service_ends_in_time_and_names_what_is_left(home):
    with running_service() as service:
        options = options_for(home, service, "--patience", "3", "--drain-timeout", "6")
        with in_the_foreground(home, "buckets", *options) as (path, process):
            (path / "data").mkdir()
            bodies = {f"f{number}": os.urandom(2 * MIB) for number in range(10)}
            opened = []
            for name, body in bodies.items():
                opened.append(os.open(path / "data" / name, os.O_CREAT | os.O_WRONLY))
                os.write(opened[-1], body)
            silence(service, "stopped")
            try:
                process.send_signal(signal.SIGTERM)
                _, said = process.communicate(timeout=GENEROUS)
            finally:
                wake(service)
                for descriptor in opened:
                    errno_in_time(lambda descriptor=descriptor: os.close(descriptor))
            assert process.returncode == 1
            last = said.strip().splitlines()[-1]
            for name, body in bodies.items():
                part = last.partition(f"data/{name}: ")[2]
                kept = Path(part.partition("its bytes are in ")[2].partition(";")[0])
                assert kept.read_bytes() == body

        # The next mount saves them, as nobody else has.
        with home.mounted("again", *options) as path:
            eventually(lambda: sorted(os.listdir(path / "data")) == sorted(bodies))
            for name, body in bodies.items():
                eventually(lambda name=name, body=body: (path / "data" / name).read_bytes() == body)
