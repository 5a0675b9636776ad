"""Thunar's "Previous versions": the menu of the real file manager, and the window that opens."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from support.desktop import SYSTEM_PYTHON

pytestmark = pytest.mark.fuse

EXTENSION = Path(__file__).parents[2] / "rengafs/cli/desktop/thunar-extension"
ASK = """
import json, runpy, sys
extension = runpy.run_path(sys.argv[1], run_name="extension")
print(json.dumps([extension["versions_of"](path) for path in sys.argv[2:]]))
"""


@pytest.fixture(scope="module")
def _extension(home) -> None:
    """The extension, where Thunar reads those of a user."""
    place = home.path / ".local/share/thunarx-python/extensions"
    place.mkdir(parents=True)
    shutil.copy(EXTENSION, place / "rengafs.py")


@pytest.mark.usefixtures("_extension")
def test_the_menu_of_a_file_opens_a_window_with_its_saves(bucket, desktop, thunar, tmp_path):
    file = bucket / "report.txt"
    file.write_text("one")
    file.write_text("two")
    saves = sorted(path.name for path in (bucket / ".versions" / "report.txt").iterdir())

    window = thunar.open(bucket)
    desktop.click(desktop.find("table cell", "report.txt", window), button=3)
    action = desktop.find("menu item", "Previous versions")
    desktop.photograph(tmp_path / "menu.png")
    desktop.click(action)
    desktop.find("frame", "report.txt - Thunar")
    shown = [desktop.find("table cell", save, "report.txt - Thunar").name for save in saves]
    desktop.photograph(tmp_path / "versions.png")

    assert shown == saves
    assert len(saves) == 2
    desktop.until(lambda: not desktop.zombies(), "the end of what the menu started")


def test_files_of_a_mount_have_a_folder_of_saves_and_nothing_else_has(bucket):
    file = bucket / "sub" / "a.txt"
    versions = bucket / "sub" / ".versions" / "a.txt"
    asked = [file, versions, bucket, bucket.parent, Path("/etc/passwd")]

    said = subprocess.check_output([SYSTEM_PYTHON, "-c", ASK, EXTENSION, *asked], text=True)

    assert json.loads(said) == [str(versions), None, None, None, None]
