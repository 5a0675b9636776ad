"""A throw-away OpenStack Swift of one machine, from PyPI: no root, no apt, no /etc/swift.

Proxy, account, container and object server in four processes, on free loopback ports; it
speaks Swift's own API with auth v1, and S3 by its s3api. Its virtual environment is built
once and kept in the user's cache.
"""

import base64
import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.keystone import Keystone
from support.servers import Processes, answers, free_ports, python_with

VERSION = "2.38.3"
WANTED = (f"swift=={VERSION}", "python-swiftclient")
WITH_KEYSTONE = (f"swift=={VERSION}", "keystonemiddleware==13.0.1")
SERVERS = ("object", "container", "account", "proxy")

# Each child runs just what swift-NAME-server runs. One import of swift serves all four.
LAUNCH = """
import importlib, os, signal, sys
home, *ports = sys.argv[1:]
from swift.common import utils
utils.set_swift_dir(home)
from swift.common.ring import RingBuilder
from swift.common.wsgi import run_wsgi
NAMES = ("object", "container", "account", "proxy")
for name, port in zip(NAMES[:3], ports):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev(dict(
        id=0, region=1, zone=1, ip="127.0.0.1", port=int(port), device="d1", weight=1.0,
        replication_ip="127.0.0.1", replication_port=int(port), meta="",
    ))
    builder.rebalance()
    builder.get_ring().save(f"{home}/{name}.ring.gz")
modules = {
    name: importlib.import_module(f"swift.{'obj' if name == 'object' else name}.server")
    for name in NAMES
}
children = []
for name in NAMES:
    child = os.fork()
    if child:
        children.append(child)
        continue
    sys.argv = [f"swift-{name}-server", f"{home}/{name}-server.conf", "-v"]
    more = {}
    if name == "object":
        more["global_conf_callback"] = modules[name].global_conf_callback
    sys.exit(run_wsgi(sys.argv[1], f"{name}-server", verbose=True, **more))

def stop(*_):
    # They are in sessions of their own by now.
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
while True:
    signal.pause()
"""

COMMON = """\
[DEFAULT]
swift_dir = {home}
devices = {devices}
mount_check = false
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
disable_fallocate = true
fallocate_reserve = 0
log_level = WARNING
conn_timeout = 5
node_timeout = 60
"""

STORAGE = """\
container_update_timeout = 30
[pipeline:main]
pipeline = healthcheck {name}-server
[app:{name}-server]
use = egg:swift#{name}
[filter:healthcheck]
use = egg:swift#healthcheck
"""

FILTERS = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl s3api tempauth copy "
    "container_quotas account_quotas slo dlo versioned_writes symlink"
)

PROXY = """\
recoverable_node_timeout = 60
# With one replica a suppressed node means 503 for everything.
error_suppression_interval = 0.1
error_suppression_limit = 1000000
[pipeline:main]
pipeline = {filters} proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
"""

MORE = {
    "tempauth": """\
token_life = 86400
fernet_key_k1 = {key}
active_fernet_key_id = k1
user_test_tester = testing .admin
user_admin_admin = admin .admin .reseller_admin
""",
    "s3api": """\
location = us-east-1
s3_acl = false
dns_compliant_bucket_names = true
""",
    "versioned_writes": """\
allow_versioned_writes = true
allow_object_versioning = true
""",
    "slo": "min_segment_size = 1\n",
}


AUTHTOKEN = """\
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {keystone.url}
auth_url = {keystone.url}
auth_type = password
project_domain_id = default
user_domain_id = default
project_name = service
username = swift
password = {keystone.key}
delay_auth_decision = true
# Else a token that ended is good for some minutes more.
token_cache_time = -1
"""


@dataclass(frozen=True)
class Swift:
    """Where it answers, and who may."""

    url: str
    user: str = "test:tester"
    key: str = "testing"
    access_key: str = "test:tester"
    """For its S3."""
    secret_key: str = "testing"

    @property
    def auth_url(self) -> str:
        return f"{self.url}/auth/v1.0"


def _python() -> Path:
    return python_with(f"swift-and-client-{VERSION}", WANTED)


def swift_command(server: Swift, *arguments: object) -> str:
    """Run Swift's own command-line client; return what it prints."""
    program = _python().with_name("swift")
    access = ["-A", server.auth_url, "-U", server.user, "-K", server.key]
    done = subprocess.run(
        [str(word) for word in (program, *access, *arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def running_swift(
    *, memcached: bool = False, keystone: Keystone | None = None, port: int = 0
) -> Iterator[Swift]:
    """Give a server, and end it.

    :param memcached: as in production: small requests cost half.
    :param keystone: who tells whose a token is, in place of Swift itself. *port* is then the
        one that its catalog tells.
    """
    python = python_with(f"swift-with-keystone-{VERSION}", WITH_KEYSTONE) if keystone else _python()
    home = Path(tempfile.mkdtemp(prefix="rengafs-swift-"))
    logs = home / "logs"
    processes = Processes(logs)
    try:
        logs.mkdir()
        ports = free_ports(4)
        ports[-1] = port or ports[-1]
        cache = free_ports(1)[0] if memcached else 0
        _configure(home, dict(zip(SERVERS, ports, strict=True)), cache, keystone)
        launch = home / "launch.py"
        launch.write_text(LAUNCH)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home)}
        if memcached:
            command = [
                "memcached",
                "-l",
                "127.0.0.1",
                "-p",
                cache,
                "-m",
                64,
                "-u",
                getpass.getuser(),
            ]
            processes.start("memcached", command, environment)
        processes.start("swift", [python, launch, home, *ports[:3]], environment)
        for port in ports:
            address = f"http://127.0.0.1:{port}/healthcheck"
            processes.wait_until(lambda address=address: answers(address), "Swift")
        yield Swift(f"http://127.0.0.1:{ports[-1]}")
    finally:
        processes.stop()
        shutil.rmtree(home, ignore_errors=True)


def _configure(home: Path, ports: dict[str, int], cache: int, keystone: Keystone | None) -> None:
    more = {**MORE, "cache": f"memcache_servers = 127.0.0.1:{cache}\n"}
    filters = FILTERS if cache else FILTERS.replace(" cache ", " ")
    if keystone is not None:
        filters = filters.replace("s3api tempauth", "authtoken keystoneauth")
        more["keystoneauth"] = "operator_roles = admin, member\n"
        more["authtoken"] = AUTHTOKEN.format(keystone=keystone)
    devices = home / "devices"
    (devices / "d1").mkdir(parents=True)
    (home / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_prefix = rengafs\nswift_hash_path_suffix = rengafs\n"
        "[storage-policy:0]\nname = default\ndefault = yes\n[swift-constraints]\n"
    )
    for name, port in ports.items():
        text = COMMON.format(home=home, devices=devices, port=port, user=getpass.getuser())
        if name == "proxy":
            text += PROXY.format(filters=filters)
            key = base64.urlsafe_b64encode(os.urandom(32)).decode()
            for word in filters.split():
                kind = "memcache" if word == "cache" else word
                text += f"[filter:{word}]\n"
                if word != "authtoken":
                    text += f"use = egg:swift#{kind}\n"
                text += more.get(word, "").format(key=key)
        else:
            text += STORAGE.format(name=name)
        (home / f"{name}-server.conf").write_text(text)
