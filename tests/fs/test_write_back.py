"""``--write-back``: what close has acknowledged is safe, in order, and gets to the service.

The promises of SEMANTICS.md's table that no death is needed for; those are in
``test_write_back_deaths.py``.
"""

import errno
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from support.disks import resize, small_disk
from support.writing import SECONDS, Away, eventually, report, saves, sync, synced


@pytest.fixture
def mount(home):
    with home.mounted("buckets", "--write-back", "--patience", "5") as path:
        (path / "data").mkdir()
        yield path


def away_seconds(mount):
    """For how long the mount has known that its service is away."""
    since_ms = json.loads(os.getxattr(mount, "user.renga.service")).get("away_ms", 0)
    return time.time() - since_ms / 1000 if since_ms else 0


def test_what_was_closed_is_seen_at_once_here_and_soon_by_others(home, mount):
    with home.mounted("other") as other:
        (mount / "data" / "f").write_bytes(b"one")
        assert (mount / "data" / "f").read_bytes() == b"one"
        assert "f" in os.listdir(mount / "data")
        eventually(lambda: (other / "data" / "f").exists())
        eventually(lambda: (other / "data" / "f").read_bytes() == b"one")


def test_every_close_is_a_version_in_order(mount):
    for number in range(30):
        (mount / "data" / "f").write_bytes(b"%d" % number)
    sync(mount)
    assert saves(mount / "data" / "f") == [b"%d" % number for number in range(30)]


def test_saves_that_wait_for_one_another_are_all_composed_rightly(home, mount):
    """Small and large, each based on one that the service does not have yet."""
    file = mount / "data" / "f"
    content = bytearray(os.urandom(3 << 20))
    file.write_bytes(content)
    expected = [bytes(content)]
    with Away(home):
        for number in range(4):
            at = number * 700_000
            piece = os.urandom(10 if number % 2 else 2 << 20)[: len(content) - at]
            with file.open("r+b") as out:
                out.seek(at)
                out.write(piece)
            content[at : at + len(piece)] = piece
            expected.append(bytes(content))
            assert file.read_bytes() == bytes(content)
        with file.open("ab") as out:
            out.write(b"more")
        expected.append(bytes(content) + b"more")
        assert os.getxattr(file, "user.renga.state") == b"uploading"
        assert report(mount)["files"] == 1
    sync(mount)
    assert os.getxattr(file, "user.renga.state") == b"clean"
    assert report(mount).get("files", 0) == 0
    assert saves(file) == expected
    assert file.read_bytes() == expected[-1]


def test_files_are_made_and_saved_while_the_service_is_away(home, mount):
    directory = mount / "data" / "new"
    directory.mkdir()
    with Away(home):
        for number in range(50):
            (directory / f"f{number}").write_bytes(b"%d" % number)
            (directory / f"f{number}").chmod(0o600)
        assert (directory / "f7").read_bytes() == b"7"
        assert report(mount)["files"] == 50
        inode = (directory / "f7").stat().st_ino
    sync(mount)
    assert sorted(os.listdir(directory)) == sorted(f"f{number}" for number in range(50))
    assert (directory / "f7").stat().st_mode & 0o777 == 0o600
    assert (directory / "f7").stat().st_ino == inode


def test_what_is_unsent_or_open_is_found_however_long_the_service_is_away(home):
    with home.mounted("buckets", "--write-back", "--patience", "1") as mount:
        directory = mount / "data" / "deep"
        directory.mkdir(parents=True)
        for name in ("saved", "open", "other"):
            (directory / name).write_bytes(b"before")
        sync(mount)
        nobody_there = mount / "data" / "closed"
        nobody_there.mkdir()
        with (directory / "open").open("rb") as held, Away(home):
            (directory / "saved").write_bytes(b"one more")
            (directory / "new").write_bytes(b"new")
            (nobody_there / "new").write_bytes(b"new")
            eventually(lambda: away_seconds(mount) > 2)

            assert sorted(os.listdir(directory)) == ["new", "open", "saved"]
            assert os.listdir(mount) == ["data"]
            assert sorted(os.listdir(mount / "data")) == ["closed", "deep"]
            assert os.listdir(nobody_there) == ["new"]
            assert (directory / "saved").read_bytes() == b"one more"
            assert (directory / "new").stat().st_size == 3
            assert (directory / "open").stat().st_ino == os.fstat(held.fileno()).st_ino
            assert os.getxattr(directory / "saved", "user.renga.state").endswith(b"tried again")
            (directory / "saved").write_bytes(b"and another")
            with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
                (directory / "other").stat()
        sync(mount)
        assert sorted(os.listdir(directory)) == ["new", "open", "other", "saved"]
        assert saves(directory / "saved") == [b"before", b"one more", b"and another"]


def test_renames_and_deletions_wait_for_the_saves_they_depend_on(mount):
    directory = mount / "data"
    for number in range(10):
        (directory / "f.tmp").write_bytes(b"%d" % number)
        (directory / "f.tmp").rename(directory / "f")
    assert saves(directory / "f") == [b"%d" % number for number in range(10)]
    (directory / "g").write_bytes(b"gone")
    (directory / "g").unlink()
    assert not (directory / "g").exists()
    assert saves(directory / "g") == [b"gone"]
    (directory / "d").mkdir()
    (directory / "d" / "f").write_bytes(b"x")
    with pytest.raises(OSError, match=rf"Errno {errno.ENOTEMPTY}"):
        (directory / "d").rmdir()


def test_fsync_waits_for_the_service_and_tells_when_it_is_away(home, mount):
    file = mount / "data" / "f"
    file.write_bytes(b"one")
    sync(file)
    assert os.getxattr(file, "user.renga.state") == b"clean"
    with file.open("wb", buffering=0) as out, Away(home):
        out.write(b"two")
        with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
            os.fsync(out.fileno())
    sync(file)
    assert saves(file)[-1] == b"two"


def test_the_earlier_of_two_authors_is_told_and_both_saves_are_kept(home, mount):
    file = mount / "data" / "f"
    file.write_bytes(b"base")
    sync(mount)
    with home.mounted("other") as other:
        theirs = other / "data" / "f"
        with theirs.open("ab") as later:
            later.write(b" theirs")
            with file.open("ab") as earlier:
                earlier.write(b" ours")
            sync(mount)
        eventually(lambda: report(mount).get("conflicts"))
        (told,) = report(mount)["conflicts"]
        assert told["name"] == "data/f"
        assert saves(file) == [b"base", b"base ours", b"base theirs"]


def test_what_the_mount_leaves_when_it_ends_is_named_and_sent_by_the_next(home):
    path = home.path / "buckets"
    path.mkdir()
    home.run("mount", "--write-back", "--drain-timeout", "1", "--patience", "2", str(path))
    (path / "data").mkdir()
    (path / "data" / "f").write_bytes(b"before")
    sync(path)
    (path / "data" / "g").write_bytes(b"")
    sync(path)
    with Away(home):
        (path / "data" / "f").write_bytes(b"after")
        done = subprocess.Popen(
            [*home.command, "umount", str(path)],
            env=home.environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: "by the next mount" in home.logs())
    _, said = done.communicate(timeout=SECONDS)
    assert done.returncode == 1
    assert "data/f" in said
    with home.mounted() as path:  # without --write-back
        assert (path / "data" / "f").read_bytes() == b"after"
        assert saves(path / "data" / "f") == [b"before", b"after"]
    assert not list((home.path / ".local" / "state").rglob("journal-*"))


def test_unmounting_waits_for_what_is_to_be_sent(home):
    with home.mounted("buckets", "--write-back") as path:
        (path / "data").mkdir()
        for number in range(100):
            (path / "data" / f"f{number}").write_bytes(b"x" * number)
    with home.mounted() as path:
        assert len(os.listdir(path / "data")) == 100
        assert (path / "data" / "f99").stat().st_size == 99


def test_writers_wait_at_the_bound(home):
    options = ["--write-back", "--unsent-limit", "1M", "--patience", "1"]
    with home.mounted("buckets", *options) as path:
        (path / "data").mkdir()
        (path / "data" / "f").write_bytes(b"x")
        sync(path)
        with Away(home):
            (path / "data" / "f").write_bytes(b"y" * 600_000)
            out = os.open(path / "data" / "f", os.O_WRONLY)
            os.write(out, b"z" * 600_000)
            with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
                os.close(out)
        # The patience of a second may not do for a service that comes back on a busy machine.
        eventually(lambda: synced(path))
        (path / "data" / "f").write_bytes(b"w" * 600_000)
        eventually(lambda: synced(path))
        assert (path / "data" / "f").read_bytes() == b"w" * 600_000


def test_writers_wait_when_something_waits_for_too_long(home):
    options = ["--write-back", "--unsent-age", "2", "--patience", "1"]
    with home.mounted("buckets", *options) as path:
        (path / "data").mkdir()
        for name in ("f", "g"):
            (path / "data" / name).write_bytes(b"before")
        sync(path)
        with Away(home):
            (path / "data" / "f").write_bytes(b"one")
            time.sleep(2.1)
            with pytest.raises(OSError, match=rf"Errno {errno.EIO}"):
                (path / "data" / "g").write_bytes(b"two")
        eventually(lambda: synced(path))
        (path / "data" / "g").write_bytes(b"three")
        eventually(lambda: synced(path))
        assert (path / "data" / "f").read_bytes() == b"one"
        assert (path / "data" / "g").read_bytes() == b"three"


def test_a_save_over_quota_does_not_vanish_in_a_rename_and_holds_up_nobody_else(home):
    with home.serving("ann") as served:
        options = ["--write-back", "--patience", "3", "--unsent-age", "2", *served.of("ann")]
        with home.mounted("buckets", *options) as path:
            for bucket in ("small", "other"):
                (path / bucket).mkdir()
                (path / bucket / "f").write_bytes(b"before")
            sync(path)
            quota = ["bucket", "quota", "--data", str(served.data), "small"]
            home.run(*quota, "1K")
            new = path / "small" / "f.tmp"
            new.write_bytes(b"x" * 2000)
            with pytest.raises(OSError, match=rf"Errno {errno.EDQUOT}"):
                sync(new)
            with pytest.raises(OSError, match=rf"Errno {errno.EDQUOT}"):
                new.rename(path / "small" / "f")
            assert (path / "small" / "f").read_bytes() == b"before"
            assert new.read_bytes() == b"x" * 2000
            with pytest.raises(OSError, match=rf"Errno {errno.EDQUOT}"):
                new.unlink()
            time.sleep(2.1)
            (path / "other" / "f").write_bytes(b"after")
            sync(path / "other" / "f")
            (path / "small" / "f").chmod(0o600)
            home.run(*quota, "none")
            new.rename(path / "small" / "f")
            assert saves(path / "small" / "f") == [b"before", b"x" * 2000]


def test_a_full_disk_of_ours_is_enospc_of_close_and_nothing_earlier_is_lost(home):
    state = home.path / ".local" / "state" / "rengafs"
    state.mkdir(parents=True)
    with small_disk(4) as disk:
        subprocess.run(["mount", "--bind", disk, state], check=True)
        try:
            with home.mounted("buckets", "--write-back") as path:
                (path / "data").mkdir()
                (path / "data" / "f").write_bytes(b"before")
                sync(path)
                (disk / "filler").write_bytes(bytes(3_900_000))
                with pytest.raises(OSError, match=rf"Errno {errno.ENOSPC}"):
                    (path / "data" / "f").write_bytes(os.urandom(700_000))
                resize(disk, 16)
                (path / "data" / "f").write_bytes(b"after")
                sync(path)
                assert (path / "data" / "f").read_bytes() == b"after"
                found = saves(path / "data" / "f")
                assert (found[0], found[-1]) == (b"before", b"after")
        finally:
            subprocess.run(["umount", "-l", state], check=True)


def test_what_the_service_has_no_room_for_waits_and_is_sent_when_it_has(home):
    data = home.path / ".local" / "share" / "rengafs"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", data], check=True)
    try:
        with home.mounted("buckets", "--write-back", "--patience", "10") as path:
            (path / "data").mkdir()
            (path / "data" / "small").write_bytes(b"before")
            sync(path)
            big = os.urandom(24 << 20)
            (path / "data" / "big").write_bytes(big)
            with pytest.raises(OSError, match=rf"Errno {errno.ENOSPC}"):
                sync(path / "data" / "big")
            assert b"failed" in os.getxattr(path / "data" / "big", "user.renga.state")
            assert (path / "data" / "big").read_bytes() == big
            subprocess.run(["mount", "-o", "remount,size=128m", data], check=True)
            sync(path / "data" / "big")
            assert os.getxattr(path / "data" / "big", "user.renga.state") == b"clean"
            assert (path / "data" / "big").read_bytes() == big
    finally:
        subprocess.run(["umount", "-l", data], check=True)


def test_what_the_service_refuses_for_good_is_put_aside_and_told(home):
    """A bucket in which one may only read from now on."""
    with home.serving("ann", "ben") as served, home.mounted("anns", *served.of("ann")) as anns:
        (anns / "data").mkdir()
        grant = ["bucket", "grant", "--data", str(served.data), "data", "ben"]
        home.run(*grant, "writer")
        with home.mounted("bens", "--write-back", *served.of("ben")) as bens:
            (bens / "data" / "f").write_bytes(b"one")
            sync(bens)
            home.run(*grant, "reader")
            (bens / "data" / "f").write_bytes(b"precious")
            eventually(lambda: report(bens).get("failed"))
            (failed,) = report(bens)["failed"]
            assert failed["name"] == "data/f"
            assert Path(failed["kept"]).read_bytes() == b"precious"
            assert os.getxattr(bens / "data" / "f", "user.renga.state").startswith(b"failed")
            eventually(lambda: (bens / "data" / "f").read_bytes() == b"one")
