"""The service that mounts start for themselves: started once, shared, ended by the last."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from rengafs.cli.paths import short_hash

# A user of the embedded service that is no mount: it holds it until its standard input ends.
USER = """
import sys
from rengafs.cli.embedded import embedded
from rengafs.cli.paths import find_paths
paths = find_paths()
with embedded(paths, paths.data) as endpoint:
    print(endpoint.address, endpoint.token, flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the embedded service."""

    def __init__(self, home):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", USER],
            env=home.environment,
            cwd=home.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def endpoint(self):
        address, token = self.process.stdout.readline().split()
        return address, token

    def leave(self):
        self.process.communicate(timeout=240)
        return self.process.returncode


@pytest.fixture
def user(home):
    """Start users; those that a failed test leaves are ended."""
    started = []

    def start():
        started.append(User(home))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def services(home):
    return [number for number, line in home.processes().items() if " serve " in line]


def socket_path(home):
    return home.runtime / f"service-{short_hash(home.data)}.sock"


def test_the_first_user_starts_it_and_the_last_ends_it(home, user):
    one, two = user(), user()
    assert one.endpoint() == two.endpoint()
    assert len(services(home)) == 1

    assert one.leave() == 0
    assert len(services(home)) == 1

    assert two.leave() == 0
    assert home.leftovers() == []


def test_users_that_come_at_once_start_one(home, user):
    users = [user() for _ in range(5)]

    endpoints = {one.endpoint() for one in users}

    assert len({address for address, _ in endpoints}) == 1
    assert len(services(home)) == 1
    assert [one.leave() for one in users] == [0] * 5
    assert home.leftovers() == []


def test_coming_while_the_last_one_leaves_finds_a_service(home, user):
    for _ in range(3):
        last = user()
        last.endpoint()
        last.process.stdin.close()
        last.process.stdin = None
        next_one = user()
        address, _ = next_one.endpoint()
        assert address
        assert next_one.leave() == 0
        assert last.leave() == 0
    assert home.leftovers() == []


def test_a_user_that_is_killed_does_not_keep_it_alive(home, user, until):
    killed = user()
    killed.endpoint()

    killed.process.kill()

    until(lambda: not services(home), "the service leaves by itself")
    assert not socket_path(home).exists()


def test_a_service_that_was_killed_is_started_again(home, user):
    before = user()
    address, token = before.endpoint()
    (service,) = services(home)
    os.kill(service, signal.SIGKILL)

    after = user()

    assert after.endpoint() == (address, token)
    assert after.leave() == 0
    assert before.leave() == 0
    assert home.leftovers() == []


def test_a_stale_socket_is_replaced(home, user):
    home.runtime.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(home)))

    one = user()

    assert one.endpoint()[0] == f"unix:{socket_path(home)}"
    assert one.leave() == 0
    assert home.leftovers() == []


def test_the_token_is_a_secret_and_stays_the_same(home, user):
    one = user()
    _, token = one.endpoint()
    one.leave()
    file = home.data / "embedded.token"
    assert file.read_text() == token + "\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert home.data.stat().st_mode & 0o077 == 0

    two = user()

    assert two.endpoint()[1] == token
    two.leave()


def test_a_token_that_the_service_no_longer_knows_is_made_anew(home, user):
    one = user()
    one.endpoint()
    one.leave()
    (home.data / "embedded.token").write_text("rnga_of_another_time\n")

    two = user()

    assert two.endpoint()[1] != "rnga_of_another_time"
    two.leave()


def test_a_data_directory_of_something_else_is_refused(home, refused):
    home.data.mkdir(parents=True)
    (home.data / "thesis.txt").write_text("x")

    done = home.run("mount", home.mountpoint)

    assert f"{home.data} is not empty, and not rengafs' data" in refused(done)
    assert home.leftovers() == []


def test_why_it_cannot_start_is_told(home, user, refused):
    one = user()
    one.endpoint()
    one.leave()
    (home.data / "catalog.sqlite").write_text("not a database, but longer than a header " * 99)

    done = home.run("mount", home.mountpoint)

    assert "the catalog is damaged" in refused(done)
    assert home.leftovers() == []
