"""A throw-away OpenStack Keystone from PyPI, beside which `running_swift` takes its tokens.

One process: its database is a SQLite file, its keys lie beside it, waitress serves it. A
project, a user who may keep objects there, and a catalog of two regions are made over its API.
"""

import getpass
import grp
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from support.servers import Processes, answers, free_ports, python_with

VERSION = "30.0.0"
WANTED = (f"keystone=={VERSION}", "keystonemiddleware==13.0.1", "waitress==3.0.2")
PASSWORD = "bootstrap"

# One import of Keystone serves all commands and the server: each is forked.
LAUNCH = """
import os, sys
home, port, user, group = sys.argv[1:]
import keystone.cmd.cli, keystone.server.wsgi, waitress
options = ["--config-file", f"{home}/keystone.conf"]
url = f"http://127.0.0.1:{port}/v3"
known = ["--bootstrap-password", "bootstrap", "--bootstrap-region-id", "north"]
commands = [
    ["db_sync"],
    ["fernet_setup", "--keystone-user", user, "--keystone-group", group],
    ["credential_setup", "--keystone-user", user, "--keystone-group", group],
    ["bootstrap", *known, "--bootstrap-public-url", url, "--bootstrap-internal-url", url],
]
for command in commands:
    child = os.fork()
    if not child:
        keystone.cmd.cli.main(["keystone-manage", *options, *command])
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"keystone-manage {command[0]} failed")
sys.argv = ["keystone", *options]
application = keystone.server.wsgi.initialize_public_application()
waitress.serve(application, host="127.0.0.1", port=int(port), threads=4)
"""

CONFIGURATION = """\
[DEFAULT]
log_dir =
use_stderr = true
default_logging_level = WARNING
[database]
connection = sqlite:///{home}/keystone.db
sqlite_synchronous = false
[fernet_tokens]
key_repository = {home}/fernet
[credential]
key_repository = {home}/credential
[fernet_receipts]
key_repository = {home}/fernet
[token]
provider = fernet
[identity]
password_hash_rounds = 4
[cache]
enabled = true
backend = dogpile.cache.memory
"""


@dataclass
class Keystone:
    """Where it answers, and who may."""

    url: str
    """Ends in ``/v3``."""
    user: str = "svc"
    key: str = "svc-key"
    project: str = "lab"
    _admin: httpx.Client = field(default_factory=httpx.Client, repr=False)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Make something, as the administrator; return it."""
        answer = self._admin.post(f"{self.url}/{path}", json=body)
        assert answer.is_success, f"{path}: {answer.text}"
        made: dict[str, Any] = answer.json()
        return next(iter(made.values()))

    def ids(self, path: str) -> dict[str, str]:
        """Return the ids of all of a kind, by name."""
        answer = self._admin.get(f"{self.url}/{path}")
        assert answer.is_success, answer.text
        return {item["name"]: item["id"] for item in answer.json()[path]}

    def grant(self, project: str, user: str, role: str) -> None:
        path = f"projects/{project}/users/{user}/roles/{role}"
        assert self._admin.put(f"{self.url}/{path}").is_success

    def revoke(self, token: str) -> None:
        """End a token, as its owner would."""
        headers = {"x-auth-token": token, "x-subject-token": token}
        assert self._admin.delete(f"{self.url}/auth/tokens", headers=headers).is_success

    def token(self, user: str, key: str, project: str) -> httpx.Response:
        named = {"name": user, "password": key, "domain": {"id": "default"}}
        identity = {"methods": ["password"], "password": {"user": named}}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        body = {"auth": {"identity": identity, "scope": scope}}
        answer = self._admin.post(
            f"{self.url}/auth/tokens", json=body, headers={"x-auth-token": ""}
        )
        assert answer.is_success, answer.text
        return answer

    def credential(self) -> tuple[str, str]:
        """Make an application credential of the user; return its id and its secret."""
        answer = self.token(self.user, self.key, self.project)
        user = answer.json()["token"]["user"]["id"]
        made = self._admin.post(
            f"{self.url}/users/{user}/application_credentials",
            json={"application_credential": {"name": "app"}},
            headers={"x-auth-token": answer.headers["x-subject-token"]},
        )
        assert made.is_success, made.text
        found = made.json()["application_credential"]
        return found["id"], found["secret"]


@contextmanager
def running_keystone(swift_port: int) -> Iterator[Keystone]:
    """Give one whose catalog says that a Swift answers at *swift_port* of this machine."""
    python = python_with(f"keystone-{VERSION}", WANTED)
    home = Path(tempfile.mkdtemp(prefix="rengafs-keystone-"))
    processes = Processes(home / "logs")
    try:
        for name in ("logs", "fernet", "credential"):
            (home / name).mkdir(mode=0o700)
        (home / "keystone.conf").write_text(CONFIGURATION.format(home=home))
        launch = home / "launch.py"
        launch.write_text(LAUNCH)
        (port,) = free_ports(1)
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        user, group = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name
        processes.start("keystone", [python, launch, home, port, user, group], environment)
        url = f"http://127.0.0.1:{port}/v3"
        processes.wait_until(lambda: answers(url), "Keystone")
        with httpx.Client(trust_env=False, timeout=240) as client:
            keystone = Keystone(url, _admin=client)
            _fill(keystone, f"http://127.0.0.1:{swift_port}/v1/AUTH_%(project_id)s")
            yield keystone
    finally:
        processes.stop()
        shutil.rmtree(home, ignore_errors=True)


def _fill(keystone: Keystone, storage_url: str) -> None:
    answer = keystone.token("admin", PASSWORD, "admin")
    keystone._admin.headers["x-auth-token"] = answer.headers["x-subject-token"]
    roles = keystone.ids("roles")
    for project, user, role in (("service", "swift", "admin"), ("lab", keystone.user, "member")):
        made = keystone.post("projects", project={"name": project, "domain_id": "default"})
        named = {"name": user, "password": keystone.key, "domain_id": "default"}
        there = keystone.post("users", user=named)
        keystone.grant(made["id"], there["id"], roles[role])
    store = keystone.post("services", service={"type": "object-store", "name": "swift"})
    keystone.post("regions", region={"id": "south"})
    # Only one of them is true: who chooses wrongly finds nobody there.
    nowhere = "http://127.0.0.1:9/v1/AUTH_%(project_id)s"
    for region, interface, url in (
        ("north", "public", nowhere),
        ("south", "public", nowhere),
        ("south", "internal", storage_url),
    ):
        about = {"service_id": store["id"], "region_id": region, "interface": interface, "url": url}
        keystone.post("endpoints", endpoint=about)
