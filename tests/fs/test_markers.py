"""What holds indexers back: found by name at the top and in each bucket, and never in the way."""

import errno
import io
import os
import subprocess
import tarfile

import pytest
from support.writing import eventually

NAMES = (".nomedia", ".trackerignore")


@pytest.mark.parametrize("name", NAMES)
def test_a_marker_is_an_empty_file_that_no_listing_shows(mount, bucket, name):
    (bucket / "sub").mkdir()

    for place in (mount, bucket):
        assert (place / name).is_file()
        assert (place / name).read_bytes() == b""
        assert name not in os.listdir(place)
    assert not (bucket / "sub" / name).exists()
    assert not (bucket / ".versions" / name).exists()


def test_touching_a_marker_makes_the_file(bucket):
    subprocess.run(["touch", bucket / ".nomedia"], check=True)

    assert os.listdir(bucket) == [".nomedia"]


def test_what_is_written_to_a_marker_is_a_file_with_its_version(bucket):
    (bucket / ".nomedia").write_text("mine")

    assert os.listdir(bucket) == [".nomedia"]
    assert (bucket / ".nomedia").read_text() == "mine"
    (save,) = (bucket / ".versions" / ".nomedia").iterdir()
    assert save.read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.chmod(0o600),
        lambda file: os.truncate(file, 5),
        lambda file: os.utime(file, (1, 1)),
        lambda file: os.setxattr(file, "user.note", b"x"),
    ],
    ids=["chmod", "truncate", "utime", "setxattr"],
)
def test_attributes_of_a_marker_are_those_of_the_file_that_comes_of_it(bucket, change):
    change(bucket / ".nomedia")

    assert os.listdir(bucket) == [".nomedia"]


def test_a_marker_that_is_removed_stays_away(bucket):
    (bucket / ".nomedia").unlink()

    assert not (bucket / ".nomedia").exists()
    with pytest.raises(FileNotFoundError):
        (bucket / ".nomedia").unlink()
    with (bucket / ".nomedia").open("x") as file:
        file.write("anew")
    assert (bucket / ".nomedia").read_text() == "anew"


def test_a_real_file_that_is_removed_or_renamed_is_gone(bucket):
    for name in NAMES:
        (bucket / name).write_text("real")

    (bucket / ".nomedia").unlink()
    (bucket / ".trackerignore").rename(bucket / "elsewhere")

    assert [name for name in NAMES if (bucket / name).exists()] == []


def test_an_archive_with_a_marker_in_it_is_unpacked(bucket, tmp_path):
    (tmp_path / ".nomedia").write_text("packed")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / ".nomedia", ".nomedia")

    subprocess.run(["tar", "xf", tmp_path / "a.tar"], cwd=bucket, check=True)
    subprocess.run(["rsync", "-a", tmp_path / ".nomedia", bucket / ".trackerignore"], check=True)

    assert [(bucket / name).read_text() for name in NAMES] == ["packed", "packed"]


def test_at_the_top_no_marker_becomes_a_file(mount):
    with pytest.raises(PermissionError):
        (mount / ".nomedia").touch()
    with pytest.raises(PermissionError):
        os.setxattr(mount / ".nomedia", "user.note", b"x")


def test_a_file_made_through_another_mount_takes_the_marker_s_place(shared_home, bucket):
    assert (bucket / ".nomedia").read_bytes() == b""

    with shared_home.mounted("other") as other:
        (other / bucket.name / ".nomedia").write_text("from elsewhere")
        eventually(lambda: (bucket / ".nomedia").read_text() == "from elsewhere")


def test_a_read_only_mount_has_markers_and_lets_nobody_change_them(shared_home, bucket):
    with shared_home.mounted("other", "--read-only") as other:
        assert (other / bucket.name / ".nomedia").is_file()
        with pytest.raises(OSError, match="Read-only") as refused:
            (other / bucket.name / ".nomedia").touch()

    assert refused.value.errno == errno.EROFS
    assert os.listdir(bucket) == []


def test_with_write_back_what_is_written_to_a_marker_is_saved(shared_home, bucket):
    with shared_home.mounted("other", "--write-back") as other:
        (other / bucket.name / ".nomedia").write_text("mine")
        assert (other / bucket.name / ".nomedia").read_text() == "mine"

    assert (bucket / ".nomedia").read_text() == "mine"


def test_a_mount_that_is_to_be_indexed_has_no_markers(shared_home, bucket):
    with shared_home.mounted("other", "--index") as other:
        assert not (other / ".nomedia").exists()
        assert not (other / bucket.name / ".trackerignore").exists()


def test_what_looks_for_a_marker_by_name_leaves_the_buckets_alone(shared_home, mount, bucket):
    (bucket / "sub").mkdir()
    (bucket / "sub" / "f").write_text("x")

    def visited(top, name):
        command = ["tar", "-c", f"--exclude-tag-all={name}", "-C", top, "."]
        packed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120).stdout
        return tarfile.open(fileobj=io.BytesIO(packed)).getnames()

    for name in NAMES:
        assert visited(mount, name) == []
        assert visited(bucket, name) == []
    with shared_home.mounted("other", "--index") as other:
        assert f"./{bucket.name}/sub/f" in visited(other, ".nomedia")
