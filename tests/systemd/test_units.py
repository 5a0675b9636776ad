"""The units: systemd finds no fault in them, and what they start works with its sockets."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.systemd import activated

from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.client.retry import ask
from rengafs.protocol.errors import SetupError
from rengafs.protocol.messages import Request
from rengafs.service.listening import inherited

ROOT = Path(__file__).parents[2]
BINARIES = Path(sys.executable).parent
SYSTEM, USER = "system", "user"


@pytest.fixture
def installed(tmp_path):
    """Install the units of a scope below a directory; give where they are."""

    def install(scope):
        done = subprocess.run(
            ["make", "install-units", f"DESTDIR={tmp_path}"],
            cwd=ROOT,
            env={**os.environ, "SCOPE": scope, "HOME": "/home/you", "XDG_CONFIG_HOME": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        where = "etc/systemd/system" if scope == SYSTEM else "home/you/.config/systemd/user"
        return tmp_path / where

    return install


def analyze(*arguments, user=False):
    with tempfile.TemporaryDirectory() as runtime:
        return subprocess.run(
            ["systemd-analyze", *(["--user"] if user else []), "--no-pager", *arguments],
            env={**os.environ, "XDG_RUNTIME_DIR": runtime, "HOME": runtime},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.mark.parametrize("scope", [SYSTEM, USER])
def test_systemd_finds_no_fault_in_the_units(installed, scope):
    units = sorted(str(path) for path in installed(scope).iterdir())

    done = analyze("verify", "--man=no", *units, user=scope == USER)

    assert len(units) == 3
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_calls_the_service_ok(installed):
    """5.0 is where "medium" begins, in tenths."""
    unit = installed(SYSTEM) / "rengafs.service"

    done = analyze("security", "--offline=true", "--threshold=30", str(unit))

    assert done.returncode == 0, done.stdout
    assert "OK" in done.stdout.splitlines()[-1]


def test_the_helpers_of_mount_are_installed_for_the_machine(installed, tmp_path):
    installed(SYSTEM)

    for name in ("mount.rengafs", "umount.fuse.rengafs"):
        assert os.readlink(tmp_path / "usr/sbin" / name) == str(BINARIES / name)


def test_the_first_connection_starts_the_service_and_none_is_lost():
    root = Path(tempfile.mkdtemp(prefix="rengafs-unit-", dir="/tmp"))
    try:
        with activated(root / "socket", ["serve", "--listen", "systemd", "--data", root / "data"]):
            driver = BlockingDriver(Endpoint(f"unix:{root / 'socket'}"))
            try:
                reply = driver.run(ask(Request("GET", "/healthz"), harmless=True))
            finally:
                driver.close()
            assert reply.status == 200
        assert (root / "socket").exists(), "it is systemd's, not ours, to remove"
    finally:
        shutil.rmtree(root)


def test_without_a_socket_from_systemd_the_remedy_is_said():
    with pytest.raises(SetupError, match="hands over no sockets, not one; start rengafs"):
        inherited({}, insecure=False).__enter__()
    with pytest.raises(SetupError, match="hands over 2 sockets"):
        inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}, insecure=False).__enter__()
