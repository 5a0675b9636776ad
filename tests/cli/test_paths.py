"""Where things lie, without and with the XDG variables."""

import os

import pytest

from rengafs.cli import paths
from rengafs.protocol.errors import SetupError


def test_the_variables_say_where_things_lie(home, monkeypatch):
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)

    found = paths.find_paths()

    assert found.data == home.root / "data" / "rengafs"
    assert found.cache == home.root / "cache" / "rengafs"
    assert found.state == home.root / "state" / "rengafs"
    assert found.runtime == home.root / "run" / "rengafs"
    assert found.runtime.stat().st_mode & 0o777 == 0o700


def test_without_the_variables_things_lie_where_the_specification_says(home, monkeypatch):
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home.root))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home.root / "run"))

    found = paths.find_paths()

    assert found.data == home.root / ".local" / "share" / "rengafs"
    assert found.cache == home.root / ".cache" / "rengafs"
    assert found.state == home.root / ".local" / "state" / "rengafs"


def test_the_session_directory_serves_where_the_variable_is_unset(home):
    session = home.root / "sessions" / str(os.getuid())
    session.mkdir(parents=True)

    found = paths.choose_runtime("", session.parent, home.root)

    assert found == session / "rengafs"


@pytest.mark.parametrize("given", ["", "relative/path"])
def test_a_private_directory_serves_where_there_is_no_session(home, given):
    found = paths.choose_runtime(given, home.root / "nowhere", home.root)

    assert found == home.root / f"rengafs-{os.getuid()}"
    assert found.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_enter_is_closed(home):
    found = home.root / f"rengafs-{os.getuid()}"
    found.mkdir()
    found.chmod(0o755)

    assert paths.choose_runtime("", home.root / "nowhere", home.root) == found
    assert found.stat().st_mode & 0o777 == 0o700


def test_a_link_in_the_place_of_the_private_directory_is_not_followed(home):
    (home.root / f"rengafs-{os.getuid()}").symlink_to(home.root / "run")

    with pytest.raises(SetupError, match="is a link or belongs to someone else"):
        paths.choose_runtime("", home.root / "nowhere", home.root)
