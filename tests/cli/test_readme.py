"""What the README shows, and what the Makefile prints, carried out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_example_in_python_runs_against_a_service(home, served):
    address, token = served
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        env={**home.environment, "RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    saved = sorted(line.split()[-1] for line in done.stdout.splitlines())
    assert saved == ["b'one\\n'", "b'two\\n'"]


@pytest.mark.fuse
def test_make_mount_prints_five_lines_that_work_and_make_unmount_leaves_nothing(home):
    def make(target):
        return subprocess.run(
            ["make", f"MOUNTPOINT={home.mountpoint}", target],
            cwd=ROOT,
            env=home.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    mounted = make("mount")
    assert mounted.returncode == 0, mounted.stderr
    told, *lines = mounted.stdout.splitlines()
    assert told.startswith(f"mounted {home.mountpoint};")
    assert len(lines) == 5

    tried = subprocess.run(
        ["sh", "-ec", "\n".join(lines)], capture_output=True, text=True, timeout=60, check=False
    )
    unmounted = make("unmount")

    assert tried.stderr == ""
    assert tried.stdout.endswith("one\ntwo\n")
    assert unmounted.returncode == 0, unmounted.stderr
    assert home.leftovers() == []
    assert not home.mountpoint.exists()
