"""Tables and pages: for people on a terminal, for pipes, and of many rows."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from rengafs.cli import output, transfers

SECONDS = 240.0


def rows(count):
    return ([str(number), "x" * (number % 7), f"name-{number}"] for number in range(count))


def test_a_long_table_is_printed_piece_by_piece_with_every_row(capsys):
    printed = []

    def coming():
        for number, row in enumerate(rows(25_000)):
            if number == 2_500:
                printed.append(capsys.readouterr().out)
            yield row

    output.table(["n", "x", "name"], coming())

    lines = (printed[0] + capsys.readouterr().out).splitlines()
    assert printed[0].count("\n") >= 1001
    assert [line.split()[-1] for line in lines] == ["name", *(f"name-{n}" for n in range(25_000))]
    assert lines[0].split() == ["n", "x", "name"]
    assert len({line.index("name-") for line in lines[1:1001]}) == 1  # in columns


def test_nothing_of_a_name_is_obeyed_by_the_terminal_or_breaks_a_line(capsys):
    output.table(["name"], [["a\nb\x1b[31m\r\udcff"], ["日本 é"]])

    assert capsys.readouterr().out.splitlines() == ["name", r"a\nb\x1b[31m\r\udcff", "日本 é"]


@pytest.fixture
def watching(home):
    """Start ``rengafs status --watch`` somewhere; it is ended by Ctrl-C, and must end well."""
    started = []

    def start(*arguments, **options):
        command = ["env", "--default-signal=INT", *home.program, "status", "--watch", *arguments]
        process = subprocess.Popen(
            command,
            env={**home.environment, "TERM": "xterm-256color", **options.pop("env", {})},
            start_new_session=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_off_a_terminal_each_page_of_a_watch_is_printed_at_once(watching):
    process = watching(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    assert process.stdout.readline()
    assert process.stdout.readline()
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said.strip()) == (130, "rengafs: interrupted")


def test_a_watch_in_json_is_a_document_a_line(watching):
    process = watching("--json", stdout=subprocess.PIPE, text=True)

    for _ in range(2):
        assert set(json.loads(process.stdout.readline())) == {"mounts", "services", "left"}
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)


@pytest.mark.fuse
def test_the_page_on_a_terminal_has_its_colours_and_fits_its_width(home, bucket, watching):
    terminal, end = pty.openpty()
    process = watching(stdin=end, stdout=end, stderr=end, env={"COLUMNS": "80", "LINES": "50"})
    os.close(end)
    shown, deadline = b"", time.monotonic() + SECONDS
    try:
        while shown.count(b"Ctrl-C ends it") < 2:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 1)[0]:
                shown += os.read(terminal, 65536)
        process.send_signal(signal.SIGINT)
        while process.poll() is None:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.1)[0]:
                with suppress(OSError):
                    shown += os.read(terminal, 65536)
    finally:
        os.close(terminal)
    text = shown.decode()
    assert "\x1b[1mmount" in text  # a bold title
    assert max(len(line) for line in without_codes(text).splitlines()) <= 80


def without_codes(text):
    """Return *text* without what steers the terminal; each page begins a line."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\x1b[H", "\n"))


def test_the_pace_of_what_is_sent_tells_rate_and_time_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(transfers.time, "monotonic", lambda: now[0])
    pace = transfers.Pace()

    told = []
    for waiting in (10 << 20, 8 << 20, 9 << 20, 7 << 20, 0):
        told.append(pace.told(waiting))
        now[0] += 1

    assert told[0] == ""
    assert told[1] == "2.0 MiB/s, 0:00:04 left"
    assert told[3] == "1.3 MiB/s, 0:00:05 left"
    assert told[4] == ""


LONG = """
import time
from rengafs.cli import transfers
transfers.LINE_SECONDS = 0.05
with transfers.transfer("moving data") as tell:
    for step in range(1, 31):
        tell(step << 20, 30 << 20)
        time.sleep(0.1)
"""


def test_what_is_long_draws_a_bar_with_rate_and_time_left_on_a_terminal():
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LONG],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    shown, deadline = b"", time.monotonic() + SECONDS
    try:
        while process.poll() is None or select.select([terminal], [], [], 0)[0]:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 65536)
                except OSError:
                    break  # its other end is closed
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    text = without_codes(shown.decode())
    assert "moving data" in text
    assert "━" in text
    assert re.search(r"\d+\.\d/30\.0 MiB +[\d.]+ MB/s +0:00:0\d", text), text


def test_what_is_long_tells_plain_lines_off_a_terminal():
    done = subprocess.run(
        [sys.executable, "-c", LONG], capture_output=True, text=True, timeout=SECONDS, check=True
    )

    lines = done.stderr.splitlines()
    assert len(lines) > 2
    assert all(re.fullmatch(r"rengafs: moving data: .* MiB of 30\.0 MiB", one) for one in lines)
    assert done.stdout == ""
