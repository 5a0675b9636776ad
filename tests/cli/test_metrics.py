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
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import httpx
import pytest
import trio
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from support.writing import sync

from rengafs.fs import metrics
from rengafs.fs.reads.cache import CacheStatistics
from rengafs.fs.writes.unsent import Report

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


@pytest.fixture
def measured(home, served):
    """A mount that writes back and tells Prometheus: a function that asks it."""
    port = free_port()
    done = home.run(*of(home, served), "--metrics", f"127.0.0.1:{port}", home.mountpoint)
    assert done.returncode == 0, done.stderr
    try:
        yield lambda name: samples(port)[1][f"rengafs_mount_{name}", ()]
    finally:
        home.run("umount", home.mountpoint)


def of(home, served):
    """The beginning of the command that mounts a service over TCP, with a journal."""
    address, token = served
    (home.root / "token").write_text(token)
    where = ("--endpoint", address, "--token-file", home.root / "token")
    return ("mount", *where, "--write-back", "--drain-timeout", "1")


def test_bytes_that_are_unsent_are_told_while_the_service_stands_still(home, measured, until):
    (home.mountpoint / "data").mkdir()
    sync(home.mountpoint)
    (service,) = (pid for pid, line in home.processes().items() if " serve " in line)
    os.kill(service, signal.SIGSTOP)
    try:
        (home.mountpoint / "data" / "f").write_bytes(b"x" * 5000)

        assert measured("unsent_bytes") == 5000
        assert measured("unsent_files") == 1
    finally:
        os.kill(service, signal.SIGCONT)
    until(lambda: measured("unsent_bytes") == 0, "all is sent")


def test_hits_rise_by_what_is_read_again_and_the_lag_by_a_save_elsewhere(
    home, served, measured, until
):
    other = home.root / "other"
    other.mkdir()
    done = home.run(*of(home, served), "--cache-dir", home.root / "cache-2", other)
    assert done.returncode == 0, done.stderr
    try:
        until(lambda: measured("feed_live") == 1, "the feed is followed")
        (other / "data").mkdir()
        (other / "data" / "f").write_bytes(b"x" * 3_000_000)
        sync(other / "data" / "f")
        file = home.mountpoint / "data" / "f"
        until(file.exists, "the save is heard of")
        assert 0 < measured("feed_lag_seconds") < SECONDS

        assert anew(file) == 3_000_000
        assert measured("cache_misses_total") > 0
        before = measured("cache_hits_total")
        until(lambda: anew(file) and measured("cache_hits_total") > before, "it is in the cache")
    finally:
        home.run("umount", other)


def anew(file):
    """Read a file that the kernel is to have forgotten; return its length."""
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return len(opened.read())


async def test_what_changes_in_trio_is_read_in_trio_and_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(metrics, "READ_SECONDS", 0.2)
    counted = metrics.Metrics()
    here, told = threading.get_ident(), []

    def unsent():
        told.append(threading.get_ident())
        return Report(bytes=7)

    feed = metrics.FeedState(live=True, last=1, heard=0.0, lag=0.0)
    statistics = CacheStatistics(hits=1, misses=0, bytes=0, blocks=0, damaged=0, evicted=0)
    counted.look_at(lambda: statistics, unsent, lambda: feed)
    asked = partial(generate_latest, counted.registry)

    assert b"rengafs_mount_unsent_bytes 7.0" in await trio.to_thread.run_sync(asked)
    assert told == [here]
    with ThreadPoolExecutor(1) as pool:  # and the loop stands still meanwhile
        assert b"unsent_bytes" not in pool.submit(asked).result(SECONDS)


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
