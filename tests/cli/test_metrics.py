"""What a mount tells Prometheus, the dashboard for it, and the live page of ``rengafs status``."""

import importlib.resources
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from contextlib import suppress

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.fuse
SECONDS = 240.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def samples(port):
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS).text
    families = text_string_to_metric_families(text)
    return text, {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }


def test_a_mount_counts_requests_errors_the_cache_and_the_feed_and_names_nothing(home, until):
    port = free_port()
    done = home.run("mount", "--metrics", f"127.0.0.1:{port}", home.mountpoint)
    assert done.returncode == 0, done.stderr
    try:
        secret = home.mountpoint / "secret-bucket"
        secret.mkdir()
        (secret / "secret.txt").write_text("x")
        with pytest.raises(OSError, match="not empty"):
            secret.rmdir()

        text, found = samples(port)

        name = "rengafs_mount_request_seconds_count"
        assert found[name, (("request", "mkdir"),)] == 1
        key = (("errno", "ENOTEMPTY"), ("request", "rmdir"))
        assert found["rengafs_mount_errors_total", key] == 1
        assert found["rengafs_mount_unsent_bytes", ()] == 0
        assert ("rengafs_mount_cache_hits_total", ()) in found
        until(lambda: samples(port)[1]["rengafs_mount_feed_live", ()] == 1, "the feed is followed")
        assert "secret" not in text
        wanted = set(re.findall(r"rengafs_mount_\w+", dashboard()))
        known = {sample for sample, _labels in found} | {"rengafs_mount_request_seconds_bucket"}
        assert wanted <= known
    finally:
        assert home.run("umount", home.mountpoint).returncode == 0
    assert home.leftovers() == []


def dashboard():
    return importlib.resources.files("rengafs.fs").joinpath("dashboard.json").read_text()


def test_the_dashboard_is_printed_as_grafana_imports_it(home):
    done = home.run("help", "dashboard")

    assert json.loads(done.stdout) == json.loads(dashboard())
    assert len(json.loads(done.stdout)["panels"]) == 9


def test_a_port_that_is_taken_and_what_is_no_address(home, refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        done = home.run("mount", "--metrics", address, home.mountpoint)

        assert f"can't listen for metrics on {address}" in refused(done)
    assert "is not an address" in refused(home.run("mount", "--metrics", "9464", home.mountpoint))
    assert home.leftovers() == []


def test_a_live_page_shows_mounts_until_ctrl_c(home, bucket):
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        # Also where the tests were started with the signal ignored, as shells do behind "&".
        ["env", "--default-signal=INT", *home.program, "status", "--watch"],
        env={**home.environment, "TERM": "xterm", "COLUMNS": "180"},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    try:
        shown = b""
        deadline = time.monotonic() + SECONDS
        while shown.count(str(home.mountpoint).encode()) < 2:  # drawn anew, once at least
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:  # read on: it draws once more, and a terminal takes little
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.1)[0]:
                with suppress(OSError):  # its end: the program has gone
                    shown += os.read(terminal, 65536)
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    assert b"mounted" in shown
    assert b"Traceback" not in shown
