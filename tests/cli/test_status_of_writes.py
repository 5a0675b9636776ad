"""What `rengafs status` tells of what is written: of a file, of mounts, of mounts that ended."""

import json
import os
import signal

import pytest
from support.writing import sync


def _service(home):
    for pid, line in home.processes().items():
        if " serve " in line:
            return pid
    raise AssertionError("no service")


@pytest.fixture
def behind(home):
    """A bucket on a mount that writes back, and gives up soon when it ends."""
    options = ["--write-back", "--drain-timeout", "1", "--patience", "2"]
    done = home.run("mount", *options, home.mountpoint)
    assert done.returncode == 0, done.stderr
    made = home.mountpoint / "data"
    made.mkdir()
    (made / "f").write_bytes(b"before")
    sync(home.mountpoint)
    yield made
    home.run("umount", home.mountpoint)


def test_a_file_is_clean_dirty_or_on_its_way(home, behind):
    def state():
        return json.loads(home.run("status", behind / "f", "--json").stdout)["state"]

    assert state() == "clean"
    with (behind / "f").open("ab", buffering=0) as out:
        out.write(b"more")
        # Not by a command: a process that is started from here closes the file, too.
        assert os.getxattr(behind / "f", "user.renga.state") == b"dirty"
    service = _service(home)
    os.kill(service, signal.SIGSTOP)
    try:
        (behind / "f").write_bytes(b"after")
        assert state().startswith(("uploading", "failed: "))
    finally:
        os.kill(service, signal.SIGCONT)
    sync(behind / "f")
    assert home.run("status", behind / "f").stdout.strip().endswith(": clean")


def test_a_path_that_is_in_no_mount_is_refused(home, refused):
    (home.root / "plain").write_text("x")
    assert "not a file in a mount" in refused(home.run("status", home.root / "plain"))


def test_what_a_mount_left_is_listed_until_the_next_has_sent_it(home, behind, until):
    service = _service(home)
    os.kill(service, signal.SIGSTOP)
    try:
        (behind / "f").write_bytes(b"after")
        # A service that is away says nothing; the end of the mount does not wait for ever.
        leaving = home.start("umount", home.mountpoint)
        until(lambda: "by the next mount" in home.log("mount"), "the mount has given up")
    finally:
        os.kill(service, signal.SIGCONT)
    _, said = leaving.communicate(timeout=240)
    assert leaving.returncode == 1
    assert "data/f" in said
    (left,) = json.loads(home.run("status", "--json").stdout)["left"]
    assert (left["name"], left["bytes"]) == ("data/f", 5)
    assert "left unsent: data/f" in home.run("status").stdout

    assert home.run("mount", home.mountpoint).returncode == 0
    assert (behind / "f").read_bytes() == b"after"
    assert json.loads(home.run("status", "--json").stdout)["left"] == []
