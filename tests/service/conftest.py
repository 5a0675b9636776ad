from collections.abc import Iterator

import httpx
import pytest
from support.services import RunningService, running_service
from support.talking import Talk, talking


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    """One for all tests of a module that do it no harm: they use buckets of their own."""
    with running_service() as running:
        yield running


@pytest.fixture
def talk(service: RunningService) -> Iterator[Talk]:
    """A service, and a driver that speaks to it."""
    with talking(service) as talk:
        yield talk


@pytest.fixture
def http(service: RunningService) -> Iterator[httpx.Client]:
    """Plain HTTP, for what no client of ours would send."""
    transport = httpx.HTTPTransport(uds=service.endpoint.socket)
    headers = {"authorization": f"Bearer {service.token}"}
    with httpx.Client(
        transport=transport, base_url="http://x", headers=headers, timeout=240
    ) as client:
        yield client
