"""The original SDK, as the package registry has it, in a virtual environment of its own.

It is made once, under ``.cache/`` of the checkout, under a lock, so that test processes
may run at a time; the file ``complete`` says that it is whole.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

RELEASE = "renga==0.1.0.dev20171123"
PLACE = Path(__file__).parents[2] / ".cache" / "original-sdk"


def original_python() -> Path:
    """Return a Python that has the original SDK installed; fails where it can't be."""
    python = PLACE / "bin" / "python"
    PLACE.parent.mkdir(exist_ok=True)
    with PLACE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (PLACE / "complete").exists():
            shutil.rmtree(PLACE, ignore_errors=True)
            _run(sys.executable, "-m", "venv", PLACE)
            _run(python, "-m", "pip", "install", "--quiet", RELEASE)
            _run(python, "-W", "ignore", "-c", "import renga")
            (PLACE / "complete").touch()
    return python


def _run(*command: str | os.PathLike[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        shown = " ".join(map(str, command))
        raise RuntimeError(f"{shown} failed:\n{done.stdout}\n{done.stderr}")
