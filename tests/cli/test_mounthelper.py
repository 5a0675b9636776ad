"""``mount -t rengafs``, fstab, and plain ``umount``: as root, by mount(8) itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from rengafs.cli.mounthelper import mount_arguments, unmount_arguments
from rengafs.protocol.errors import SetupError

BINARIES = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("rengafs /m", "mount --endpoint embedded --source rengafs -- /m"),
        ("institute /m -o ro", "mount --endpoint institute --source institute --read-only -- /m"),
        (
            "https://x /m -o rw,_netdev,x-systemd.automount,allow_other,token-file=/t,noatime",
            "mount --endpoint https://x --source https://x --allow-other --token-file /t -- /m",
        ),
        (
            "-sn https://x -o uid=5 -o gid=6 /m",
            "mount --endpoint https://x --source https://x --uid 5 --gid 6 -- /m",
        ),
        (
            "none /m -v -t rengafs -ocache_size=1G",
            "mount --endpoint embedded --source none --cache-size 1G -- /m",
        ),
    ],
)
def test_options_of_mount_become_those_of_rengafs(said, told):
    assert mount_arguments(said.split()) == told.split()


def test_a_mount_that_is_only_pretended_does_nothing():
    assert mount_arguments(["-f", "rengafs", "/m"]) is None


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("/m", "say: mount.rengafs"),
        ("rengafs /m -o cachesize=1G", "has no option 'cachesize'"),
        ("rengafs /m -o allow_other=1", "allow_other takes no value"),
        ("rengafs /m -o token-file", "wants a value: token-file="),
        ("rengafs /m -o foreground", "has no option 'foreground'"),
        ("rengafs /m -x", "no option -x"),
    ],
)
def test_a_wrong_option_is_named(said, what):
    with pytest.raises(SetupError, match=what):
        mount_arguments(said.split())


def test_a_forced_unmount_waits_for_nothing():
    assert unmount_arguments(["-f", "/m"]) == ["umount", "--lazy", "--", "/m"]
    assert unmount_arguments(["/m", "-t", "fuse.rengafs"]) == ["umount", "--", "/m"]


SCRIPT = """
set -e
mount -t overlay overlay -o "lowerdir=$1:/usr/sbin" /usr/sbin
{script}
"""


def with_helpers(home, script):
    """Run *script* as root where mount(8) finds our helpers, in mounts of its own."""
    helpers = home.root / "sbin"
    helpers.mkdir()
    for name in ("mount.rengafs", "umount.fuse.rengafs"):
        (helpers / name).symlink_to(BINARIES / name)
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", SCRIPT.format(script=script), "sh", str(helpers)],
        env=home.environment,
        cwd=home.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.fuse
def test_mount_and_umount_work_and_umount_returns_when_all_is_committed(home):
    done = with_helpers(
        home,
        "mount -t rengafs rengafs buckets -o allow_other,cache-size=1G,noatime\n"
        "mkdir buckets/data && echo one > buckets/data/a && cat buckets/data/a\n"
        "umount buckets && ls buckets\n",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["one"]
    assert home.leftovers() == []


@pytest.mark.fuse
def test_a_line_of_fstab_mounts_once_however_often_it_is_asked_for(home, served):
    address, token = served
    (home.root / "token").write_text(token)
    (home.root / "fstab").write_text(
        f"{address} {home.mountpoint} rengafs "
        f"_netdev,x-systemd.automount,token-file={home.root}/token 0 0\n"
        f"rengafs {home.root}/own rengafs defaults 0 0\n"
    )
    (home.root / "own").mkdir()

    done = with_helpers(
        home,
        "mount -a -T fstab && mount -a -T fstab && grep -c $PWD.*rengafs /proc/mounts\n"
        "findmnt -n -o SOURCE,FSTYPE buckets; umount buckets; umount own\n",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:][0] == "2"
    assert f"{address} fuse.rengafs" in " ".join(done.stdout.split())
    assert home.mounts() == []


@pytest.mark.fuse
def test_a_mount_that_fails_says_why_on_one_line_with_mounts_own_code(home):
    done = with_helpers(home, "mount -t rengafs rengafs missing || echo $?")

    assert done.stdout == "32\n"
    assert done.stderr == (
        f"rengafs: {home.root}/missing does not exist; make it first: "
        f"mkdir -p {home.root}/missing\n"
    )
