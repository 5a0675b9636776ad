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


@pytest.mark.fuse
def test_the_session_that_the_readme_shows_goes_as_it_shows(home):
    (session,) = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    typed = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    shown = [line for line in session.splitlines() if not line.startswith("$ ")]
    home.mountpoint.rename(home.mountpoint.with_name("buckets"))
    mountpoint = home.mountpoint.with_name("buckets")

    home.run("mount", str(mountpoint))
    try:
        done = subprocess.run(
            ["sh", "-ec", "\n".join(typed)],
            cwd=mountpoint.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        home.run("umount", str(mountpoint))

    assert done.stderr == ""
    assert [_timeless(line) for line in done.stdout.splitlines()] == [
        _timeless(line) for line in shown
    ]


def _timeless(line: str) -> str:
    """Return *line* without what differs from day to day, and from user to user."""
    line = re.sub(r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z", "TIME", line)
    return re.sub(r"(?<=-r--r--r-- 1 )\S+ \S+( +\d+) \w+ +\d+ [\d:]+", r"USER\1 DAY", line)
