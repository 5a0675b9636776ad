"""What ``rengafs doctor`` and ``status`` say of what is broken, each with its remedy."""

import json
import os
import select
import signal
import time

import pytest

from rengafs.cli import diagnosing
from rengafs.cli.paths import Paths
from rengafs.client.access.settings import Settings
from rengafs.client.access.tokens import ENDPOINT_VARIABLE, TOKEN_VARIABLE

pytestmark = pytest.mark.fuse


def bad(home, **options):
    """Return what the doctor finds bad: texts by what is looked at."""
    done = home.run("doctor", "--json", **options)
    found = [one for one in json.loads(done.stdout) if one["state"] == "bad"]
    assert done.returncode == (1 if found else 0), done.stderr
    ours = (one for one in found if one["what"] != "mount" or str(home.root) in one["text"])
    return {one["what"]: one["text"] for one in ours}


def mounts(home):
    """Return what status tells of this home's mounts; it tells of others' on the machine, too."""
    told = json.loads(home.run("status", "--json").stdout)["mounts"]
    return [one for one in told if one["mountpoint"].startswith(str(home.root))]


def process(home, word):
    (found,) = (pid for pid, line in home.processes().items() if f" {word} " in line)
    return found


@pytest.fixture
def mounted(home):
    done = home.run("mount", home.mountpoint)
    assert done.returncode == 0, done.stderr
    yield home.mountpoint
    home.run("umount", home.mountpoint)


def test_a_mount_whose_process_stands_still_keeps_nobody_waiting(home, mounted, refused):
    number = process(home, "mount")
    os.kill(number, signal.SIGSTOP)
    try:
        (told,) = mounts(home)
        assert (told["state"], told["pid"]) == ("does not answer", number)
        text = home.run("status").stdout
        assert f"its process {number} does not answer; wait, or end it" in text
        assert f"rengafs umount {mounted}" in text
        assert "does not answer" in refused(home.run("status", mounted))
        assert f"process {number} does not answer" in bad(home)["mount"]
    finally:
        os.kill(number, signal.SIGCONT)
    (told,) = mounts(home)
    assert told["state"] == "mounted"


def test_a_mount_whose_process_was_killed_is_told(home, mounted):
    number = process(home, "mount")
    handle = os.pidfd_open(number)
    os.kill(number, signal.SIGKILL)
    select.select([handle], [], [], 240)
    os.close(handle)

    assert f"say: rengafs umount {mounted}" in bad(home)["mount"]
    (told,) = mounts(home)
    assert told["state"] == "dead"


def test_an_embedded_service_that_stands_still_is_told(home, mounted):
    number = process(home, "serve")
    os.kill(number, signal.SIGSTOP)
    try:
        assert f"is silent; see its log in {home.state}" in bad(home)["embedded service"]
    finally:
        os.kill(number, signal.SIGCONT)


def test_mounting_that_is_refused_is_told_though_the_device_opens(home):
    done = home.run(
        "doctor", "--json", prefix=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    )

    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert found["fuse"]["state"] == "ok"
    assert found["mounting"]["state"] == "bad"
    assert (
        "not permitted); start the container with --cap-add SYS_ADMIN" in found["mounting"]["text"]
    )
    assert bad(home).get("mounting") is None
    assert home.mounts() == []


def test_a_directory_that_cannot_be_written_is_told(home):
    closed = home.root / "data"
    closed.mkdir(mode=0o500)

    done = home.run(
        "doctor", "--json", prefix=("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    )

    found = {one["what"]: one for one in json.loads(done.stdout)}
    assert found["data"]["state"] == "bad"
    assert found["data"]["text"] == f"{closed} can't be written; say: chown {os.getuid()} {closed}"


def test_a_clock_that_is_off_is_told(home, served, monkeypatch):
    address, token = served
    monkeypatch.setenv(ENDPOINT_VARIABLE, address)
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 60 * 10**9)
    settings = Settings(file=home.root / "config.toml")
    paths = Paths(home.data, home.root / "cache", home.state, home.runtime)

    found = {one.what: one for one in diagnosing._service(settings, paths)}

    assert found["clock"].state == "bad"
    assert "this clock is +60 s off the service's; say: timedatectl" in found["clock"].text


def test_what_the_doctor_finds_is_printed_line_by_line(home):
    lines = home.run("doctor").stdout.splitlines()

    assert lines[0].split()[:2] == ["ok", "version"]
    assert len(lines) >= 10
