"""Detaching a mount, and waiting until its process has committed all and ended."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from rengafs.cli import output
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.locks import wait_for_lock
from rengafs.cli.mounttable import find_mount
from rengafs.cli.occupants import occupants
from rengafs.cli.paths import Paths
from rengafs.cli.processes import Process
from rengafs.cli.records import (
    MountRecord,
    drop_stale,
    not_committed,
    read_record,
    record_path,
    take_word,
)
from rengafs.cli.transfers import Tell, on_a_terminal

FUSERMOUNT = "fusermount3"
FUSERMOUNT_SECONDS = 30.0
EXIT_SECONDS = 10.0
"""For a process that has given up its record, and has nothing left to do but to exit."""
QUIET_SECONDS = 1.0
"""A wait is worth a word only from here on."""


def unmount(
    paths: Paths, mountpoint: Path, *, seconds: float, lazy: bool, say: Callable[[str], None]
) -> None:
    """Detach the mount at *mountpoint* and wait until its process has ended.

    Raises `SetupError` if nothing of ours is mounted there, a program uses it, or its
    process has not ended within *seconds* (it goes on, and loses nothing).

    :param lazy: detach at once, even if in use, and wait for nothing.
    :param say: told what is waited for.
    """
    record = record_path(paths, mountpoint)
    mounted = find_mount(mountpoint)
    if mounted is None and drop_stale(record):
        _tell_what_is_lost(record, mountpoint)
        raise refuse(Exit.NOT_MOUNTED, f"nothing is mounted at {mountpoint}")
    if mounted is not None and not mounted.ours:
        raise refuse(
            Exit.NOT_MOUNTED,
            f"{mountpoint} is a mount of type {mounted.type}, not of rengafs; "
            f"say: umount {mountpoint}",
        )
    with ExitStack() as held:
        process = _process_of(record, held)
        if mounted is not None:
            detach(mountpoint, lazy=lazy)
        if lazy:
            say(f"detached {mountpoint}; its process ends when the last file in it is closed")
            return
        _wait_for_end(record, mountpoint, seconds, say)
        if process is not None:
            process.wait(EXIT_SECONDS)
    _tell_what_is_lost(record, mountpoint)


def detach(mountpoint: Path, *, lazy: bool) -> None:
    """Take *mountpoint* out of the tree. Raises `SetupError` if a program uses it."""
    program = fusermount()
    command = [program, "-u", *(["-z"] if lazy else []), "--", str(mountpoint)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=FUSERMOUNT_SECONDS,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode == 0:
        return
    if "busy" in done.stderr:
        users = occupants(mountpoint)
        by = f" by {', '.join(users)}" if users else ""
        raise refuse(
            Exit.BUSY,
            f"{mountpoint} is in use{by}; close that, or detach it now with --lazy",
        )
    if find_mount(mountpoint) is None:
        return  # its process was told to end, and was quicker
    reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise refuse(Exit.REFUSED, f"can't unmount {mountpoint}: {reason[0]}")


def fusermount() -> str:
    """Return the path of fusermount3. Raises `SetupError` where it is not installed."""
    program = shutil.which(FUSERMOUNT)
    if program is None:
        raise refuse(Exit.NO_FUSE, f"{FUSERMOUNT} is not installed; say: apt-get install fuse3")
    return program


def _tell_what_is_lost(record: Path, mountpoint: Path) -> None:
    lost = take_word(record)
    if lost:
        raise not_committed(mountpoint, lost)


def _process_of(path: Path, held: ExitStack) -> Process | None:
    """Return the process of the record *path*, if it lives and this user may see it."""
    if drop_stale(path):
        return None
    record = read_record(path)
    with suppress(OSError):
        return held.enter_context(Process(record.pid)) if record else None
    return None


def _wait_for_end(path: Path, mountpoint: Path, seconds: float, say: Callable[[str], None]) -> None:
    record = read_record(path)
    process = f"process {record.pid}" if record else "its process"
    waited = _Waiting(path, process, mountpoint, say)
    try:
        with on_a_terminal("sending") as tell:
            lock = wait_for_lock(
                path,
                seconds=seconds,
                create=False,
                waiting=lambda passed: waited.look(passed, tell),
            )
    except FileNotFoundError:
        return  # its process removed it in the end
    if lock is None:
        raise refuse(
            Exit.TIMEOUT,
            f"{mountpoint} is unmounted, but after {seconds:g} s {process} still commits what "
            "was open; it goes on by itself (rengafs status shows it)",
        )
    lock.remove_and_release()  # of a process that was killed


class _Waiting:
    """Tells what is waited for: by a bar on a terminal, else by a line when it changes."""

    def __init__(
        self, record: Path, process: str, mountpoint: Path, say: Callable[[str], None]
    ) -> None:
        self._record, self._process, self._mountpoint, self._say = record, process, mountpoint, say
        self._said = ""
        self._most = 0

    def look(self, passed: float, tell: Tell | None) -> None:
        """Look at the record, and tell what it says."""
        if passed < QUIET_SECONDS:
            return
        record = read_record(self._record)
        if record is not None and record.unsent_files and tell is not None:
            self._most = max(self._most, record.unsent_bytes)
            tell(self._most - record.unsent_bytes, self._most)
            return
        word = self._word(record)
        if word != self._said:
            self._said = word
            self._say(word)

    def _word(self, record: MountRecord | None) -> str:
        if record is None or not record.unsent_files:
            return f"waiting for {self._process} to commit what was open in {self._mountpoint} …"
        size = output.size(record.unsent_bytes)
        return f"waiting for {self._process} to send {record.unsent_files} files, {size} …"
