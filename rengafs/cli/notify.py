"""Telling whoever started this process how the start went: by a pipe, and to systemd.

The pipe carries one JSON object, `Report`. Its other end is `rengafs.cli.detached`.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

import msgspec


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a start went: *ready* with what to tell, or the *problem* with its exit code."""

    ready: str = ""
    """The service's address, or the mount point."""
    problem: str = ""
    code: int = 0


class Notifier:
    """Says once that this process is ready, or why it is not."""

    def __init__(
        self,
        descriptor: int | None,
        environment: Mapping[str, str] = os.environ,
        *,
        leave: bool = False,
    ) -> None:
        """*descriptor* is the pipe's end for writing, if the starter gave one.

        :param leave: once ready, begin a session of our own: out of the starter's terminal.
        """
        self._leave = leave
        self._descriptor = descriptor
        self._systemd = environment.get("NOTIFY_SOCKET", "")
        if descriptor is not None:
            # What this process starts must not hold the pipe open.
            os.set_inheritable(descriptor, False)

    def ready(self, what: str) -> None:
        """Say that the service or the mount works."""
        self._report(Report(ready=what))
        if self._systemd:
            _tell_systemd(self._systemd, b"READY=1")

    def failed(self, problem: str, code: int) -> None:
        """Say why it does not; nothing, if it was said before that it does."""
        self._report(Report(problem=problem, code=code))

    def _report(self, report: Report) -> None:
        if self._descriptor is None:
            return
        if report.ready and self._leave:
            with suppress(PermissionError):  # of one that leads a group already
                os.setsid()
        with suppress(BrokenPipeError):  # the starter did not wait; we run all the same
            os.write(self._descriptor, msgspec.json.encode(report))
        os.close(self._descriptor)
        self._descriptor = None


def _tell_systemd(address: str, message: bytes) -> None:
    # "@" stands for the NUL of the abstract namespace: sd_notify(3).
    path = "\0" + address[1:] if address.startswith("@") else address
    # Suppressed, because a systemd that is gone must not end us.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, suppress(OSError):
        channel.connect(path)
        channel.sendall(message)
