"""Mounting and unmounting for real: kernel, mount process, service, disk."""

import json
import os
import select
import signal
import subprocess
import time

import pytest

from rengafs.cli.exits import Exit

pytestmark = pytest.mark.fuse


def mount(home, *options, at=None):
    done = home.run("mount", *options, at or home.mountpoint)
    assert done.returncode == 0, (done.stderr, home.log("mount"), home.log("service"))
    return done


def umount(home, *options, at=None):
    done = home.run("umount", *options, at or home.mountpoint)
    assert done.returncode == 0, (done.stderr, home.log("mount"), home.log("service"))
    return done


def status(home):
    """Return what status says of this home: other mounts of the machine are shown as well."""
    told = json.loads(home.run("status", "--json").stdout)
    mounts = [one for one in told["mounts"] if one["mountpoint"].startswith(str(home.root))]
    return mounts, told["services"]


def mount_process(home):
    (number,) = (number for number, line in home.processes().items() if " mount " in line)
    return number


def kill(number):
    """Kill a process, and wait until it has ended."""
    descriptor = os.pidfd_open(number)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        assert select.select([descriptor], [], [], 30)[0]
    finally:
        os.close(descriptor)


def test_what_is_written_is_there_after_mounting_again_and_nothing_is_left_between(home):
    done = mount(home)
    assert done.stdout == (
        f"mounted {home.mountpoint}; to unmount: rengafs umount {home.mountpoint}\n"
    )
    (home.mountpoint / "data").mkdir()
    (home.mountpoint / "data" / "note.txt").write_text("one\n")
    (home.mountpoint / "data" / "note.txt").write_text("two\n")

    umount(home)

    assert home.leftovers() == []
    assert list(home.mountpoint.iterdir()) == []
    mount(home)
    assert (home.mountpoint / "data" / "note.txt").read_text() == "two\n"
    saves = sorted((home.mountpoint / "data" / ".versions" / "note.txt").iterdir())
    assert [save.read_text() for save in saves] == ["one\n", "two\n"]
    umount(home)
    assert home.leftovers() == []


def test_a_mount_is_there_again_right_after_any_umount(home):
    for _ in range(3):
        mount(home)
        # Unlike ours, it does not wait for the process to end.
        subprocess.run(["fusermount3", "-u", home.mountpoint], check=True)
    mount(home)
    umount(home)


def test_mounting_twice_is_refused_and_the_mount_goes_on(home, refused):
    mount(home)

    done = home.run("mount", home.mountpoint)

    assert "is already mounted" in refused(done)
    assert done.returncode == Exit.MOUNT_POINT
    (home.mountpoint / "data").mkdir()
    umount(home)


def test_two_mounts_share_a_service_that_ends_with_the_second(home):
    other = home.root / "other"
    other.mkdir()
    mount(home)
    mount(home, at=other)
    (home.mountpoint / "data").mkdir()
    assert sum(" serve " in line for line in home.processes().values()) == 1

    umount(home)

    assert [path.name for path in other.iterdir()] == ["data"]
    umount(home, at=other)
    assert home.leftovers() == []


def test_a_mount_in_use_is_busy_and_says_by_whom(home, refused):
    mount(home)
    (home.mountpoint / "data").mkdir()
    with subprocess.Popen(["sleep", "600"], cwd=home.mountpoint / "data") as user:
        try:
            done = home.run("umount", home.mountpoint)
        finally:
            user.kill()

    assert f"{home.mountpoint} is in use by sleep ({user.pid}); close that" in refused(done)
    assert done.returncode == Exit.BUSY
    umount(home)
    assert home.leftovers() == []


def test_a_lazy_unmount_detaches_at_once_and_ends_with_the_last_user(home, until):
    mount(home)
    (home.mountpoint / "data").mkdir()
    with (home.mountpoint / "data" / "note.txt").open("w") as file:
        done = umount(home, "--lazy")
        assert "ends when the last file in it is closed" in done.stderr
        assert home.mounts() == []
        file.write("late\n")

    until(lambda: not home.leftovers(), "the mount ends by itself")
    mount(home)
    assert (home.mountpoint / "data" / "note.txt").read_text() == "late\n"
    umount(home)


def test_an_open_file_is_committed_on_sigterm(home, until):
    mount(home)
    (home.mountpoint / "data").mkdir()
    file = (home.mountpoint / "data" / "note.txt").open("w")
    file.write("open\n")
    file.flush()

    os.kill(mount_process(home), signal.SIGTERM)

    until(lambda: not home.processes(), "the mount process ends")
    with pytest.raises(OSError, match=r".*"):
        file.close()
    assert home.leftovers() == []
    mount(home)
    assert (home.mountpoint / "data" / "note.txt").read_text() == "open\n"
    umount(home)


def test_a_dead_mount_is_cleared_by_umount(home):
    mount(home)
    kill(mount_process(home))
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(home.mountpoint)

    umount(home)

    assert home.mounts() == []
    assert list(home.runtime.glob("mounts/*")) == []


def test_a_dead_mount_is_replaced_by_the_next_one(home):
    mount(home)
    (home.mountpoint / "data").mkdir()
    kill(mount_process(home))

    mount(home)

    assert os.listdir(home.mountpoint) == ["data"]
    umount(home)
    assert home.leftovers() == []


def test_a_mount_in_the_foreground_ends_on_ctrl_c(home, until):
    process = home.start("mount", "--foreground", home.mountpoint)
    try:
        until(home.mounts, "mounted")
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)

    assert process.returncode == 0, (out, err)
    assert home.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_ends_a_mount_without_a_traceback(home, until, number):
    for delay in (0.0, 0.1, 0.2, 0.3, 0.5, 0.8):
        process = home.start("mount", "--foreground", home.mountpoint)
        try:
            until(lambda: list(home.runtime.glob("service-*.sock")), "serving")
            time.sleep(delay)
        finally:
            process.send_signal(number)
            out, err = process.communicate(timeout=240)
        # By the signal itself (as a shell tells: 128 more), by its code, or unmounted in order.
        assert process.returncode in (0, 128 + number, -number), (delay, out, err)
        assert "Traceback" not in err, (delay, err)
        assert home.leftovers() == []


def test_a_service_elsewhere_is_mounted_with_a_token_from_a_file(home, served):
    address, token = served
    (home.root / "token").write_text(token + "\n")

    mount(home, "--endpoint", address, "--token-file", "token")
    (home.mountpoint / "data").mkdir()
    umount(home)

    assert not home.data.exists()
    assert home.mounts() == []


def test_a_service_elsewhere_is_mounted_by_the_variables_alone(home, served):
    address, token = served
    home.environment |= {"RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token}

    mount(home)
    (mounted,), _ = status(home)

    assert mounted["endpoint"] == address
    assert token not in " ".join(home.processes().values())
    umount(home)


def test_a_relative_mount_point_is_one_too(home):
    mount(home, at="buckets")
    assert home.mounts() == [str(home.mountpoint)]
    umount(home, at="./buckets/")
    assert home.leftovers() == []


def test_status_tells_what_runs(home):
    assert status(home) == ([], [])
    mount(home)
    try:
        text = home.run("status").stdout
        (mounted,), (service,) = status(home)
    finally:
        umount(home)

    assert str(home.mountpoint) in text
    assert (mounted["mountpoint"], mounted["state"]) == (str(home.mountpoint), "mounted")
    assert mounted["endpoint"] == service["address"]
    assert (service["state"], service["data"]) == ("running", str(home.data))


def test_status_tells_of_a_dead_mount(home):
    mount(home)
    kill(mount_process(home))

    (mounted,), _ = status(home)

    assert (mounted["mountpoint"], mounted["state"]) == (str(home.mountpoint), "dead")


def test_a_read_only_mount_refuses_changes(home):
    mount(home, "--read-only")

    with pytest.raises(OSError, match="Read-only file system"):
        (home.mountpoint / "data").mkdir()
    umount(home)


def test_the_files_are_whose_the_options_say(home):
    mount(home, "--uid", 1234, "--gid", 4321)
    (home.mountpoint / "data").mkdir()

    shown = home.mountpoint.stat()

    assert (shown.st_uid, shown.st_gid) == (1234, 4321)
    umount(home)


def test_what_cannot_be_committed_is_told_by_umount(home, served):
    address, token = served
    home.environment |= {"RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token}
    mount(home, "--patience", 1)
    (home.mountpoint / "data").mkdir()
    (service,) = (number for number, line in home.processes().items() if " serve " in line)
    file = (home.mountpoint / "data" / "note.txt").open("w")
    file.write("unsent\n")
    file.flush()
    kill(service)

    os.kill(mount_process(home), signal.SIGTERM)
    done = home.run("umount", home.mountpoint)
    while done.returncode == Exit.BUSY:  # until the mount has heard the signal
        done = home.run("umount", home.mountpoint)

    with pytest.raises(OSError, match=r".*"):
        file.close()
    assert done.returncode == Exit.FAILED, (done.stderr, home.log("mount"))
    assert "is unmounted, but not all is committed: " in done.stderr
    assert home.mounts() == []
