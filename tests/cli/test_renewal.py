"""Tokens that end while a mount lives: nobody who works in it notices."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from support.issuers import AUDIENCE, Issuer, running_issuer

from rengafs.client.access.credentials import FileStore, Secret
from rengafs.client.access.renewing import renewed

CONDITION_SECONDS = 240.0
GONE_BY = -22.0
"""A service takes a token for 30 s after its end: this one is refused in 8 s."""


@contextmanager
def serving(home, issuer: Issuer) -> Iterator[str]:
    trust = ["--oidc-issuer", issuer.address, "--oidc-audience", AUDIENCE]
    data = home.root / "served"
    process = home.start("serve", "--listen", "127.0.0.1:0", "--data", data, *trust)
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=CONDITION_SECONDS)


def kept(home) -> FileStore:
    return FileStore(home.root / ".config" / "rengafs" / "credentials.json")


def login(home, issuer: Issuer, address: str, expires_ms: int | None) -> None:
    kept(home).save(
        address,
        Secret(
            token=issuer.token(),
            expires_ms=expires_ms,
            refresh_token="again",
            issuer=issuer.address,
            client_id="rengafs",
        ),
    )


@contextmanager
def mounted(home, *arguments) -> Iterator[Path]:
    done = home.run("mount", *arguments, home.mountpoint)
    assert done.returncode == 0, done.stderr + home.log("mount")
    try:
        yield home.mountpoint
    finally:
        done = home.run("umount", home.mountpoint)
        assert done.returncode == 0, done.stderr + home.log("mount")


@pytest.mark.fuse
def test_a_login_whose_token_is_refused_is_renewed_and_no_tool_notices(home, until):
    with running_issuer() as issuer, serving(home, issuer) as address:
        issuer.seconds = GONE_BY
        login(home, issuer, address, None)
        first = kept(home).load(address).token
        with mounted(home, "--endpoint", address) as buckets:
            issuer.seconds = 300
            (buckets / "data").mkdir()

            def works() -> bool:
                (buckets / "data" / "note").write_text("one more\n")
                return kept(home).load(address).token != first

            until(works, "the login is renewed")
            assert (buckets / "data" / "note").read_text() == "one more\n"

    assert "refresh_token" in issuer.asked


@pytest.mark.fuse
def test_a_login_is_renewed_before_its_token_ends_though_nothing_is_asked(home, until):
    with running_issuer() as issuer, serving(home, issuer) as address:
        issuer.promised = 61.0
        login(home, issuer, address, 0)
        with mounted(home, "--endpoint", address):
            before = len(issuer.asked)
            until(lambda: len(issuer.asked) > before + 1, "it is renewed again and again")


def _makes(directory: Path) -> bool:
    try:
        directory.mkdir(exist_ok=True)
    except PermissionError:
        return False
    return True


@pytest.mark.fuse
def test_a_token_file_that_is_rewritten_counts_when_the_old_token_is_refused(home, served, until):
    address, token = served
    file = home.root / "token"
    file.write_text(token)
    data = home.root / "served"
    numbers = count()
    with mounted(home, "--endpoint", address, "--token-file", file) as buckets:
        (buckets / "data").mkdir()
        gone = home.run("token", "revoke", "ann", "--data", data)
        assert gone.returncode == 0, gone.stderr
        until(lambda: not _makes(buckets / f"b{next(numbers)}"), "the old token is refused")

        file.write_text(home.run("token", "create", "ann", "--data", data).stdout)
        until(lambda: _makes(buckets / "taken"), "the new token is used")


def test_many_who_see_a_login_end_renew_it_once(tmp_path):
    with running_issuer() as issuer:
        store = FileStore(tmp_path / "credentials.json")
        old = Secret(token="old", refresh_token="again", issuer=issuer.address, client_id="x")
        store.save("https://x", old)

        def one(_: int) -> str:
            return renewed("https://x", store, tmp_path / "lock", "old").token

        with ThreadPoolExecutor(8) as pool:
            tokens = set(pool.map(one, range(8)))

        assert issuer.asked == ["refresh_token"]
        assert tokens == {store.load("https://x").token}
