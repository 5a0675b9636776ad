"""``rengafs login`` and ``logout``: by a token, and by an issuer's device flow."""

import json
import os
import pty
import stat
import subprocess
import time

import keyring
import keyring.backend
import keyring.errors
import pytest
from support.issuers import AUDIENCE, running_issuer

from rengafs.cli.exits import Exit
from rengafs.client.access.credentials import FileStore, Secret, find_store
from rengafs.client.access.devicelogin import log_in, refresh
from rengafs.client.access.settings import add_endpoint, read_settings
from rengafs.protocol.errors import NotAuthenticated, SetupError

CONDITION_SECONDS = 240.0


def login_with(home, token, *arguments):
    return subprocess.run(
        [*home.program, "login", *arguments],
        env=home.environment,
        input=token,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def configuration(home):
    return home.root / ".config" / "rengafs"


def test_a_login_keeps_the_token_closed_and_names_the_service(home, served, configuration):
    address, token = served

    done = login_with(home, token + "\n", address, "--name", "here", "--default")

    assert done.returncode == 0, done.stderr
    assert f"logged in to {address} as ann" in done.stdout
    kept = configuration / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert read_settings(configuration / "config.toml").endpoint == "here"
    shown = home.run("config", "show").stdout
    assert token not in shown
    assert str(kept) in shown
    assert home.run("log", "nothing").returncode != Exit.REFUSED


def test_a_login_is_told_as_json_without_its_token(home, served, configuration):
    address, token = served

    done = login_with(home, token, address, "--name", "here", "--json")

    assert json.loads(done.stdout) == {
        "name": "here",
        "address": address,
        "user": "ann",
        "kept": str(configuration / "credentials.json"),
    }


def test_a_logout_forgets_the_token_and_keeps_the_name(home, served, refused):
    address, token = served
    login_with(home, token, address, "--name", "here")

    assert home.run("logout", "here").returncode == 0

    done = home.run("log", "--endpoint", "here", "nothing")
    assert "say rengafs login" in refused(done)
    assert "holds no token" in refused(home.run("logout", "here"))


def test_a_token_that_the_service_refuses_is_not_kept(home, served, configuration):
    address, _token = served

    done = login_with(home, "rnga_wrong\n", address)

    assert done.returncode == Exit.REFUSED
    assert done.stderr.count("\n") == 1
    assert list(configuration.glob("*")) == []


def test_an_empty_token_is_refused(home, served):
    done = login_with(home, "\n", served[0])

    assert "no token came" in done.stderr
    assert done.returncode == Exit.REFUSED


def test_at_a_terminal_one_agrees_to_a_code(home):
    """The whole of it: issuer, service, and a person at a terminal."""
    with running_issuer() as issuer:
        data = home.root / "served"
        trust = ["--oidc-issuer", issuer.address, "--oidc-audience", AUDIENCE]
        process = home.start("serve", "--listen", "127.0.0.1:0", "--data", data, *trust)
        try:
            address = process.stdout.readline().split()[-1]
            terminal, end = pty.openpty()
            done = subprocess.run(
                [*home.program, "login", address, "--name", "here"],
                env=home.environment,
                stdin=end,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            os.close(end)
            os.close(terminal)
            assert done.returncode == 0, done.stderr
            assert "agree to the code ABCD-EFGH" in done.stderr
            assert f"logged in to {address} as ann" in done.stdout
            assert home.run("log", "--endpoint", "here", "x").returncode != Exit.REFUSED
        finally:
            process.terminate()
            process.communicate(timeout=CONDITION_SECONDS)


def test_a_login_waits_until_the_person_agrees_and_is_renewed_later():
    told = []
    with running_issuer() as issuer:
        issuer.agreed_after = 3
        secret = log_in(issuer.address, "rengafs", "openid", show=told.append)
        fresh = refresh(secret)

    assert told[0].user_code == "ABCD-EFGH"
    assert len(issuer.asked) == 5
    assert secret.refresh_token == fresh.refresh_token == "again"
    assert fresh.expires_ms > time.time() * 1000


def test_a_login_that_is_denied_says_so():
    with running_issuer() as issuer:
        issuer.denied = True
        with pytest.raises(NotAuthenticated, match="not agreed to: Ann said no"):
            log_in(issuer.address, "rengafs", "openid", show=lambda _: None)


def test_the_file_keeps_one_secret_for_an_address(tmp_path):
    store = find_store(tmp_path / "config.toml", {})

    store.save("https://x/", Secret(token="1"))
    store.save("https://x", Secret(token="2"))
    store.save("https://y", Secret(token="3"))

    assert isinstance(store, FileStore)
    assert store.load("https://x").token == "2"
    assert store.forget("https://x")
    assert not store.forget("https://x")
    assert set(json.loads((tmp_path / "credentials.json").read_text())) == {"https://y"}


def test_naming_a_service_leaves_what_else_the_configuration_says(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("# mine\n[mount]\ncache-size = '20G'  # enough\n")

    add_endpoint(file, "a", "https://a.example", default=False)
    add_endpoint(file, "b", "https://b.example", default=True)

    text = file.read_text()
    assert "# mine" in text
    assert "cache-size = '20G'  # enough" in text
    settings = read_settings(file)
    assert settings.endpoint == "b"
    assert settings.address("a") == "https://a.example"
    assert settings.commands == {"mount": {"cache-size": "20G"}}


class Memory(keyring.backend.KeyringBackend):
    """A keyring in memory: that of a desktop wants a desktop, and a person to unlock it."""

    priority = 5

    def __init__(self):
        super().__init__()
        self.kept, self.locked = {}, False

    def _check(self):
        if self.locked:
            raise keyring.errors.KeyringLocked("it is locked")

    def get_password(self, service, username):
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self._check()
        self.kept[service, username] = password

    def delete_password(self, service, username):
        self._check()
        if self.kept.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError("there is none")


@pytest.fixture
def memory():
    before, made = keyring.get_keyring(), Memory()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


BUS = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}


def test_where_a_desktop_has_a_keyring_secrets_are_kept_there_and_not_in_a_file(tmp_path, memory):
    store = find_store(tmp_path / "config.toml", BUS)
    secret = Secret(token="t", expires_ms=5, refresh_token="r", issuer="i", client_id="c")

    store.save("https://x/", secret)

    assert store.place == "the keyring"
    assert list(tmp_path.iterdir()) == []
    assert set(memory.kept) == {("rengafs", "https://x")}
    assert find_store(tmp_path / "config.toml", BUS).load("https://x") == secret
    assert store.load("https://y") is None
    assert store.forget("https://x")
    assert not store.forget("https://x")
    assert store.load("https://x") is None


def test_a_keyring_that_is_locked_or_damaged_is_told_with_a_remedy(tmp_path, memory):
    store = find_store(tmp_path / "config.toml", BUS)
    memory.kept["rengafs", "https://x"] = "{"
    with pytest.raises(SetupError, match="the keyring holds for rengafs is damaged; log in again"):
        store.load("https://x")

    memory.locked = True

    with pytest.raises(SetupError, match=r"does not answer .*; unlock it"):
        store.load("https://x")
    with pytest.raises(SetupError, match="does not take the token"):
        store.save("https://x", Secret(token="t"))
    with pytest.raises(SetupError, match="unlock it"):
        store.forget("https://x")


def test_a_keyring_that_keeps_nothing_is_not_used(tmp_path, memory):
    memory.__class__.priority = 0
    try:
        store = find_store(tmp_path / "config.toml", BUS)
    finally:
        memory.__class__.priority = 5
    assert isinstance(store, FileStore)
    assert isinstance(find_store(tmp_path / "config.toml", {}), FileStore)
