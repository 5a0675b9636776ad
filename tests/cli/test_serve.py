"""The service in the foreground, and the tokens that it takes."""

import json
import signal
import socket

import pytest

from rengafs.cli.address import probe
from rengafs.client.connection import Endpoint
from rengafs.protocol.errors import NotAuthenticated


def test_it_tells_its_address_and_takes_a_token_made_before(served):
    address, token = served

    assert probe(Endpoint(address, token)).user == "ann"


def test_a_token_made_and_revoked_beside_it_is_known_to_it(home, served):
    address, _ = served
    data = ("--data", home.root / "served")
    made = home.run("token", "create", "bob", *data)
    assert probe(Endpoint(address, made.stdout.strip())).user == "bob"

    revoked = home.run("token", "revoke", "bob", *data)

    assert revoked.returncode == 0, revoked.stderr
    other = home.run("token", "create", "bob", *data)
    assert probe(Endpoint(address, other.stdout.strip())).user == "bob"


def test_a_revoked_token_is_refused_from_the_start(home, refused, served):
    address, _ = served
    data = ("--data", home.root / "served")
    token = home.run("token", "create", "bob", *data).stdout.strip()
    home.run("token", "revoke", "bob", *data)

    with pytest.raises(NotAuthenticated, match="refused the token"):
        probe(Endpoint(address, token))


def test_tokens_are_listed_without_themselves(home, served):
    data = ("--data", home.root / "served")
    token = home.run("token", "create", "bob", "--read-only", "--days", 1, *data).stdout.strip()

    text = home.run("token", "list", *data).stdout
    listed = json.loads(home.run("token", "list", "--json", *data).stdout)
    (told,) = (one for one in listed if one["name"] == "bob")

    assert "ann" in text
    assert "bob" in text
    assert token not in text
    assert told["read_only"]
    assert told["expires_ms"] - told["created_ms"] == pytest.approx(86_400_000, abs=60_000)


def test_revoking_nobody_is_refused(home, refused, served):
    done = home.run("token", "revoke", "bob", "--data", home.root / "served")

    assert "bob" in refused(done)


def test_it_listens_on_a_socket_for_its_user_alone_and_removes_it(home):
    path = home.root / "s.sock"
    process = home.start("serve", "--listen", "unix:s.sock", "--data", "served")
    try:
        line = process.stdout.readline()
        mode = path.stat().st_mode & 0o777
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=240)

    assert line == f"rengafs: serving at unix:{path}\n", err
    assert mode == 0o600
    assert process.returncode == 0, err
    assert not path.exists()


def test_beyond_this_machine_it_wants_to_be_told_that_this_is_meant(home, refused):
    done = home.run("serve", "--listen", "0.0.0.0:0", "--data", home.root / "served")

    assert "--insecure" in refused(done)


def test_systemd_hears_that_it_is_ready(home):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(home.root / "notify"))
        systemd.settimeout(240)
        home.environment["NOTIFY_SOCKET"] = str(home.root / "notify")
        process = home.start("serve", "--listen", "127.0.0.1:0", "--data", "served")
        try:
            heard = systemd.recv(100)
        finally:
            process.terminate()
            process.communicate(timeout=240)

    assert heard == b"READY=1"
