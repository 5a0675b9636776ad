"""What a legacy tool takes for granted, on a real mount."""

import ctypes
import errno
import fcntl
import mmap
import os
import subprocess
from pathlib import Path

import pytest


def fails_with(number: int):
    return pytest.raises(OSError, match=rf"\[Errno {number}\]")


def test_directories_are_made_and_removed(bucket):
    (bucket / "a" / "b" / "c").mkdir(parents=True)
    (bucket / "a" / "b" / "c" / "f").write_text("x")

    with fails_with(errno.ENOTEMPTY):
        (bucket / "a" / "b" / "c").rmdir()
    (bucket / "a" / "b" / "c" / "f").unlink()
    (bucket / "a" / "b" / "c").rmdir()

    assert os.listdir(bucket / "a" / "b") == []


def test_buckets_stand_at_the_top_and_nothing_else_does(mount):
    (mount / "made").mkdir()
    (mount / "made").rename(mount / "renamed")

    assert "renamed" in os.listdir(mount)
    assert "made" not in os.listdir(mount)
    with fails_with(errno.EPERM):
        (mount / "file").write_text("x")
    with fails_with(errno.EPERM):
        (mount / ".hidden").mkdir()
    with fails_with(errno.EPERM):
        (mount / "link").symlink_to("renamed")
    assert not (mount / ".Trash-1000").exists()
    (mount / "renamed" / "f").write_text("x")
    with fails_with(errno.ENOTEMPTY):
        (mount / "renamed").rmdir()
    (mount / "renamed" / "f").unlink()
    (mount / "renamed").rmdir()


def test_writes_anywhere_in_a_file(bucket):
    file = bucket / "f"
    file.write_bytes(b"0123456789")
    with file.open("r+b") as out:
        out.seek(3)
        out.write(b"abc")
        out.seek(20)
        out.write(b"end")
    with file.open("ab") as out:
        out.write(b"!")

    assert file.read_bytes() == b"012abc6789" + bytes(10) + b"end!"


def test_sizes_grow_and_shrink_open_or_not(bucket):
    file = bucket / "f"
    file.write_bytes(b"0123456789")
    os.truncate(file, 4)
    assert file.read_bytes() == b"0123"
    os.truncate(file, 6)
    assert file.read_bytes() == b"0123\0\0"
    with file.open("r+b") as out:
        out.truncate(2)
        assert os.fstat(out.fileno()).st_size == 2
        assert file.stat().st_size == 2
    assert file.read_bytes() == b"01"


def test_what_one_process_writes_another_reads_at_once(bucket):
    file = bucket / "f"
    with file.open("wb", buffering=0) as out:
        out.write(b"first ")
        with file.open("rb") as reader:
            assert reader.read() == b"first "
            out.write(b"second")
            assert reader.read() == b"second"
        assert file.stat().st_size == 12


def test_an_unlinked_file_stays_readable_and_writable_while_open(bucket):
    file = bucket / "f"
    file.write_bytes(b"bytes")
    with file.open("r+b") as both:
        file.unlink()
        assert not file.exists()
        assert both.read() == b"bytes"
        both.write(b" and more")
        both.seek(0)
        assert both.read() == b"bytes and more"
        assert os.fstat(both.fileno()).st_nlink == 0
    assert os.listdir(bucket) == []


def test_exclusive_creation(bucket):
    (bucket / "f").write_text("x")

    with fails_with(errno.EEXIST):
        os.open(bucket / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)


@pytest.mark.parametrize("size", [0, 1, 131_072, 1_048_577])
def test_times_modes_and_sizes_are_kept(bucket, size):
    file = bucket / "f"
    file.write_bytes(b"x" * size)
    file.chmod(0o604)
    os.utime(file, ns=(1_111_111_111_123_456_789, 1_222_222_222_987_654_321))

    found = file.stat()

    assert found.st_size == size
    assert found.st_mode & 0o7777 == 0o604
    assert found.st_mtime_ns == 1_222_222_222_987_654_321
    assert found.st_atime_ns == 1_111_111_111_123_456_789
    assert found.st_blocks == -(-size // 512)


def test_times_set_before_close_survive_it(bucket):
    file = bucket / "f"
    with file.open("wb", buffering=0) as out:
        out.write(b"x")
        os.utime(out.fileno(), ns=(5, 7))

    assert file.stat().st_mtime_ns == 7


def test_links_and_special_files(bucket):
    (bucket / "f").write_text("x")
    (bucket / "s").symlink_to("f")
    (bucket / "dangling").symlink_to("nowhere/at/all")
    os.link(bucket / "f", bucket / "h")
    os.mkfifo(bucket / "p")

    assert (bucket / "s").read_text() == "x"
    assert os.readlink(bucket / "dangling") == "nowhere/at/all"
    assert (bucket / "h").stat().st_ino == (bucket / "f").stat().st_ino
    assert (bucket / "f").stat().st_nlink == 2
    assert (bucket / "p").is_fifo()
    (bucket / "h").write_text("through the other name")
    assert (bucket / "f").read_text() == "through the other name"


def test_renames(bucket):
    (bucket / "d").mkdir()
    for index in range(20):
        (bucket / "d" / f"f{index}").write_text(str(index))
    (bucket / "d").rename(bucket / "e")
    (bucket / "e" / "f3").rename(bucket / "f3")

    assert (bucket / "e" / "f7").read_text() == "7"
    assert (bucket / "f3").read_text() == "3"
    assert len(os.listdir(bucket / "e")) == 19
    with fails_with(errno.EINVAL):
        (bucket / "e").rename(bucket / "e" / "inside")
    with fails_with(errno.EISDIR):
        (bucket / "f3").rename(bucket / "e")
    with fails_with(errno.ENOTDIR):
        (bucket / "e").rename(bucket / "f3")
    (bucket / "empty").mkdir()
    (bucket / "e").rename(bucket / "empty")
    assert len(os.listdir(bucket / "empty")) == 19


def test_files_move_between_buckets_with_their_history(bucket, mount):
    other = mount / "another bucket"
    other.mkdir()
    (bucket / "f").write_text("one")
    (bucket / "f").write_text("two")

    (bucket / "f").rename(other / "g")

    assert (other / "g").read_text() == "two"
    saves = sorted((other / ".versions" / "g").iterdir())
    assert [save.read_text() for save in saves] == ["one", "two"]


def test_names_of_any_bytes(bucket):
    strange = [b"\xff\xfe", "Zürich".encode(), b"a\nb", b"~", b"%~x", b"x" * 255, b" ", b"-rf"]
    for name in strange:
        Path(os.fsdecode(os.fsencode(bucket) + b"/" + name)).write_bytes(name)

    listed = os.listdir(os.fsencode(bucket))

    assert sorted(listed) == sorted(strange)
    for name in listed:
        assert Path(os.fsdecode(os.fsencode(bucket) + b"/" + name)).read_bytes() == name
    with fails_with(errno.ENAMETOOLONG):
        (bucket / ("x" * 256)).write_text("x")


def test_names_that_differ_only_in_their_normal_form_are_two(bucket):
    composed, decomposed = "\u00e9", "e\u0301"
    (bucket / composed).write_text("composed")
    (bucket / decomposed).write_text("decomposed")

    assert len(os.listdir(bucket)) == 2
    assert (bucket / composed).read_text() == "composed"


def test_a_listing_is_whole_and_has_each_name_once(bucket):
    for index in range(1200):
        (bucket / f"{index:04}").touch()

    assert sorted(os.listdir(bucket)) == [f"{index:04}" for index in range(1200)]


def test_a_directory_is_emptied_while_it_is_listed(bucket):
    for index in range(1100):
        (bucket / f"{index:04}").touch()

    with os.scandir(bucket) as entries:
        for entry in entries:
            os.unlink(entry)

    assert os.listdir(bucket) == []


def test_mapped_memory(bucket):
    file = bucket / "f"
    file.write_bytes(bytes(10_000))
    with file.open("r+b") as both, mmap.mmap(both.fileno(), 0) as mapped:
        mapped[5000:5005] = b"hello"
        mapped.flush()
    assert file.read_bytes()[5000:5005] == b"hello"


def test_extended_attributes(bucket):
    file = bucket / "f"
    file.write_text("x")
    os.setxattr(file, "user.colour", b"green")

    assert os.getxattr(file, "user.colour") == b"green"
    assert "user.colour" in os.listxattr(file)
    with fails_with(errno.EEXIST):
        os.setxattr(file, "user.colour", b"red", os.XATTR_CREATE)
    os.removexattr(file, "user.colour")
    with fails_with(errno.ENODATA):
        os.getxattr(file, "user.colour")
    # Found by name only: a copy with all attributes must not try to forge them.
    assert len(os.getxattr(file, "user.renga.sha256")) == 64
    assert os.listxattr(file) == []
    with fails_with(errno.EPERM):
        os.setxattr(file, "user.renga.sha256", b"forged")
    longest = bytes(65536)
    os.setxattr(file, "user.a", longest)
    os.setxattr(file, "user.a", longest[1:], os.XATTR_REPLACE)
    assert os.getxattr(file, "user.a") == longest[1:]
    with fails_with(errno.ENOSPC):
        os.setxattr(file, "user.b", longest)
    os.removexattr(file, "user.a")
    with fails_with(errno.EOPNOTSUPP):
        os.setxattr(file, "trusted.x", b"x")


def test_statfs_tells_of_the_disk(bucket):
    found = os.statvfs(bucket)

    assert found.f_namemax == 255
    disk = os.statvfs(bucket.parents[1])  # the home, where the service keeps its data
    room = disk.f_bavail * disk.f_frsize
    assert room / 2 < found.f_bavail * found.f_frsize < room * 2


def test_locks_hold_between_processes(bucket):
    (bucket / "lock").touch()
    script = (
        "import fcntl,sys\n"
        "with open(sys.argv[1]) as f:\n"
        "    try: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except BlockingIOError: print('held')\n"
    )
    with (bucket / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        told = subprocess.run(
            ["python3", "-c", script, bucket / "lock"], capture_output=True, text=True, check=True
        )
    assert told.stdout == "held\n"


def test_what_cannot_be_done_is_refused(bucket):
    libc = ctypes.CDLL(None, use_errno=True)  # Python's posix_fallocate writes zeros instead
    with (bucket / "f").open("wb") as out:
        assert libc.fallocate(out.fileno(), 0, ctypes.c_long(0), ctypes.c_long(4096)) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP


def test_a_long_file_whose_writer_goes_on_keeps_what_was_saved(bucket, shared_home):
    """The service may have made the draft itself the blob: what comes later is elsewhere."""
    file = bucket / "long"
    data = bytearray(os.urandom(40 << 20))
    with file.open("w+b", buffering=0) as out:
        for at in range(0, len(data), 1 << 20):
            out.write(data[at : at + (1 << 20)])
        os.fsync(out.fileno())
        first = bytes(data)
        data[5:10] = b"later"
        os.pwrite(out.fileno(), b"later", 5)
        data += b"and longer"
        os.pwrite(out.fileno(), b"and longer", 40 << 20)
        assert os.pread(out.fileno(), 20, 0) == data[:20]
        os.fsync(out.fileno())
        assert file.read_bytes() == data
        out.truncate(1 << 20)
    assert file.read_bytes() == data[: 1 << 20]
    # People see the last save of a handle; the blob of the first one is as it was.
    blobs = shared_home.path / ".local" / "share" / "rengafs" / "blobs"
    long = [path for path in blobs.glob("??/*") if path.stat().st_size == len(first)]
    assert first in [path.read_bytes() for path in long]
    assert all(path.stat().st_nlink == 1 for path in long)
