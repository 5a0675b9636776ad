from collections.abc import Iterator
from pathlib import Path

import pytest
from support.mounts import Home


@pytest.fixture(scope="session", autouse=True)
def _fuse():
    """Without FUSE these tests prove nothing: fail, don't skip."""
    if not Path("/dev/fuse").exists():
        pytest.fail("there is no /dev/fuse: the mount can't be tested here")


@pytest.fixture
def home(tmp_path_factory) -> Iterator[Home]:
    """A user of their own, with nothing mounted."""
    made = Home(tmp_path_factory.mktemp("home"))
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory) -> Iterator[Home]:
    """A user for all tests of a module."""
    made = Home(tmp_path_factory.mktemp("home"))
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def mount(shared_home) -> Iterator[Path]:
    """A mount for all tests of a module."""
    with shared_home.mounted() as path:
        yield path


@pytest.fixture
def bucket(mount, request) -> Path:
    """A bucket of the test's own."""
    path = mount / request.node.name[:200].replace("/", "-")
    path.mkdir()
    return path
