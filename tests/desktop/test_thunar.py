"""A file manager at work on a mount: real windows, a real mouse, and what comes of it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.fuse


def saves(file: Path) -> list[bytes]:
    """Return what history shows for a name, oldest first."""
    history = file.parent / ".versions" / file.name
    return [save.read_bytes() for save in sorted(history.iterdir())] if history.exists() else []


def is_same(one: Path, other: Path) -> bool:
    return other.exists() and not subprocess.run(["diff", "-r", one, other], check=False).returncode


def test_a_window_shows_the_files_and_the_free_space_that_there_is(
    bucket, desktop, thunar, tmp_path
):
    (bucket / "note.txt").write_text("x" * 12345)
    (bucket / "sub").mkdir()

    buckets = thunar.open(bucket.parent)
    desktop.click(desktop.find("table cell", bucket.name, buckets), times=2)
    window = desktop.find("frame", f"{bucket.name} - Thunar").name

    desktop.find("table cell", "note.txt", window)
    desktop.find("table cell", "sub", window)
    status = desktop.find("status bar", "Free space", window).name.replace("\xa0", " ")
    desktop.photograph(tmp_path / "window.png")
    assert "12345 bytes" in status
    shown, unit = re.search(r"Free space: ([\d.]+) (\wiB)", status).groups()
    room = os.statvfs(bucket)
    free = room.f_bavail * room.f_frsize / 1024 ** " KMGT".index(unit[0])
    assert float(shown) == pytest.approx(free, rel=0.1)


def test_a_folder_that_is_dragged_in_arrives_whole_with_one_version_a_file(
    bucket, desktop, thunar, tmp_path
):
    source = tmp_path / "work"
    tree = source / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "deep" / "b.bin").write_bytes(os.urandom(300_000))
    (tree / "deep" / "empty").touch()
    old, new = thunar.open(source, left=True), thunar.open(bucket)

    desktop.drag(
        desktop.find("table cell", "tree", old),
        desktop.below(desktop.find("table column header", "Name", new)),
    )
    desktop.until(lambda: is_same(tree, bucket / "tree"), "the tree in the bucket")
    desktop.find("table cell", "tree", new)
    desktop.photograph(tmp_path / "dragged.png")

    for file in ("a.txt", "deep/b.bin"):
        assert saves(bucket / "tree" / file) == [(tree / file).read_bytes()]
    assert saves(bucket / "tree" / "deep" / "empty") == []  # nothing was ever written to it
    assert os.listdir(bucket) == ["tree"]
    assert set(os.listdir(bucket / ".versions")) == {"tree", "README.txt"}


def test_a_file_is_opened_by_its_program_with_its_path_on_the_mount(
    bucket, desktop, thunar, handler
):
    file = bucket / "note.txt"
    file.write_text("words")

    window = thunar.open(bucket)
    desktop.click(desktop.find("table cell", "note.txt", window), times=2)
    desktop.until(handler.exists, "the program that opens text")

    assert handler.read_text() == f"{file}: words\n"
    assert saves(file) == [b"words"]


def test_a_file_is_renamed_and_keeps_its_history(bucket, desktop, thunar, tmp_path):
    old, new = bucket / "draft.txt", bucket / "final.txt"
    old.write_text("one")
    old.write_text("two")
    number = old.stat().st_ino

    window = thunar.open(bucket)
    desktop.click(desktop.find("table cell", "draft.txt", window))
    desktop.keys("F2")
    desktop.find("label", "new name")
    desktop.photograph(tmp_path / "renaming.png")
    desktop.keys("ctrl+a")
    desktop.type("final.txt")
    desktop.keys("Return")
    desktop.find("table cell", "final.txt", window)

    assert os.listdir(bucket) == ["final.txt"]
    assert new.stat().st_ino == number
    assert saves(new) == [b"one", b"two"]


def test_the_properties_tell_the_size(bucket, desktop, thunar, tmp_path):
    (bucket / "zeros.bin").write_bytes(bytes(1_234_567))

    window = thunar.open(bucket)
    desktop.click(desktop.find("table cell", "zeros.bin", window))
    desktop.keys("alt+Return")
    shown = desktop.find("label", "1234567", "zeros.bin - Properties")
    desktop.photograph(tmp_path / "properties.png")

    assert shown.name.replace("\xa0", " ") == "1.2 MiB (1234567 bytes)"


def test_what_is_deleted_for_good_is_in_the_history(bucket, desktop, thunar, tmp_path):
    (bucket / "gone.txt").write_text("still here")
    (bucket / "folder").mkdir()
    (bucket / "folder" / "b.txt").write_text("and here")

    window = thunar.open(bucket)
    desktop.click(desktop.find("table cell", "gone.txt", window))
    desktop.keys("ctrl+a", "shift+Delete")
    desktop.find("label", "permanently")
    desktop.photograph(tmp_path / "asked.png")
    desktop.click(desktop.find("push button", "Delete"))
    desktop.until(lambda: not os.listdir(bucket), "an empty bucket")

    assert saves(bucket / "gone.txt") == [b"still here"]
    (kept,) = (bucket / ".versions" / "folder" / "b.txt").iterdir()
    assert kept.read_text() == "and here"


def test_who_deletes_is_asked_since_there_is_no_trash(mount, bucket, desktop, thunar, tmp_path):
    (bucket / "gone.txt").write_text("still here")
    before = os.listdir(mount)

    window = thunar.open(bucket)
    desktop.click(desktop.find("table cell", "gone.txt", window))
    desktop.keys("Delete")
    desktop.find("label", "Do you want to permanently delete it?")
    desktop.photograph(tmp_path / "asked.png")
    assert os.listdir(bucket) == ["gone.txt"]
    desktop.click(desktop.find("push button", "Yes"))
    desktop.until(lambda: not os.listdir(bucket), "an empty bucket")

    assert saves(bucket / "gone.txt") == [b"still here"]
    assert os.listdir(mount) == before
    assert not (mount / f".Trash-{os.getuid()}").exists()


def test_gio_trash_takes_nothing_and_says_why(mount, bucket, desktop):
    (bucket / "gone.txt").write_text("still here")
    before = os.listdir(mount)

    said = desktop.run("gio", "trash", bucket / "gone.txt", check=False)

    assert "Unable to find or create trash directory" in said
    assert (bucket / "gone.txt").read_text() == "still here"
    assert os.listdir(mount) == before
