"""The real stores, started once for all tests that need them."""

from collections.abc import Iterator

import pytest
from support.mounts import Home
from support.rgw import Gateway, running_gateway
from support.scale import scaled
from support.storehome import store_home
from support.swift import Swift, running_swift


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    with running_swift() as server:
        yield server


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    # In full, long files of several GiB are stored, edited and copied.
    with running_gateway(disk=scaled(0, 40 << 30)) as server:
        yield server


@pytest.fixture
def home(swift: Swift, gateway: Gateway) -> Iterator[Home]:
    """A user's home with the backends swift-here and s3-here."""
    with store_home(swift, gateway) as there:
        yield there
