"""A throw-away Ceph object gateway of one machine: monitor, one OSD in memory, radosgw.

From the distribution's packages. It is what many an institute's S3 is.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.servers import SECONDS, Processes, answers, free_ports

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon}/0
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
run dir = {home}/run
admin socket = {home}/run/$name.asok
pid file =
crash dir = {home}/logs
log file = {home}/logs/$name.log
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
[mon]
mon data = {home}/mon
mon initial members = a
mon osd min up ratio = 0
paxos propose interval = 0.05
paxos min wait = 0.01
[osd]
osd data = {home}/osd
{store}
osd class load list = *
osd class default list = *
[client.rgw.a]
rgw data = {home}/rgw
# Its own default, secure only, can't work without keys: it would hang and say nothing.
ms mon client mode = crc
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw enable usage log = false
rgw enable ops log = false
rgw gc obj min wait = 1
rgw gc processor period = 1
rgw run sync thread = false
rgw multipart min part size = 5242880
rgw dns name = localhost
"""
IN_MEMORY = f"""\
osd objectstore = memstore
memstore device bytes = {4 << 30}
"""
ON_DISK = """\
osd objectstore = bluestore
bluestore block size = %d
bluestore cache autotune = false
bluestore cache size = 268435456
"""


@dataclass(frozen=True)
class Gateway:
    """Where it answers, and who may."""

    url: str
    access_key: str = "testkey"
    secret_key: str = "testing"
    user: str = "test:tester"
    """For its Swift API."""
    key: str = "testing"
    configuration: Path = Path()

    @property
    def auth_url(self) -> str:
        return f"{self.url}/auth/v1.0"

    @property
    def named_url(self) -> str:
        """Its address by name: buckets may be names below it."""
        return self.url.replace("127.0.0.1", "localhost")

    def admin(self, *arguments: object) -> str:
        """Run the gateway's own ``radosgw-admin``; return what it prints."""
        done = subprocess.run(
            ["radosgw-admin", *map(str, arguments)],
            env={**os.environ, "CEPH_CONF": str(self.configuration)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout


def s3cmd(gateway: Gateway, *arguments: object) -> str:
    """Run S3's usual command-line client; return what it prints."""
    host = gateway.url.removeprefix("http://")
    options = [
        "--no-ssl",
        f"--access_key={gateway.access_key}",
        f"--secret_key={gateway.secret_key}",
        f"--host={host}",
        f"--host-bucket={host}",
        "--config=/dev/null",
    ]
    done = subprocess.run(
        ["s3cmd", *options, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def running_gateway(*, disk: int = 0) -> Iterator[Gateway]:
    """Give a gateway with a store in memory, or with *disk* bytes in a sparse file; end it."""
    if shutil.which("radosgw") is None or shutil.which("ceph-osd") is None:
        raise AssertionError("no Ceph gateway here; say: make setup")
    # Short: the paths of Unix sockets below it have at most 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="rengafs-rgw-"))
    processes = Processes(home / "logs")
    try:
        for name in ("mon", "osd", "rgw", "logs", "run"):
            (home / name).mkdir()
        port, mon = free_ports(2)
        fsid = str(uuid.uuid4())
        configuration = home / "ceph.conf"
        configuration.write_text(
            CONFIGURATION.format(
                home=home,
                fsid=fsid,
                port=port,
                mon=mon,
                store=ON_DISK % disk if disk else IN_MEMORY,
            )
        )
        environment = {**os.environ, "CEPH_CONF": str(configuration)}
        _start(processes, home, fsid, mon, environment)
        processes.wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), "the gateway")
        yield Gateway(f"http://127.0.0.1:{port}", configuration=configuration)
    finally:
        processes.stop()
        shutil.rmtree(home, ignore_errors=True)


def _start(
    processes: Processes, home: Path, fsid: str, mon: int, environment: dict[str, str]
) -> None:
    def run(*command: object) -> None:
        done = subprocess.run(
            [str(word) for word in command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{command}: {done.stderr[-2000:]}\n{processes.told()}")

    address = f"[v2:127.0.0.1:{mon}]"
    run("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, home / "monmap")
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", home / "monmap")
    processes.start("mon", ["ceph-mon", "-f", "-i", "a"], environment)
    processes.wait_until(lambda: _listens(mon), "the monitor")
    osd = uuid.uuid4()
    run("ceph", "osd", "new", osd)
    run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    processes.start("osd", ["ceph-osd", "-f", "-i", "0"], environment)
    # This waits until the OSD is up.
    user = Gateway("")
    keys = ["--access-key", user.access_key, "--secret-key", user.secret_key]
    run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)
    swift = [f"--subuser={user.user}", "--access=full", "--key-type=swift", f"--secret={user.key}"]
    run("radosgw-admin", "subuser", "create", "--uid=test", *swift)
    processes.start("rgw", ["radosgw", "-f", "-n", "client.rgw.a"], environment)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
