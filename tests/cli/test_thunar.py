"""Thunar's "Previous versions": which folder it opens. The window itself was looked at by eye."""

import sys
import types
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "rengafs/cli/desktop/thunar-extension"


@pytest.fixture
def extension(monkeypatch):
    """The extension, with names in place of Thunar, which no test starts."""
    gi = types.ModuleType("gi")
    gi.require_version = lambda *_: None
    repository = types.ModuleType("gi.repository")
    repository.GObject = types.SimpleNamespace(GObject=type("GObject", (), {}))
    repository.Thunarx = types.SimpleNamespace(MenuProvider=type("MenuProvider", (), {}))
    monkeypatch.setitem(sys.modules, "gi", gi)
    monkeypatch.setitem(sys.modules, "gi.repository", repository)
    loaded: dict[str, object] = {}
    exec(compile(SOURCE.read_text(), SOURCE, "exec"), loaded)
    return types.SimpleNamespace(**loaded)


@pytest.mark.fuse
def test_a_file_of_a_mount_has_a_folder_of_versions_and_nothing_else_has(extension, bucket):
    file = bucket / "sub" / "a.txt"
    file.parent.mkdir()
    file.write_text("one")

    versions = extension.versions_of(str(file))

    assert versions == str(bucket / "sub" / ".versions" / "a.txt")
    assert len(list(Path(versions).iterdir())) == 1
    assert extension.versions_of(str(bucket)) is None
    assert extension.versions_of(versions) is None
    assert extension.versions_of(str(bucket.parent)) is None
    assert extension.versions_of("/etc/passwd") is None
