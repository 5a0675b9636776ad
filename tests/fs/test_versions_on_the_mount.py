"""The main job: work in a folder with any tool, and find every save under .versions."""

import hashlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest


def saves(file: Path) -> list[Path]:
    return sorted((file.parent / ".versions" / file.name).iterdir())


def contents(file: Path) -> list[bytes]:
    return [save.read_bytes() for save in saves(file)]


def names(directory: Path) -> list[str]:
    """Return the names that have a history; not the page that explains the place."""
    return sorted(set(os.listdir(directory / ".versions")) - {"README.txt"})


def test_each_close_after_writing_is_one_version(bucket):
    file = bucket / "report.csv"
    for text in ("one", "two", "three"):
        file.write_text(text)

    assert contents(file) == [b"one", b"two", b"three"]


def test_many_writes_and_fsyncs_of_one_open_are_one_version(bucket):
    file = bucket / "log"
    with file.open("wb") as out:
        for index in range(5):
            out.write(b"line %d\n" % index)
            out.flush()
            os.fsync(out.fileno())

    assert contents(file) == [b"".join(b"line %d\n" % index for index in range(5))]


def test_a_shell_loop_that_keeps_the_file_open_is_one_version(bucket):
    subprocess.run(
        ["sh", "-c", "(echo a; /bin/echo b; sh -c 'echo c') > f"], cwd=bucket, check=True
    )

    assert contents(bucket / "f") == [b"a\nb\nc\n"]


def test_versions_are_found_by_name_and_never_listed(bucket):
    (bucket / "d").mkdir()
    (bucket / "d" / "f").write_text("x")

    assert os.listdir(bucket) == ["d"]
    assert os.listdir(bucket / "d") == ["f"]
    assert (bucket / ".versions").is_dir()
    assert (bucket / "d" / ".versions").is_dir()
    found = subprocess.run(["find", bucket], capture_output=True, text=True, check=True).stdout
    assert ".versions" not in found


def test_a_save_is_read_only_and_says_when(bucket):
    before = time.time()
    file = bucket / "report.tar.gz"
    file.write_bytes(b"bytes")

    (save,) = saves(file)

    assert save.name.endswith("Z.tar.gz")
    assert save.stat().st_size == 5
    assert before - 1 < save.stat().st_mtime < time.time() + 1
    assert not save.stat().st_mode & 0o222
    for attempt in (
        lambda: save.write_bytes(b"other"),
        lambda: save.unlink(),
        lambda: save.rename(bucket / "moved"),
        lambda: (save.parent / "new").write_text("x"),
        lambda: os.truncate(save, 0),
        lambda: save.chmod(0o600),
    ):
        with pytest.raises(OSError, match=r"Read-only file system|Permission denied"):
            attempt()
    assert save.read_bytes() == b"bytes"


def test_a_copy_out_of_versions_restores(bucket):
    file = bucket / "f"
    file.write_text("good")
    file.write_text("bad")

    shutil.copyfile(saves(file)[0], file)

    assert file.read_text() == "good"
    assert contents(file) == [b"good", b"bad", b"good"]


def test_a_temporary_renamed_over_the_file_leaves_one_history(bucket):
    file = bucket / "f.txt"
    file.write_text("one")
    inode = file.stat().st_ino
    identity = os.getxattr(file, "user.renga.id")
    temporary = bucket / "f.txt.tmp"
    temporary.write_text("two")
    moved = temporary.stat().st_ino

    temporary.rename(file)

    assert file.read_text() == "two"
    assert contents(file) == [b"one", b"two"]
    assert os.getxattr(file, "user.renga.id") == identity
    assert file.stat().st_ino == moved != inode
    assert names(bucket) == ["f.txt"]


def test_a_file_that_was_replaced_while_open_still_reads_its_own_bytes(bucket):
    file = bucket / "f"
    file.write_bytes(b"old" * 1000)
    with file.open("rb") as reader:
        (bucket / "new").write_bytes(b"new!")
        (bucket / "new").rename(file)

        assert reader.read() == b"old" * 1000
        assert os.fstat(reader.fileno()).st_nlink == 0
    assert file.read_bytes() == b"new!"


def test_writing_on_after_the_rename_goes_to_the_renamed_file(bucket):
    file = bucket / "f"
    file.write_text("old")
    temporary = bucket / "t"
    with temporary.open("w") as out:
        out.write("new")
        out.flush()
        temporary.rename(file)
        out.write(" and more")

    assert file.read_text() == "new and more"
    assert contents(file)[0] == b"old"
    assert contents(file)[-1] == b"new and more"


def test_the_backup_dance_of_vim_and_emacs_keeps_every_save(bucket):
    file = bucket / "f"
    file.write_text("one")
    for text in ("two", "three"):
        file.rename(bucket / "f~")
        file.write_text(text)
        (bucket / "f~").unlink()

    assert contents(file) == [b"one", b"two", b"three"]
    assert names(bucket) == ["f"]


def test_real_vim_saves(bucket):
    file = bucket / "f.txt"
    for index in range(3):
        subprocess.run(
            [
                "vim",
                "-es",
                "-u",
                "NONE",
                "-c",
                f"call setline(1, 'save {index}')",
                "-c",
                "wq",
                file,
            ],
            check=True,
            timeout=240,
            env={**os.environ, "TERM": "dumb"},
        )

    assert contents(file) == [b"save 0\n", b"save 1\n", b"save 2\n"]
    assert names(bucket) == ["f.txt"]


def test_sed_in_place_keeps_every_save(bucket):
    file = bucket / "f"
    file.write_text("a\n")
    subprocess.run(["sed", "-i", "s/a/b/", file], check=True)
    subprocess.run(["sed", "-i", "s/b/c/", file], check=True)

    assert contents(file) == [b"a\n", b"b\n", b"c\n"]
    assert names(bucket) == ["f"]


def test_the_same_bytes_again_and_attributes_make_no_version(bucket):
    file = bucket / "f"
    file.write_text("same")
    file.write_text("same")
    file.chmod(0o640)
    os.utime(file, (1, 2))
    file.rename(bucket / "g")

    assert contents(bucket / "g") == [b"same"]
    assert (bucket / "g").stat().st_mtime == 2
    assert stat.S_IMODE((bucket / "g").stat().st_mode) == 0o640


def test_a_deleted_file_stays_under_versions(bucket):
    file = bucket / "gone.csv"
    file.write_text("kept")
    file.unlink()

    assert os.listdir(bucket) == []
    assert names(bucket) == ["gone.csv"]
    assert contents(file) == [b"kept"]


def test_a_deleted_directory_stays_under_versions(bucket):
    deep = bucket / "dir" / "sub"
    deep.mkdir(parents=True)
    (deep / "f").write_text("deep")
    shutil.rmtree(bucket / "dir")

    found = bucket / ".versions" / "dir" / "sub" / "f"
    assert [save.read_text() for save in found.iterdir()] == ["deep"]


def test_editor_droppings_leave_nothing(bucket):
    for name in (".f.swp", "f~", ".~lock.f#", ".goutputstream-ABC123"):
        (bucket / name).write_text("scratch")
        (bucket / name).unlink()

    assert names(bucket) == []


def test_which_names_are_droppings_can_be_chosen(home):
    home.environment["RENGAFS_DROPPINGS"] = "*.bak scratch-?"
    with home.mounted() as mount:
        bucket = mount / "bucket"
        bucket.mkdir()
        for name in ("f.bak", "scratch-1", "f~"):
            (bucket / name).write_text("x")
            (bucket / name).unlink()

        assert names(bucket) == ["f~"]


def test_the_history_of_a_renamed_file_is_found_under_both_names(bucket):
    (bucket / "a").write_text("one")
    (bucket / "a").rename(bucket / "b")
    (bucket / "b").write_text("two")

    assert contents(bucket / "b") == [b"one", b"two"]
    assert contents(bucket / "a") == [b"one"]


def test_what_versions_say_of_themselves(bucket):
    file = bucket / "f"
    file.write_text("one")
    file.write_text("two")
    first, second = saves(file)

    assert os.getxattr(file, "user.renga.version") == os.getxattr(second, "user.renga.version")
    assert os.getxattr(second, "user.renga.base") == os.getxattr(first, "user.renga.version")
    assert os.getxattr(first, "user.renga.sha256").decode() == hashlib.sha256(b"one").hexdigest()
    assert os.getxattr(first, "user.renga.id") == os.getxattr(file, "user.renga.id")
    assert os.getxattr(first, "user.renga.author")
    assert first.name.startswith(os.getxattr(first, "user.renga.created").decode())


def test_a_large_file_comes_back_whole_and_so_does_its_past(bucket, tmp_path):
    file = bucket / "big"
    first = os.urandom(24 << 20)
    file.write_bytes(first)
    with file.open("r+b") as out:
        out.seek(5 << 20)
        out.write(b"changed")
        out.truncate(20 << 20)
    second = bytearray(first[: 20 << 20])
    second[5 << 20 : (5 << 20) + 7] = b"changed"

    assert file.read_bytes() == second
    assert contents(file) == [first, bytes(second)]
