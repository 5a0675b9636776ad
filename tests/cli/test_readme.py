"""What the README shows, and what the Makefile prints, carried out."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rengafs.cli.main import rengafs

ROOT = Path(__file__).parents[2]


def test_the_example_in_python_runs_against_a_service(home, served):
    address, token = served
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        env={**home.environment, "RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=240,
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
        ["sh", "-ec", "\n".join(lines)], capture_output=True, text=True, timeout=240, check=False
    )
    unmounted = make("unmount")

    assert tried.stderr == ""
    assert tried.stdout.endswith("one\ntwo\n")
    assert unmounted.returncode == 0, unmounted.stderr
    assert home.leftovers() == []
    assert not home.mountpoint.exists()


PAGES = [ROOT / "README.md", ROOT / "rengafs/cli/RECIPES.md"]
SERVICE = ("service/README.md", "service/ADMINISTRATION.md", "backends/README.md")
SESSIONS = [
    session
    for page in PAGES
    for session in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
]


@pytest.mark.fuse
@pytest.mark.parametrize("session", SESSIONS, ids=["saves", "going back", "backup"])
def test_a_session_that_the_readme_shows_goes_as_it_shows(home, session):
    typed = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    shown = [line for line in session.splitlines() if not line.startswith("$ ")]
    mountpoint = home.mountpoint.rename(home.mountpoint.with_name("buckets"))
    binaries = Path(sys.executable).parent

    home.run("mount", str(mountpoint))
    try:
        done = subprocess.run(
            ["sh", "-c", "exec 2>&1\n" + "\n".join(typed)],
            cwd=mountpoint.parent,
            env={**home.environment, "PATH": f"{binaries}:{home.environment['PATH']}"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        home.run("umount", str(mountpoint))

    told = done.stdout.replace(str(mountpoint.parent), "/home/you")
    assert [_timeless(line) for line in told.splitlines()] == [_timeless(line) for line in shown]


def _timeless(line: str) -> str:
    """Return *line* without what differs from day to day, and from user to user."""
    line = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:]{6,8}(\.\d{3}Z)?", "TIME", line)
    line = re.sub(r"in change \d+", "in change N", line)
    return re.sub(r"(?<=-r--r--r-- 1 )\S+ \S+( +\d+) \w+ +\d+ [\d:]+", r"USER\1 DAY", line)


def commands_shown():
    """Every ``rengafs …`` that a page tells people to type, in a block or in a sentence."""
    for page in (*PAGES, *(ROOT / "rengafs" / page for page in SERVICE)):
        text = re.sub(r"```(toml|python|mermaid)\n.*?```", "", page.read_text(), flags=re.DOTALL)
        for line in re.findall(r"(?:^|`|[$|/(] *|bin/)(rengafs [a-z][^`\n]*)", text, re.MULTILINE):
            line = re.split(r" {2,}#| [|<>&] |\s*&& |[;]", line)[0]
            yield pytest.param(line.strip(), id=f"{page.stem}: {line.strip()}")


@pytest.mark.parametrize("line", sorted(set(commands_shown()), key=lambda param: param.id))
def test_a_command_that_a_page_shows_exists_with_the_options_shown(line):
    words = shlex.split(re.sub(r"\$\(.*?\)|…", "X", line), comments=True)[1:]
    command, ctx = rengafs, click.Context(rengafs, info_name="rengafs")
    while words and isinstance(command, click.Group):
        found = command.get_command(ctx, words[0])
        if found is None:
            assert not words[0].startswith("-")
            pytest.fail(f"there is no command {words[0]}")
        command, words = found, words[1:]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    own = words[: words.index("--")] if "--" in words else words
    said = {word.partition("=")[0] for word in own if word.startswith("-")}
    assert said <= known | {"--help", "-h"}
