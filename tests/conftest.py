"""Fixtures that every part's tests may use."""

import signal
from collections.abc import Iterator

import pytest
from support.postgresql import PostgreSQL, running_postgresql
from support.services import RunningService, running_service


def pytest_configure() -> None:
    """Have Ctrl-C mean to what the tests start what it means to a person's programs.

    What a script's shell runs in the background ignores it, and so would all its children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL for the length of the run; catalogs in it are a test's own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def service() -> Iterator[RunningService]:
    """A real service on a Unix socket, with data of its own: its address, token, data."""
    with running_service() as running:
        yield running


@pytest.fixture
def http_service() -> Iterator[RunningService]:
    """The same on a TCP port of the loopback."""
    with running_service(listen="127.0.0.1:0") as running:
        yield running
