"""What a starter hears: through the pipe, and as systemd."""

import os
import socket

import msgspec
import pytest

from rengafs.cli import detached
from rengafs.cli.exits import Exit
from rengafs.cli.notify import Notifier, Report
from rengafs.protocol.errors import SetupError


def test_the_pipe_carries_one_report_and_is_closed():
    reading, writing = os.pipe()
    notifier = Notifier(writing, {})

    notifier.ready("unix:/x")
    notifier.failed("too late", 1)

    with os.fdopen(reading, "rb") as pipe:
        assert msgspec.json.decode(pipe.read(), type=Report) == Report(ready="unix:/x")


@pytest.mark.parametrize("name", ["notify", "@rengafs-notify"])
def test_systemd_is_told(tmp_path, name):
    address = name.replace("@", "\0") if name.startswith("@") else str(tmp_path / name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(240)

        Notifier(None, {"NOTIFY_SOCKET": address.replace("\0", "@")}).ready("x")

        assert systemd.recv(100) == b"READY=1"


def test_a_systemd_that_is_gone_hurts_nobody(tmp_path):
    Notifier(None, {"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


def test_a_process_that_fails_hands_its_reason_and_code_to_the_starter(tmp_path):
    with pytest.raises(SetupError, match="missing argument 'DIR'") as caught:
        detached.start(["mount"], log=tmp_path / "log", seconds=30, what="the test")

    assert caught.value.details["exit"] == Exit.USAGE


def test_a_process_that_says_nothing_is_quoted_from_its_log(tmp_path):
    with pytest.raises(SetupError, match=r"the test ended before it was ready: rengafs 0"):
        detached.start(["--version"], log=tmp_path / "log", seconds=30, what="the test")
