"""What a listing of the repository and of the package promises, held."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import rengafs

ROOT = Path(__file__).parents[1]
TOP_LEVEL = {
    "rengafs",
    "tests",
    "systemd",
    "pyproject.toml",
    "Makefile",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
}
LONGEST_MODULE_LINES = 500
MODULES = sorted((ROOT / "rengafs").rglob("*.py"))
COMMAND_SECONDS = 300


def run(*command, **options):
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=True,
        **options,
    )


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def constraints():
    lines = (ROOT / ".constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def plain(name):
    """The name of a distribution as it is compared: PEP 503."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def test_the_top_level_holds_only_what_it_should():
    known = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)

    tops = {line.split("/")[0] for line in known.stdout.splitlines()}

    assert {top for top in tops if not top.startswith(".")} == TOP_LEVEL


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_and_stays_short(path):
    text = path.read_text()

    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= LONGEST_MODULE_LINES


def test_the_table_of_the_command_lines_modules_is_whole():
    table = (ROOT / "rengafs/cli/__init__.py").read_text()
    told = set(re.findall(r"^`(\w+)`", table, re.MULTILINE))

    modules = {path.stem for path in (ROOT / "rengafs/cli").glob("*.py")} - {"__init__"}

    assert told == modules | {"commands"}


def test_no_module_is_a_drawer_for_everything():
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}

    assert [path for path in MODULES if path.stem in drawers] == []


def test_everything_that_is_needed_is_pinned_and_nothing_twice():
    pins = [plain(line) for line in constraints()]
    settings = project()
    needed = settings["project"]["dependencies"] + settings["dependency-groups"]["dev"]

    assert sorted(set(pins)) == sorted(pins)
    assert {plain(name) for name in needed} - set(pins) == set()


def test_pins_are_exact_versions_and_name_no_host():
    for line in constraints():
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_every_target_of_the_makefile_says_what_it_does():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()

    shown = run("make", "help", cwd=ROOT).stdout

    for target in phony:
        assert re.search(rf"^  make {target} +\w", shown, re.MULTILINE), target


def test_the_module_runs_as_a_program(tmp_path):
    done = run(sys.executable, "-P", "-m", "rengafs", "--version", cwd=tmp_path)

    assert done.stdout == f"rengafs {rengafs.__version__}\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built with what is installed here: no network."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target]
    run(*build, ROOT)
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    packed = {name for name in names if ".dist-info/" not in name and ".data/" not in name}
    present = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rengafs").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == present
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_installs_manual_pages_completion_and_units(wheel):
    with zipfile.ZipFile(wheel) as archive:
        data = {name.partition(".data/data/")[2]: name for name in archive.namelist()}
        manual = archive.read(data["share/man/man1/rengafs-mount.1"]).decode()

    assert {
        "share/man/man1/rengafs.1",
        "share/man/man1/rengafs-bucket-grant.1",
        "share/bash-completion/completions/rengafs",
        "share/zsh/site-functions/_rengafs",
        "share/fish/vendor_completions.d/rengafs.fish",
        "share/thunarx-python/extensions/rengafs.py",
        "share/rengafs/systemd/system/rengafs.service",
        "share/rengafs/systemd/sysusers.d/rengafs.conf",
        "share/rengafs/systemd/user/rengafs.socket",
    } <= set(data)
    assert ".SH EXIT STATUS" in manual


def test_the_wheel_runs_outside_a_checkout(wheel, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    # Its dependencies are those of this environment; a path file there is not followed
    # from here, so the checkout itself stays out of sight.
    site = tmp_path / "venv" / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    version = run(python.with_name("rengafs"), "--version", cwd="/", env=environment)
    where = run(python, "-c", "import rengafs; print(rengafs.__file__)", cwd="/", env=environment)
    modules = ["rengafs.cli.commands.mount", "rengafs.service.run", "rengafs.fs.mounting"]
    run(python, "-c", "\n".join(f"import {name}" for name in modules), cwd="/", env=environment)

    assert version.stdout == f"rengafs {rengafs.__version__}\n"
    assert Path(where.stdout.strip()).is_relative_to(tmp_path)
