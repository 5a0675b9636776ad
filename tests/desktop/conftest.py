"""Thunar on a desktop of its own, in a home with a real mount."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.desktop import Desktop, Thunar, running_desktop
from support.mounts import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[Home]:
    """A user for all tests of a module."""
    made = Home(tmp_path_factory.mktemp("home"))
    try:
        yield made
    finally:
        made.kill_all()


@pytest.fixture(scope="module")
def mount(home) -> Iterator[Path]:
    """A mount for all tests of a module."""
    with home.mounted() as path:
        yield path


@pytest.fixture
def bucket(mount, request) -> Path:
    """A bucket of the test's own, with a short name: it stands in a window's title."""
    path = mount / f"bucket-{len(list(mount.iterdir()))}"
    path.mkdir()
    return path


@pytest.fixture(scope="module")
def desktop(home) -> Iterator[Desktop]:
    """A desktop for all tests of a module."""
    with running_desktop(home) as made:
        yield made


SETTINGS = """<channel name="thunar" version="1.0">
  <property name="default-view" type="string" value="ThunarDetailsView"/>
</channel>
"""


@pytest.fixture(scope="module")
def _settings(home) -> None:
    """Rows, not icons: a reader of the screen is told of rows only."""
    channels = home.path / ".config/xfce4/xfconf/xfce-perchannel-xml"
    channels.mkdir(parents=True)
    (channels / "thunar.xml").write_text(SETTINGS)


@pytest.fixture
def thunar(_settings, desktop, tmp_path) -> Iterator[Thunar]:
    """Thunar, that quits with the test; the screen at its end is in the test's directory."""
    started = Thunar(desktop)
    try:
        yield started
        desktop.photograph(tmp_path / "at-the-end.png")
    finally:
        started.quit()


@pytest.fixture(scope="module")
def handler(home) -> Path:
    """What the program that opens text writes into: the path it was given, and the text."""
    opened, program = home.path / "opened", home.path / "open-text"
    said = f'printf "%s: %s\\n" "$1" "$(cat "$1")" > {opened}.new'
    program.write_text(f"#!/bin/sh\n{said}\nmv {opened}.new {opened}\n")
    program.chmod(0o755)
    applications = home.path / ".local/share/applications"
    applications.mkdir(parents=True)
    entry = (
        f"[Desktop Entry]\nType=Application\nName=Text\nExec={program} %f\nMimeType=text/plain;\n"
    )
    (applications / "text.desktop").write_text(entry)
    (applications / "mimeapps.list").write_text("[Default Applications]\ntext/plain=text.desktop\n")
    return opened
