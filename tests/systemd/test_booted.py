"""The units at work under a real systemd: started, killed, stopped, and mounted on first use."""

import pytest
from support.booted import booted, check_python

pytestmark = pytest.mark.fuse

MOUNT = "rengafs-mount@srv-buckets.service"
ENVIRONMENT = """
mkdir -p /etc/rengafs /srv/buckets
cat > /etc/rengafs/mount.env <<END
RENGA_ENDPOINT=unix:/run/rengafs.sock
RENGAFS_MOUNT_TOKEN_FILE=/etc/rengafs/token
RENGAFS_MOUNT_WRITE_BACK=1
END
"""
LISTED = (
    "RENGA_ENDPOINT=unix:/run/rengafs.sock RENGA_ACCESS_TOKEN=$(cat /etc/rengafs/token) rengafs ls"
)
USER_MANAGER = """
useradd --create-home --home-dir /home/rengafs-you you
mkdir -p /run/user/you /etc/rengafs-test/user
chown you /run/user/you
for name in basic default shutdown sockets; do
    cp /lib/systemd/user/$name.target /etc/rengafs-test/user/
done
cat > /etc/systemd/system/manager.service <<END
[Service]
User=you
Delegate=yes
Type=notify
Environment=XDG_RUNTIME_DIR=/run/user/you HOME=/home/rengafs-you
Environment=SYSTEMD_UNIT_PATH=/etc/rengafs-test/user:/home/rengafs-you/.config/systemd/user
ExecStart=/lib/systemd/systemd --user
END
systemctl daemon-reload
systemctl start manager.service
"""
AS_YOU = "runuser -u you -- env XDG_RUNTIME_DIR=/run/user/you HOME=/home/rengafs-you"


@pytest.fixture(scope="module", autouse=True)
def _python():
    check_python()


@pytest.fixture
def machine():
    """A machine with the units installed, the service running, and a token of it."""
    with booted() as machine:
        machine.run("rengafs units && systemctl daemon-reload")
        machine.run("systemctl start rengafs.socket rengafs.service")
        machine.run(ENVIRONMENT)
        machine.run(
            "runuser -u rengafs -- rengafs token create ann --everywhere --data /var/lib/rengafs "
            "> /etc/rengafs/token"
        )
        yield machine


def test_a_killed_mount_is_started_again_and_the_hardened_service_has_what_was_saved(machine):
    machine.run(f"systemctl start '{MOUNT}'")
    machine.run("mkdir /srv/buckets/data && head -c 3000000 /dev/urandom > /srv/buckets/data/a")
    machine.run("sync /srv/buckets/data/a")
    digest = machine.text("sha256sum < /srv/buckets/data/a")
    killed = machine.text(f"systemctl show --value --property MainPID '{MOUNT}'")

    machine.run(f"kill -9 {killed}")
    machine.eventually(f"systemctl show --value --property NRestarts '{MOUNT}'", "1".__eq__)
    machine.eventually(f"systemctl is-active '{MOUNT}'", "active".__eq__)

    assert machine.text("sha256sum < /srv/buckets/data/a") == digest
    assert machine.text(f"systemctl show --value --property MainPID '{MOUNT}'") != killed
    assert machine.text("ps -o user= -C rengafs | sort -u").split() == ["rengafs", "root"]


def test_stopping_a_mount_waits_until_what_was_saved_is_sent(machine):
    machine.run(f"systemctl start '{MOUNT}' && mkdir /srv/buckets/data")
    machine.run("systemctl kill --signal STOP rengafs.service")
    machine.run("echo unsent > /srv/buckets/data/note")
    machine.run(f"systemctl stop --no-block '{MOUNT}'")
    # It may not end while the service does not answer, nor be killed for that.
    waiting = machine.eventually(f"systemctl is-active '{MOUNT}'", "deactivating".__eq__)
    machine.run("systemctl kill --signal CONT rengafs.service")
    machine.eventually(f"systemctl is-active '{MOUNT}'", "inactive".__eq__)

    assert waiting == "deactivating"
    assert machine.text(f"systemctl show --value --property Result '{MOUNT}'") == "success"
    assert "note" in machine.text(f"{LISTED} data")
    assert machine.run("mountpoint /srv/buckets", check=False).returncode != 0


def test_a_service_that_is_killed_is_there_again_for_the_next_who_asks(machine):
    killed = machine.text("systemctl show --value --property MainPID rengafs.service")

    machine.run(f"kill -9 {killed}")
    machine.run(LISTED)

    machine.eventually("systemctl is-active rengafs.service", "active".__eq__)
    assert machine.text("systemctl show --value --property MainPID rengafs.service") != killed


def test_a_line_of_fstab_mounts_on_first_use_and_again_after_its_idle_time():
    line = (
        "rengafs /srv/auto rengafs _netdev,nofail,x-systemd.automount,x-systemd.idle-timeout=2s 0 0"
    )
    with booted(fstab=line) as machine:
        machine.run("rengafs units && systemctl daemon-reload")
        machine.run("systemctl start srv-auto.automount")
        assert machine.run("systemctl is-active srv-auto.mount", check=False).stdout == "inactive\n"

        machine.run("mkdir /srv/auto/data && echo one > /srv/auto/data/a")
        assert machine.text("systemctl is-active srv-auto.mount") == "active"
        machine.eventually("systemctl is-active srv-auto.mount", "inactive".__eq__)

        assert machine.text("cat /srv/auto/data/a") == "one"
        machine.run("systemctl stop srv-auto.automount srv-auto.mount")
        machine.eventually("pgrep -c rengafs", "0".__eq__)


def test_a_mount_of_a_user_starts_and_ends_with_its_unit():
    with booted() as machine:
        machine.run(USER_MANAGER)
        unit = "rengafs-mount@home-rengafs\\x2dyou-buckets.service"
        machine.run(f"{AS_YOU} mkdir /home/rengafs-you/buckets && {AS_YOU} rengafs units")
        machine.run(f"{AS_YOU} systemctl --user daemon-reload")

        machine.run(f"{AS_YOU} systemctl --user start '{unit}'")
        machine.run(f"{AS_YOU} sh -c 'cd ~/buckets && mkdir data && echo one > data/a'")
        machine.run(f"{AS_YOU} systemctl --user stop '{unit}'")
        assert machine.run(f"{AS_YOU} ls /home/rengafs-you/buckets").stdout == ""
        machine.eventually("pgrep -c rengafs", "0".__eq__)

        machine.run(f"{AS_YOU} systemctl --user start '{unit}'")
        assert machine.text(f"{AS_YOU} cat /home/rengafs-you/buckets/data/a") == "one"


def test_the_service_of_a_user_starts_when_its_socket_is_used():
    with booted() as machine:
        machine.run(USER_MANAGER)
        machine.run(f"{AS_YOU} rengafs units && {AS_YOU} systemctl --user daemon-reload")
        machine.run(f"{AS_YOU} systemctl --user start rengafs.socket")
        assert machine.run("pgrep -c rengafs", check=False).stdout == "0\n"

        machine.run(
            f"{AS_YOU} sh -c 'rengafs token create me --everywhere | "
            "rengafs login --default unix:/run/user/you/rengafs/serve.sock && rengafs ls'"
        )

        active = machine.text(f"{AS_YOU} systemctl --user is-active rengafs.service")
        assert active == "active"
