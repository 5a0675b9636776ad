"""Small disks, for what happens when one is full. Needs root, as CI has it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(mebibytes: int = 4) -> Iterator[Path]:
    """Give a directory on a disk of its own.

    Not below pytest's directories: another run of pytest sweeps those, and what is mounted
    can't be swept.
    """
    with tempfile.TemporaryDirectory(prefix="rengafs-disk-") as name:
        options = f"size={mebibytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", name], check=True)


def resize(disk: Path, mebibytes: int) -> None:
    """Give a small disk another size."""
    subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", disk], check=True)
