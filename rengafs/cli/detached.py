"""Starting a rengafs process in the background, and learning how that went.

Once ready, the process has a session of its own (`Notifier` sees to it), so that neither
Ctrl-C nor a closed terminal reaches it, and ``/`` to stand in, so that it keeps no directory
busy. Until then it stays in our process group: while systemd mounts an ``.automount``, every
process of another group that so much as looks at the mount point waits for the mount.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rengafs.cli import logs
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.notify import Report

SYSTEMD_VARIABLE = "NOTIFY_SOCKET"
"""Systemd waits for its own process, so one that is started here must not speak for it."""
LARGEST_REPORT = 1 << 16
GIVE_UP_SECONDS = 10.0
"""A process that did not get ready has so long to undo what it began."""


def start(arguments: Sequence[str], *, log: Path, seconds: float, what: str) -> str:
    """Start ``rengafs ARGUMENTS`` and return what it says when it is ready.

    Raises `SetupError` with the process's own reason and exit code where it fails, or does
    not get ready within *seconds*; it has ended then.

    :param log: where its log lines and its standard output go.
    :param what: names the process in messages, as in "the service".
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    try:
        try:
            process = _spawn(arguments, log, writing)
        finally:
            os.close(writing)
        try:
            report = _wait_for_report(reading, seconds)
        except BaseException:
            _end(process)
            raise
    finally:
        os.close(reading)
    if report is None or not report.ready:
        ended_by_itself = report is not None
        _end(process)
        raise _reason(report, ended_by_itself, log, seconds, what)
    _let_go(process)
    return report.ready


def _spawn(arguments: Sequence[str], log: Path, writing: int) -> "subprocess.Popen[bytes]":
    # -P: the current directory, "/", must not become a place to import from.
    command = [sys.executable, "-P", "-m", "rengafs", "--ready-fd", str(writing)]
    command += ["--log-file", str(log), *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[writing],
            cwd="/",
            env={name: value for name, value in os.environ.items() if name != SYSTEMD_VARIABLE},
        )


def _wait_for_report(reading: int, seconds: float) -> Report | None:
    """Return the report; an empty one if the process ended without; None if time is over."""
    deadline = time.monotonic() + seconds
    text = b""
    while len(text) < LARGEST_REPORT:
        if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        piece = os.read(reading, LARGEST_REPORT)
        if not piece:
            break
        text += piece
    try:
        return msgspec.json.decode(text, type=Report)
    except msgspec.DecodeError:
        return Report()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(GIVE_UP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _let_go(process: "subprocess.Popen[bytes]") -> None:
    # It is meant to outlive us, so Popen must not warn that nobody waited for it.
    process.returncode = 0


def _reason(
    report: Report | None, ended_by_itself: bool, log: Path, seconds: float, what: str
) -> Exception:
    if report is not None and report.problem:
        return refuse(Exit(report.code or Exit.FAILED), report.problem)
    line = logs.last_line(log)
    told = f": {line}" if line else ""
    if ended_by_itself:
        return refuse(Exit.FAILED, f"{what} ended before it was ready{told} (log: {log})")
    return refuse(Exit.TIMEOUT, f"{what} was not ready within {seconds:g} s{told} (log: {log})")
