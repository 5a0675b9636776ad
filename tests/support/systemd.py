"""Socket activation without a booted systemd: its own ``systemd-socket-activate``."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 120.0


@contextmanager
def activated(address: Path, arguments: Sequence[object]) -> Iterator["subprocess.Popen[str]"]:
    """Listen at *address* as systemd does; ``rengafs ARGUMENTS`` starts with a connection."""
    command = ["systemd-socket-activate", "-l", str(address), "-E", "PATH", "-E", "HOME"]
    command += [sys.executable, "-P", "-m", "rengafs", *(str(one) for one in arguments)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("Listening on"), line
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
