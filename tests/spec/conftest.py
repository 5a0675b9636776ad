"""A service for fsspec's tests, and the filesystem on it."""

import uuid
from collections.abc import Iterator

import fsspec
import pytest
from support.scale import scaled
from support.services import RunningService, running_service

from rengafs.client.spec.filesystem import RengaFileSystem

EVERY = scaled(12, 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Take each twelfth of the many cases of globs, unless the tests run at full length."""
    globs = [item for item in items if "glob_edge_cases[" in item.nodeid]
    left_out = {item.nodeid for index, item in enumerate(globs) if index % EVERY}
    items[:] = [item for item in items if item.nodeid not in left_out]


@pytest.fixture(scope="module")
def module_service() -> Iterator[RunningService]:
    """One service for all tests of a module: each takes a bucket of its own."""
    with running_service() as running:
        yield running


@pytest.fixture
def renga(module_service: RunningService) -> Iterator[RengaFileSystem]:
    """The filesystem, as fsspec finds it by its entry point."""
    found = fsspec.filesystem(
        "renga",
        endpoint=module_service.address,
        token=module_service.token,
        skip_instance_cache=True,
    )
    yield found
    found.service.close()


@pytest.fixture
def bucket(renga: RengaFileSystem) -> str:
    """A bucket of the test's own."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    renga.mkdir(name)
    return name
