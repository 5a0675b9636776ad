"""A user's home whose service has backends on the tests' servers."""

import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.mounts import Home
from support.rgw import Gateway
from support.stores import container
from support.swift import Swift

CONFIGURATION = """
default = "swift-here"

[backends.swift-here]
kind = "swift"
container = "{swift_container}"
auth = "v1"
auth_url = "{swift.auth_url}"
user = "{swift.user}"
key = "env:TEST_SWIFT_KEY"

[backends.s3-here]
kind = "s3"
bucket = "{bucket}"
endpoint = "{gateway.url}"
region = "us-east-1"
access_key = "{gateway.access_key}"
secret_key = "env:TEST_S3_KEY"
addressing = "path"
"""


def configured(home: Home, backend: str, name: str) -> str:
    """Return a setting of one of the home's backends."""
    text = Path(home.environment["RENGAFS_BACKENDS"]).read_text()
    return str(tomllib.loads(text)["backends"][backend][name])


@contextmanager
def store_home(swift: Swift, gateway: Gateway) -> Iterator[Home]:
    """Give one, and end what runs in it. Its path is short: sockets are in it."""
    with tempfile.TemporaryDirectory(prefix="rengafs-", ignore_cleanup_errors=True) as path:
        home = Home(Path(path))
        file = home.path / "backends.toml"
        file.write_text(
            CONFIGURATION.format(
                swift=swift, gateway=gateway, swift_container=container(), bucket=container()
            )
        )
        home.environment["RENGAFS_BACKENDS"] = str(file)
        home.environment["TEST_SWIFT_KEY"] = swift.key
        home.environment["TEST_S3_KEY"] = gateway.secret_key
        try:
            yield home
        finally:
            home.kill_all()
