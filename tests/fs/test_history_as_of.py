"""The directory as it was: ordinary tools walk it, and nothing in it can be changed."""

import datetime as dt
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest


def now() -> str:
    """Return this moment, once it is surely behind every change before and before all after."""
    stamp = dt.datetime.now(dt.UTC)
    while dt.datetime.now(dt.UTC) - stamp < dt.timedelta(milliseconds=5):
        time.sleep(0.001)
    moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    while dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds") == moment:
        time.sleep(0.001)
    return moment


def then(directory: Path, moment: str) -> Path:
    return directory / ".versions" / f"@{moment}"


def run(*command: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def past(bucket, tmp_path) -> tuple[Path, Path, str]:
    """A bucket that has changed in every way, a copy of what it was, and the moment of it."""
    deep = bucket / "dir" / "sub"
    deep.mkdir(parents=True)
    (deep / "kept").write_text("one")
    (deep / "changed").write_text("old")
    (deep / "deleted").write_text("was here")
    (bucket / "renamed").write_text("before")
    (bucket / "link").symlink_to("dir/sub/kept")
    (bucket / "tool").write_text("#!/bin/sh\n")
    (bucket / "tool").chmod(0o755)
    (bucket / "gone").mkdir()
    (bucket / "gone" / "f").write_text("in a directory that goes")
    shutil.copytree(bucket, tmp_path / "copy", symlinks=True)
    moment = now()
    (deep / "changed").write_text("new and longer")
    (deep / "deleted").unlink()
    (bucket / "renamed").rename(bucket / "other")
    (bucket / "tool").chmod(0o600)
    (bucket / "link").unlink()
    shutil.rmtree(bucket / "gone")
    (deep / "added").write_text("later")
    (bucket / "dir").rename(bucket / "dir2")
    return bucket, tmp_path / "copy", moment


def test_diff_finds_the_directory_as_it_was(past):
    bucket, copy, moment = past

    assert run("diff", "-r", copy, then(bucket, moment)).stdout == ""
    differences = run("diff", "-rq", then(bucket, moment), bucket).stdout
    assert "Only in" in differences


def test_copy_and_tar_and_grep_walk_it(past, tmp_path):
    bucket, copy, moment = past
    view = then(bucket, moment)

    assert run("cp", "-a", view, tmp_path / "restored").returncode == 0
    assert run("diff", "-r", "--no-dereference", copy, tmp_path / "restored").stdout == ""
    assert run("tar", "-C", view, "-cf", tmp_path / "t.tar", ".").stderr == ""
    assert run("tar", "-C", copy, "-df", tmp_path / "t.tar").stdout == ""
    found = run("grep", "-rl", "was here", view).stdout.split()
    assert found == [str(view / "dir" / "sub" / "deleted")]


def test_sizes_modes_times_and_links_are_those_of_then(past):
    bucket, copy, moment = past
    view = then(bucket, moment)

    assert stat.S_IMODE((view / "tool").stat().st_mode) == 0o755
    assert (view / "dir" / "sub" / "changed").stat().st_size == 3
    assert os.readlink(view / "link") == "dir/sub/kept"
    assert (view / "link").read_text() == "one"
    for name in ("tool", "renamed", "dir/sub/kept"):
        assert (view / name).stat().st_mtime == pytest.approx((copy / name).stat().st_mtime, abs=1)
    assert os.getxattr(view / "renamed", "user.renga.id") == os.getxattr(
        bucket / "other", "user.renga.id"
    )


def test_inode_numbers_are_apart_from_the_live_ones_and_stay(past):
    bucket, _, moment = past
    view = then(bucket, moment)

    live = {path.lstat().st_ino for path in bucket.rglob("*")}
    first = {path: path.lstat().st_ino for path in view.rglob("*")}
    again = {path: path.lstat().st_ino for path in view.rglob("*")}

    assert first == again
    assert len(set(first.values())) == len(first)
    assert not live & set(first.values())


def test_nothing_in_it_can_be_changed_and_no_history_is_inside(past):
    bucket, _, moment = past
    view = then(bucket, moment)

    for attempt in (
        lambda: (view / "renamed").write_text("x"),
        lambda: (view / "new").write_text("x"),
        lambda: (view / "new").mkdir(),
        lambda: (view / "renamed").unlink(),
        lambda: (view / "renamed").chmod(0o600),
        lambda: (view / "dir" / "sub" / "kept").rename(view / "x"),
    ):
        with pytest.raises(OSError, match="Read-only file system"):
            attempt()
    assert not (view / ".versions").exists()
    assert not (view / "dir" / ".versions").exists()


def test_a_deleted_directory_has_a_past_too(past):
    bucket, _, moment = past

    gone = bucket / ".versions" / "gone"

    assert (then(bucket, moment) / "gone" / "f").read_text() == "in a directory that goes"
    assert (gone / f"@{moment}" / "f").read_text() == "in a directory that goes"
    assert not (gone / f"@{now()}").exists()


def test_a_bucket_is_not_there_before_it_was_made_and_nothing_is_to_come(bucket):
    for moment in ("1990-01-01", "2100-01-01", "2100-01-01T00:00:00+01:00"):
        with pytest.raises(FileNotFoundError):
            os.listdir(then(bucket, moment))
    before = now()
    (bucket / "later").mkdir()
    with pytest.raises(FileNotFoundError):
        os.listdir(then(bucket / "later", before))


def test_a_day_means_its_end_so_today_is_now(bucket):
    (bucket / "f").write_text("today")
    today = dt.datetime.now().astimezone()

    for form in ("%Y-%m-%d", "%Y-%m-%dT%H", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M%z"):
        assert (then(bucket, today.strftime(form)) / "f").read_text() == "today"


def test_a_moment_is_read_with_any_zone(bucket):
    (bucket / "f").write_text("old")
    moment = dt.datetime.fromisoformat(now())
    (bucket / "f").write_text("new")

    for hours in (-5, 0, 9):
        zone = dt.timezone(dt.timedelta(hours=hours))
        text = moment.astimezone(zone).isoformat(timespec="milliseconds")
        assert (then(bucket, text) / "f").read_text() == "old"
    local = moment.astimezone().replace(tzinfo=None).isoformat(timespec="milliseconds")
    assert (then(bucket, local) / "f").read_text() == "old"


def test_what_is_no_moment_is_a_name(bucket):
    (bucket / "@types").mkdir()
    (bucket / "@types" / "index").write_text("x")
    shutil.rmtree(bucket / "@types")

    assert os.listdir(bucket / ".versions" / "@types") == ["index"]
    assert not (bucket / ".versions" / "@nonsense").exists()


def test_the_top_as_it_was_lists_the_buckets_of_then(bucket):
    (bucket / "f").write_text("x")
    moment = now()
    (bucket / "f").unlink()
    other = bucket.parent / f"{bucket.name}-2"
    bucket.rename(other)

    view = then(bucket.parent, moment)

    assert bucket.name in os.listdir(view)
    assert other.name not in os.listdir(view)
    assert (view / bucket.name / "f").read_text() == "x"


def test_a_view_lists_more_entries_than_a_page_has(bucket):
    files = [f"{index:05}" for index in range(1005)]
    for name in files:
        (bucket / name).touch()
    moment = now()
    for name in files[::200]:
        (bucket / name).unlink()

    assert sorted(os.listdir(then(bucket, moment))) == files


def test_each_save_is_found_by_its_name_among_many(bucket):
    file = bucket / "f.txt"
    for index in range(30):
        file.write_text(f"save {index}")

    saves = sorted(os.listdir(bucket / ".versions" / "f.txt"))

    contents = [(bucket / ".versions" / "f.txt" / save).read_text() for save in saves]
    assert contents == [f"save {index}" for index in range(30)]
    for name in ("nonsense", "2020-01-01T000000.000Z.txt", f"{saves[0]}x"):
        assert not (bucket / ".versions" / "f.txt" / name).exists()
