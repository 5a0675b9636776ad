"""Tokens of an OpenID Connect issuer: what is taken, what is not, and what its keys cost."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.services import RunningService, running_service
from support.signers import AUDIENCE, KEYS, Signer, running_signer
from support.talking import talking

from rengafs.client import calls
from rengafs.protocol.endpoints import STORAGE
from rengafs.protocol.errors import (
    NotAuthenticated,
    NotFound,
    SetupError,
    TokenExpired,
    Unavailable,
)
from rengafs.service import issuing
from rengafs.service.issuing import MOST_ASKED, STALE_SECONDS, Trust, check_trust
from rengafs.service.run import ServeOptions
from rengafs.service.sharing import set_role


@dataclass
class Realm:
    issuer: Signer
    service: RunningService

    def who(self, token: str) -> str:
        """Return what the service calls the token's user. Raises its refusal."""
        with talking(self.service, token) as talk:
            return talk.run(calls.service()).user


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    with running_signer() as issuer:
        trust = Trust(issuer.address, AUDIENCE)
        with running_service(trust=trust) as service:
            yield Realm(issuer, service)


def test_a_user_is_made_when_first_seen_and_known_again(realm: Realm) -> None:
    ann = realm.issuer.token("ann")
    assert realm.who(ann) == "ann"
    with talking(realm.service, ann) as talk:
        bucket = talk.bucket()
        talk.file(bucket, "f", b"hers")
    renamed = realm.issuer.token("ann", preferred_username="ann.b")
    assert realm.who(renamed) == "ann"
    with talking(realm.service, renamed) as talk:
        assert talk.versions(bucket, "f") == [b"hers"]
    with talking(realm.service, realm.issuer.token("bob")) as bob:
        with pytest.raises(NotFound):
            bob.run(calls.node(bucket.id))
        set_role(ServeOptions("", realm.service.data), str(bucket.id), "bob", "reader")
        assert bob.versions(bucket, "f") == [b"hers"]


def test_a_name_that_is_taken_gives_nobody_what_is_its_bearers(realm: Realm) -> None:
    with talking(realm.service) as talk:
        hidden = talk.bucket()
    thief = realm.issuer.token("tester")

    assert realm.who(thief).startswith("tester~")
    assert realm.who(realm.issuer.token("embedded")).startswith("embedded~")
    assert realm.who(realm.issuer.token("x", preferred_username="\0\n")).startswith("~")
    with talking(realm.service, thief) as talk, pytest.raises(NotFound):
        talk.run(calls.node(hidden.id))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(issuer: Signer) -> str:
    _, body, _ = issuer.token("eve").split(".")
    return f"{_encoded(json.dumps({'alg': 'none'}).encode())}.{body}."


def by_public_key(issuer: Signer) -> str:
    """The old trick: HMAC with the public key, which everybody knows, as the secret."""
    public = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = _encoded(json.dumps({"alg": "HS256", "kid": issuer.key_id}).encode())
    signed = f"{head}.{issuer.token('eve').split('.')[1]}"
    return f"{signed}.{_encoded(hmac.digest(public, signed.encode(), 'sha256'))}"


def forged(issuer: Signer) -> str:
    return issuer.token("eve", key=rsa.generate_private_key(public_exponent=65537, key_size=2048))


def changed(issuer: Signer) -> str:
    head, _, signature = issuer.token("eve").split(".")
    claims = {"iss": issuer.address, "sub": "subject-of-ann", "aud": AUDIENCE, "exp": 2e9}
    return f"{head}.{_encoded(json.dumps(claims).encode())}.{signature}"


def nested(issuer: Signer) -> str:
    _, body, signature = issuer.token("eve").split(".")
    return f"{_encoded(b'[' * 20_000)}.{body}.{signature}"


def claiming(**claims: Any) -> Callable[[Signer], str]:
    return lambda issuer: issuer.token("eve", **claims)


@pytest.mark.parametrize(
    "make",
    [
        unsigned,
        by_public_key,
        forged,
        changed,
        nested,
        claiming(alg="RS512"),
        claiming(aud="account"),
        claiming(aud=None),
        claiming(iss="https://elsewhere.example"),
        claiming(iss=None),
        claiming(sub=None),
        claiming(sub=7),
        claiming(exp=None),
        claiming(exp="soon"),
        claiming(exp=float("inf")),
        claiming(exp=float("nan")),
        claiming(nbf=int(time.time()) + 10_000),
        claiming(typ="ID"),
        claiming(typ="Refresh"),
        claiming(preferred_username=None),
        claiming(preferred_username=["eve"]),
        claiming(kid="another"),
        lambda _: "x.y.z",
    ],
)
def test_a_token_that_is_not_good_is_refused(realm: Realm, make: Callable[[Signer], str]) -> None:
    realm.who(realm.issuer.token("ann"))
    with pytest.raises(NotAuthenticated):
        realm.who(make(realm.issuer))


def test_an_expired_token_is_told_as_such_after_some_leeway(realm: Realm) -> None:
    now = int(time.time())
    assert realm.who(realm.issuer.token("ann", exp=now - 5)) == "ann"
    with pytest.raises(TokenExpired):
        realm.who(realm.issuer.token("ann", exp=now - issuing.LEEWAY_SECONDS - 5))


def test_an_issuers_token_is_no_grant_and_does_not_reach_the_log(realm: Realm) -> None:
    token = realm.issuer.token("ann")
    transport = httpx.HTTPTransport(uds=realm.service.endpoint.socket)
    with httpx.Client(transport=transport, base_url="http://x") as http:
        reply = http.get(f"{STORAGE}/io/read", headers={"authorization": f"Bearer {token}"})
    assert reply.status_code == 401
    assert token.split(".")[2] not in realm.service.log.read_text()


def test_rotated_keys_are_fetched_at_once(realm: Realm) -> None:
    old = realm.issuer.token("ann")
    realm.who(old)
    realm.issuer.rotate(curve=True)

    assert realm.who(realm.issuer.token("bob")) == "bob"
    with pytest.raises(NotAuthenticated):
        realm.who(realm.issuer.token("ann", kid=jwt.get_unverified_header(old)["kid"]))


@pytest.fixture
def issuer() -> Iterator[Signer]:
    with running_signer() as issuer:
        yield issuer


class Judge:
    """An issuer's judge with a clock of its own."""

    def __init__(self, issuer: Signer) -> None:
        self.now = 0.0
        trust = Trust(issuer.address, AUDIENCE)
        self.judge = issuing.Issuer(trust, monotonic=lambda: self.now).judge


def test_keys_are_asked_for_once_and_for_unknown_ones_only_so_often(issuer: Signer) -> None:
    async def run() -> None:
        judge = Judge(issuer)
        for _ in range(5):
            await judge.judge(issuer.token("ann"))
        assert issuer.asked.count(KEYS) == 1
        for number in range(50):
            with pytest.raises(NotAuthenticated):
                await judge.judge(issuer.token("eve", kid=f"made-up-{number}"))
        assert issuer.asked.count(KEYS) == MOST_ASKED
        judge.now += 3601
        await judge.judge(issuer.token("ann"))
        assert issuer.asked.count(KEYS) == MOST_ASKED + 1

    anyio.run(run)


def test_known_keys_outlast_an_issuer_that_is_away_for_a_day(issuer: Signer) -> None:
    async def run() -> None:
        judge = Judge(issuer)
        issuer.answers = False
        with pytest.raises(Unavailable) as raised:
            await judge.judge(issuer.token("ann"))
        assert raised.value.details["carried_out"] is False
        issuer.answers = True
        await judge.judge(issuer.token("ann"))
        issuer.answers = False
        judge.now += STALE_SECONDS - 1
        await judge.judge(issuer.token("ann"))
        judge.now += 2
        with pytest.raises(Unavailable):
            await judge.judge(issuer.token("ann"))

    anyio.run(run)


def test_an_issuer_that_calls_itself_otherwise_is_not_believed(issuer: Signer) -> None:
    async def run() -> None:
        issuer.name = "http://127.0.0.1/another"
        with pytest.raises(Unavailable, match="calls itself"):
            await Judge(issuer).judge(issuer.token("ann"))

    anyio.run(run)


@pytest.mark.parametrize(
    ("address", "audience", "word"),
    [
        ("https://id.example", "", "--oidc-audience"),
        ("http://id.example", "rengafs", "clear text"),
        ("id.example", "rengafs", "https://"),
        ("file:///etc/passwd", "rengafs", "https://"),
    ],
)
def test_an_issuer_that_can_not_be_trusted_keeps_the_service_from_starting(
    address: str, audience: str, word: str
) -> None:
    with pytest.raises(SetupError, match=word):
        check_trust(Trust(address, audience), insecure=False)
