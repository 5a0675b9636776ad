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
    """Every ``rengafs …`` that a page tells people to type, and whether it stands in a block."""
    for page in (*PAGES, *(ROOT / "rengafs" / page for page in SERVICE)):
        text = re.sub(r"```(toml|python|mermaid)\n.*?```", "", page.read_text(), flags=re.DOTALL)
        blocks = "".join(re.findall(r"```(?:console)?\n(.*?)```", text, re.DOTALL)).splitlines()
        for line in re.findall(r"(?:^|`|[$|/(] *|bin/)(rengafs [a-z][^`\n]*)", text, re.MULTILINE):
            whole = any(shown.endswith(line) for shown in blocks)
            line = re.split(r" {2,}#| [|<>&] |\s*&& |[;]", line)[0]
            yield pytest.param(line.strip(), whole, id=f"{page.stem}: {line.strip()}")


PLACEHOLDERS = {"ROLE": "reader", "SHELL": "bash", "TOPIC": "recipes"}
"""What stands for a value that a command takes one of a few for."""


@pytest.mark.parametrize(
    ("line", "whole"), sorted(set(commands_shown()), key=lambda param: param.id)
)
def test_a_command_that_a_page_shows_is_parsed_as_it_is_shown(line, whole):
    words = shlex.split(re.sub(r"\$\(.*?\)|…", "X", line), comments=True)[1:]
    words = [word.partition("|")[0] for word in words if not re.match(r"\[.*\]$", word)]
    words = [PLACEHOLDERS.get(word, word) for word in words]
    command, ctx = rengafs, click.Context(rengafs, info_name="rengafs")
    while words and isinstance(command, click.Group):
        found = command.get_command(ctx, words[0])
        if found is None:
            pytest.fail(f"there is no command {words[0]}")
        command, words = found, words[1:]
    if isinstance(command, click.Group):
        assert not whole, "a group alone does nothing"
        return
    try:
        command.make_context(line, list(words), parent=ctx)
    except click.exceptions.Exit:
        pass  # of --help
    except (click.MissingParameter, click.BadOptionUsage):
        assert not whole  # a sentence may name a command without what it needs


RUN = {
    "make mount": "cli/test_readme.py::test_make_mount_prints_five_lines",
    "make unmount": "cli/test_readme.py::test_make_mount_prints_five_lines",
    "make check": "it holds what CI runs; it is not run by what it checks",
    "make test": "it runs the tests",
    "make help": "test_shape.py::test_every_target_of_the_makefile_says",
    "apt-get install": "cli/test_clean_install.py::test_the_first_page_gets_to_a_mounted_bucket",
    "python3 -m venv": "cli/test_clean_install.py::test_the_first_page_gets_to_a_mounted_bucket",
    "~/.local/rengafs/bin/pip install": "cli/test_clean_install.py::test_the_first_page_gets_to",
    "mkdir ~/buckets": "cli/test_clean_install.py::test_the_first_page_gets_to_a_mounted_bucket",
    "rengafs mount --endpoint": "cli/test_renewal.py::test_a_token_file_that_is_rewritten",
    "rengafs units": "systemd/test_booted.py::test_a_mount_of_a_user_starts_and_ends",
    "systemctl --user": "systemd/test_booted.py::test_a_mount_of_a_user_starts_and_ends",
    "rengafs login --name institute": "cli/test_login.py::test_a_login_keeps_the_token_closed",
    "rengafs config show": "cli/test_configuration.py::",
    "rengafs doctor": "cli/test_doctor.py::",
    "/opt/rengafs/bin/rengafs units": "systemd/test_booted.py::test_a_killed_mount_is_started",
    "systemctl daemon-reload": "systemd/test_booted.py::test_a_killed_mount_is_started",
    "systemctl enable": "systemd/test_booted.py::test_a_killed_mount_is_started",
    "mkdir -p ~/.local/share/thunarx": "desktop/test_previous_versions.py::test_the_menu_of_a_file",
    "ln -s": "desktop/test_previous_versions.py::test_the_menu_of_a_file",
    "mkdir -p ~/.config/tumbler": "tumbler is not among the packages of the tests; tried by hand",
    'sed "s|^Excludes': "tumbler is not among the packages of the tests; tried by hand",
    "sed -i 's/^PRUNEFS": "plocate is not among the packages of the tests; tried by hand",
    "RENGAFS_SERVE_": "cli/test_service_data.py::test_commands_find_the_catalog",
    "sudo -u rengafs": "cli/test_service_data.py::test_commands_find_the_catalog",
    "https://": "cli/test_mounthelper.py::test_a_line_of_fstab_mounts_once",
    "rengafs bucket adopt": "backends/test_adopting.py::",
    "rengafs help dashboard": "cli/test_metrics.py::test_the_dashboard_is_printed",
}
"""How a line of a block of README and RECIPES begins → the test that runs such a one, or why none.

Blocks of ``console`` are run as they stand, and those of Python, too.
"""


def test_every_line_of_a_block_is_run_by_a_test_or_left_out_for_a_reason():
    shown = [
        line.strip()
        for page in PAGES
        for block in re.findall(r"```\n(.*?)```", _plain_blocks(page.read_text()), re.DOTALL)
        for line in block.splitlines()
        if line.strip() and "POSIX ──>" not in block
    ]
    found = {line: [start for start in RUN if line.startswith(start)] for line in shown}

    assert [line for line, starts in found.items() if len(starts) != 1] == []
    assert set(RUN) == {starts[0] for starts in found.values()}
    for told in RUN.values():
        file, colons, name = told.partition("::")
        if colons:
            assert f"def {name}" in (ROOT / "tests" / file).read_text(), told


def _plain_blocks(text):
    """Return *text* without the blocks that name a language."""
    return re.sub(r"```[a-z]+\n.*?```\n", "", text, flags=re.DOTALL)
