"""What POSIX suites found, or would: one claim each, on a real mount."""

import ctypes
import errno
import os
import subprocess

import pytest

RENAME_EXCHANGE, RENAME_WHITEOUT = 2, 4
AT_SYMLINK_FOLLOW = 0x400


def saves(path):
    """Return the contents that history shows for a name, oldest first."""
    history = path.parent / ".versions" / path.name
    return [save.read_bytes() for save in sorted(history.iterdir())] if history.exists() else []


def exchange(one, other):
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), RENAME_EXCHANGE)
    assert done == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def replaced(bucket):
    """A file that is open, and that another of its name has replaced; as (fd, path)."""
    path = bucket / "f"
    path.write_bytes(b"old")
    fd = os.open(path, os.O_RDWR)
    try:
        (bucket / "temporary").write_bytes(b"new")
        (bucket / "temporary").rename(path)
        yield fd, path
    finally:
        os.close(fd)


def fails(expected, action, *arguments, **more):
    with pytest.raises(OSError, match=rf"\[Errno {expected}\]"):
        action(*arguments, **more)


def test_attributes_of_an_unlinked_file_can_be_set_while_it_is_open(bucket):
    fd = os.open(bucket / "f", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.unlink(bucket / "f")
        os.fchmod(fd, 0o600)
        os.fchown(fd, 5, 6)
        status = os.fstat(fd)
    finally:
        os.close(fd)

    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o600, 5, 6)
    assert status.st_nlink == 0


def test_what_is_done_to_a_replaced_file_does_not_reach_the_one_that_replaced_it(replaced):
    fd, path = replaced
    before = path.stat()

    os.fchmod(fd, 0o400)
    os.utime(fd, ns=(1, 1))
    fails(errno.ENOENT, os.setxattr, fd, "user.a", b"1")
    os.write(fd, b"gone with it")
    os.fsync(fd)
    with open(f"/proc/self/fd/{fd}", "r+b") as again:
        again.write(b"as well")

    after = path.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert "user.a" not in os.listxattr(path)
    assert path.read_bytes() == b"new"
    assert saves(path) == [b"old", b"new"]


def test_a_replaced_file_cant_be_linked_again(replaced):
    fd, path = replaced
    link = path.with_name("link")

    libc = ctypes.CDLL(None, use_errno=True)
    open_file = f"/proc/self/fd/{fd}".encode()
    assert libc.linkat(-100, open_file, -100, os.fsencode(link), AT_SYMLINK_FOLLOW) == -1
    assert ctypes.get_errno() == errno.ENOENT
    assert not link.exists()


def test_fsync_by_a_reader_commits_what_another_wrote_as_part_of_that_save(bucket):
    path = bucket / "f"
    with path.open("wb", buffering=0) as writer, path.open("rb") as reader:
        writer.write(b"half")
        os.fsync(reader.fileno())
        assert saves(path) == [b"half"]
        writer.write(b" and half")

    assert saves(path) == [b"half and half"]


def test_closing_a_second_writer_does_not_split_the_save_of_the_first(bucket):
    path = bucket / "f"
    with path.open("wb", buffering=0) as first:
        first.write(b"half")
        path.open("r+b").close()
        first.write(b" and half")

    assert saves(path) == [b"half and half"]


def test_truncating_by_name_while_another_writes_goes_with_that_save(bucket):
    path = bucket / "f"
    with path.open("wb", buffering=0) as writer:
        writer.write(b"1234")
        os.truncate(path, 2)
        assert path.stat().st_size == 2
        writer.write(b"56")

    assert saves(path) == [b"12\0\x0056"]


def test_emptying_an_empty_file_renews_its_time(bucket):
    path = bucket / "stamp"
    path.touch()
    os.utime(path, ns=(1, 1))
    path.open("wb").close()

    assert path.stat().st_mtime_ns > 1
    assert saves(path) == []


def test_ftruncate_to_the_same_length_renews_the_time_and_makes_no_version(bucket):
    path = bucket / "f"
    path.write_bytes(b"1234")
    os.utime(path, ns=(1, 1))
    with path.open("r+b") as file:
        file.truncate(4)

    assert path.stat().st_mtime_ns > 1
    assert saves(path) == [b"1234"]


def test_a_directory_counts_its_subdirectories(bucket):
    one, other = bucket / "one", bucket / "other"
    one.mkdir()
    other.mkdir()
    (one / "file").touch()
    links = [(one.stat().st_nlink, other.stat().st_nlink)]
    for change in (
        (one / "sub").mkdir,
        lambda: (one / "sub").rename(other / "sub"),
        (other / "sub").rmdir,
    ):
        change()
        links.append((one.stat().st_nlink, other.stat().st_nlink))

    assert links == [(2, 2), (3, 2), (2, 3), (2, 2)]
    assert bucket.stat().st_nlink == 4


def test_a_hard_linked_file_that_was_replaced_has_a_name_less(bucket):
    one, other = bucket / "one", bucket / "other"
    one.write_bytes(b"1")
    os.link(one, other)
    (bucket / "new").write_bytes(b"2")
    assert other.stat().st_nlink == 2
    with other.open("ab") as out:
        (bucket / "new").rename(one)
        assert other.stat().st_nlink == 1
        out.write(b"1")

    assert (one.read_bytes(), other.read_bytes()) == (b"2", b"11")


def test_a_length_that_no_disk_takes_is_refused(bucket):
    path = bucket / "f"
    path.write_bytes(b"1")

    fails(errno.EFBIG, os.truncate, path, 999_999_999_999_999)
    fails(errno.EFBIG, os.truncate, path, 1 << 60)
    with path.open("r+b", buffering=0) as file:
        file.seek(0, os.SEEK_END)
        file.write(b"2")
        fails(errno.EFBIG, file.truncate, (1 << 63) - 1)
        fails(errno.EFBIG, os.pwrite, file.fileno(), b"3", (1 << 63) - 2)
    assert path.read_bytes() == b"12"


def test_files_that_were_exchanged_are_each_saved_where_they_stand_now(bucket):
    one, other = bucket / "one", bucket / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    with other.open("ab") as out:
        exchange(one, other)
        out.write(b"2")

    assert (one.read_bytes(), other.read_bytes()) == (b"22", b"1")


@pytest.mark.parametrize(
    "name",
    ["x" * 255, "a~123", "f.~1~", "%renga%2e", " a ", "-a", "a\nb", "e\u0301", "é", b"\xff\xfe"],
)
def test_any_name_can_be_given(bucket, name):
    path = os.path.join(os.fsencode(bucket), os.fsencode(name))
    with open(path, "xb") as out:
        out.write(b"1")

    assert os.listdir(os.fsencode(bucket)) == [os.fsencode(name)]
    with open(path, "rb") as file:
        assert file.read() == b"1"


def test_what_the_mount_cannot_do_says_so(bucket):
    path = bucket / "f"
    path.touch()

    fails(errno.ENAMETOOLONG, (bucket / ("x" * 256)).touch)
    fails(errno.EOPNOTSUPP, os.setxattr, path, "trusted.a", b"1")
    fails(errno.EOPNOTSUPP, os.open, bucket, os.O_TMPFILE | os.O_RDWR)
    fails(errno.EPERM, os.setxattr, path, "user.renga.id", b"1")
    fails(errno.EPERM, (bucket.parent / "file").touch)
    fails(errno.EPERM, (bucket.parent / ".bucket").mkdir)
    fails(errno.EEXIST, (bucket / ".versions").mkdir)
    fails(errno.EROFS, (bucket / ".versions").rmdir)
    fails(errno.EPERM, os.link, path, bucket.parent / "file")
    elsewhere = bucket.parent / "elsewhere"
    elsewhere.mkdir()
    fails(errno.EXDEV, os.link, path, elsewhere / "file")


def test_after_an_exchange_unsaved_bytes_still_go_where_their_file_goes(bucket):
    (bucket / "a").write_text("a")
    with (bucket / "b").open("wb", buffering=0) as out:
        out.write(b"first")
        exchange(bucket / "a", bucket / "b")
        out.write(b" and more")
        (bucket / "old").write_text("old")
        (bucket / "a").rename(bucket / "old")  # what is open, by its new name

        assert (bucket / "old").read_bytes() == b"first and more"
    assert (bucket / "b").read_text() == "a"
    saves = sorted((bucket / ".versions" / "old").iterdir())
    assert saves[0].read_text() == "old"
    assert saves[-1].read_text() == "first and more"


def test_positions_of_a_listing_stay_good_when_it_goes_back_and_forward(bucket):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    libc.telldir.argtypes = libc.readdir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    for number in range(1200):  # more than a page of the service
        (bucket / f"{number:0200}").touch()  # long: a buffer holds about a hundred
    stream = libc.opendir(os.fsencode(bucket))
    assert stream, os.strerror(ctypes.get_errno())

    def read():
        entry = libc.readdir(stream)
        return entry and ctypes.string_at(entry + 19)  # d_name of a dirent with 64-bit offsets

    try:
        told = [(libc.telldir(stream), read())]
        while told[-1][1]:
            told.append((libc.telldir(stream), read()))
        for place in (1100, 3, 1150, 0, 1199, 2, 1190, 500):
            position, name = told[place]
            libc.seekdir(stream, position)
            assert read() == name
    finally:
        libc.closedir(stream)


def test_a_whiteout_is_no_way_to_rename(bucket):
    (bucket / "f").touch()
    libc = ctypes.CDLL(None, use_errno=True)
    paths = [os.fsencode(bucket / name) for name in "fg"]
    assert libc.renameat2(-100, paths[0], -100, paths[1], RENAME_WHITEOUT) == -1
    assert ctypes.get_errno() == errno.EINVAL
    assert os.listdir(bucket) == ["f"]


def test_setting_the_time_of_access_alone_changes_the_status(bucket):
    path = bucket / "f"
    path.touch()
    before = path.stat()
    os.utime(path, ns=(before.st_atime_ns + 1, before.st_mtime_ns))
    after = path.stat()
    assert after.st_atime_ns == before.st_atime_ns + 1
    assert after.st_mtime_ns == before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


@pytest.mark.parametrize("below", [".", "sub", ".versions"])
def test_a_directory_lists_itself_and_its_parent_first(bucket, below):
    (bucket / "sub").mkdir()
    (bucket / "sub" / "f").touch()
    where = bucket / below
    listed = subprocess.run(["ls", "-aif", where], check=True, capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    assert [name for _, name in rows[:2]] == [".", ".."]
    assert [int(number) for number, _ in rows[:2]] == [
        where.stat().st_ino,
        (where.parent if below != "." else bucket.parent).stat().st_ino,
    ]
    assert len(rows) == 2 + len(os.listdir(where))
