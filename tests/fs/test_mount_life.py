"""A mount's life: how it begins, how it ends, and what another sees of it meanwhile."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.mounts import COMMAND, is_mounted


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for *condition*; it must become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true"
        time.sleep(0.02)


def failure(action: Callable[[], object]) -> int:
    """Return the errno that *action* fails with, or 0."""
    try:
        action()
    except OSError as error:
        return error.errno
    return 0


def mount_process(home) -> int:
    """Return the process that serves the mount of *home*."""
    for pid in home.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"mount" in words and b"--foreground" in words:
            return pid
    raise AssertionError("no mount process")


def test_everything_is_still_there_after_unmounting(home):
    with home.mounted() as path:
        (path / "data").mkdir()
        for text in ("one", "two", "three"):
            (path / "data" / "f").write_text(text)
        before = sorted(save.name for save in (path / "data" / ".versions" / "f").iterdir())

    with home.mounted() as path:
        saves = sorted((path / "data" / ".versions" / "f").iterdir())
        assert [save.name for save in saves] == before
        assert [save.read_text() for save in saves] == ["one", "two", "three"]
        assert (path / "data" / "f").read_text() == "three"


def test_unmounting_leaves_nothing_behind(home):
    with home.mounted() as path:
        (path / "data").mkdir()
        (path / "data" / "f").write_text("x")

    assert not is_mounted(path)
    eventually(lambda: home.processes() == [])
    left = [file for file in (home.path / "run").rglob("*") if file.suffix == ".sock"]
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_commits_what_is_open_and_unmounts(home, number):
    with home.mounted() as path:
        (path / "data").mkdir()
        with (path / "data" / "f").open("wb", buffering=0) as out:
            out.write(b"not yet closed")
            os.kill(mount_process(home), number)
            eventually(lambda: not is_mounted(path))
            eventually(lambda: home.processes() == [])
            with pytest.raises(OSError, match=r"not connected|Software caused"):
                os.fsync(out.fileno())
            os.dup2(os.open(os.devnull, os.O_RDONLY), out.fileno())

    with home.mounted() as path:
        assert (path / "data" / "f").read_bytes() == b"not yet closed"


def test_umount_by_the_system_ends_the_process_too(home):
    with home.mounted() as path:
        (path / "data").mkdir()
        (path / "data" / "f").write_text("x")
        subprocess.run(["fusermount3", "-u", path], check=True)

        eventually(lambda: home.processes() == [])


def test_a_killed_mount_looks_dead_and_the_next_one_recovers_it(home):
    with home.mounted() as path:
        (path / "data").mkdir()
        (path / "data" / "f").write_text("saved")
        os.kill(mount_process(home), signal.SIGKILL)
        eventually(lambda: failure(lambda: os.listdir(path)) == errno.ENOTCONN)

        with home.mounted() as again:
            assert (again / "data" / "f").read_text() == "saved"


def test_two_mounts_of_one_home_see_each_other(home):
    with home.mounted("one") as one, home.mounted("two") as two:
        (one / "data").mkdir()
        eventually(lambda: (two / "data").is_dir())
        (one / "data" / "f").write_text("from one")
        eventually(lambda: (two / "data" / "f").exists())
        assert (two / "data" / "f").read_text() == "from one"

        (two / "data" / "f").write_text("from two, and longer")
        eventually(lambda: (one / "data" / "f").read_text() == "from two, and longer")
        assert (one / "data" / "f").stat().st_size == 20

        (one / "data" / "f").rename(one / "data" / "g")
        eventually(lambda: os.listdir(two / "data") == ["g"])
        eventually(lambda: not (two / "data" / "f").exists())
        (two / "data" / "g").unlink()
        eventually(lambda: not (one / "data" / "g").exists())


def test_a_bucket_comes_and_goes_with_the_right_to_see_it(home):
    with (
        home.serving("ann", "ben") as served,
        home.mounted("anns", *served.of("ann")) as anns,
        home.mounted("bens", *served.of("ben")) as bens,
    ):
        (anns / "data").mkdir()
        (anns / "data" / "f").write_bytes(b"secret")
        shared = bens / "data" / "f"
        for _ in range(2):
            assert os.listdir(bens) == []
            assert not shared.exists()
            home.run("bucket", "grant", "--data", str(served.data), "data", "ben", "reader")
            eventually(shared.exists)
            assert shared.read_bytes() == b"secret"
            assert os.listdir(bens) == ["data"]
            home.run("bucket", "revoke", "--data", str(served.data), "data", "ben")
            eventually(lambda: not shared.exists())
        assert (anns / "data" / "f").read_bytes() == b"secret"


def test_an_open_file_goes_on_reading_its_version_when_another_mount_saves(home):
    with home.mounted("one") as one, home.mounted("two") as two:
        (one / "data").mkdir()
        file = one / "data" / "f"
        old, new = b"old" * 200_000, b"new!" * 200_000
        file.write_bytes(old)
        eventually(lambda: (two / "data" / "f").exists())
        with (two / "data" / "f").open("rb") as reader:
            assert reader.read(1000) == old[:1000]
            file.write_bytes(new)
            eventually(lambda: (two / "data" / "f").read_bytes() == new)

            assert reader.read() == old[1000:]


def test_two_mounts_that_edit_one_base_keep_both(home):
    with home.mounted("one") as one, home.mounted("two") as two:
        (one / "data").mkdir()
        (one / "data" / "f").write_text("base")
        eventually(lambda: (two / "data" / "f").exists())
        with (two / "data" / "f").open("a") as later:
            later.write(" two")
            with (one / "data" / "f").open("a") as earlier:
                earlier.write(" one")

        saves = sorted((one / "data" / ".versions" / "f").iterdir())
        assert [save.read_text() for save in saves] == ["base", "base one", "base two"]


def test_without_the_service_a_tool_gets_an_error_in_bounded_time(home):
    listen = home.path / "run" / "s.sock"
    data = home.path / "data"
    service = subprocess.Popen(
        [*COMMAND, "serve", "--listen", f"unix:{listen}", "--data", str(data)],
        env=home.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert service.stdout.readline()
        token = home.run("token", "create", "me", "--data", str(data)).stdout.split()[-1]
        (home.path / "token").write_text(token)
        where = ["--endpoint", f"unix:{listen}", "--token-file", str(home.path / "token")]
        with home.mounted("buckets", *where, "--patience", "1") as path:
            (path / "data").mkdir()
            (path / "data" / "f").write_text("x")
            service.kill()
            service.wait()

            with pytest.raises(OSError, match=rf"\[Errno {errno.EIO}\]"):
                (path / "data" / "new").write_text("x")
            with pytest.raises(OSError, match=rf"\[Errno {errno.EIO}\]"):
                os.listdir(path / "data")
    finally:
        service.kill()
        service.wait()
        service.stdout.close()


def test_what_a_full_disk_refuses_is_an_error_of_close_and_is_kept_aside(home):
    data = home.path / ".local" / "share" / "rengafs"
    data.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", data], check=True)
    try:
        with home.mounted() as path:
            (path / "data").mkdir()
            (path / "data" / "small").write_bytes(b"before")
            big = os.urandom(24 << 20)
            out = os.open(path / "data" / "big", os.O_CREAT | os.O_WRONLY)
            written = os.write(out, big)
            assert failure(lambda: os.close(out)) == errno.ENOSPC

            eventually(lambda: (path / "data" / "big").stat().st_size == 0)
            assert (path / "data" / "big").read_bytes() == b""
            assert (path / "data" / "small").read_bytes() == b"before"
            (path / "data" / "small").write_bytes(b"after")
            assert (path / "data" / "small").read_bytes() == b"after"

        (kept,) = (home.path / ".local" / "state").rglob("drafts/*/*/data")
        assert kept.read_bytes() == big[:written]
        assert str(kept) in home.logs()
    finally:
        subprocess.run(["umount", "-l", data], check=True)
