"""What nobody sends by mistake: each is refused clearly, and nothing has changed after it."""

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol import frames
from rengafs.protocol.endpoints import FS, STORAGE
from rengafs.protocol.operations import Apply, Commit
from rengafs.protocol.records import ROOT, Node
from rengafs.service.run import ServeOptions, open_service_catalog
from rengafs.service.tokens import create_token


@pytest.fixture
def bucket(talk: Talk) -> Iterator[Node]:
    """A bucket that is as it was, after whatever a test sent."""
    made = talk.bucket()
    file = talk.file(made, "f", b"one")

    def state() -> tuple[object, ...]:
        listing = talk.run(calls.entries(made.id)).entries
        return listing, talk.versions(made, "f"), talk.run(calls.entries(ROOT, limit=9999)).entries

    before = state()
    yield made
    assert state() == before
    talk.save(file, b"two")


def told(reply: httpx.Response) -> tuple[int, str]:
    """Return status and code of a refusal, of the call or of its one operation."""
    found = reply.json()
    problem = found[0]["problem"] if isinstance(found, list) else found
    assert problem["message"], reply.text
    return problem["status"], problem["code"]


def sent(http: httpx.Client, operation: dict[str, Any]) -> tuple[int, str]:
    # Not by httpx' own JSON, which can't say half a character.
    body = json.dumps({"operations": [operation]})
    headers = {"content-type": "application/json"}
    return told(http.post(f"{FS}/apply", content=body, headers=headers))


NAMES = {
    "": "invalid_name",
    ".": "invalid_name",
    "..": "invalid_name",
    "a/b": "invalid_name",
    "../f": "invalid_name",
    "a\0b": "invalid_name",
    "x" * 256: "name_too_long",
    "x" * 4096: "name_too_long",
    "\u00e9" * 128: "name_too_long",
    "\udc00": "bad_request",
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{name[:4]!r}-{len(name)}")
def test_a_name_that_no_path_carries_is_refused_by_every_operation(
    talk: Talk, http: httpx.Client, bucket: Node, name: str
) -> None:
    here = bucket.id
    file = talk.run(calls.entry(here, "f")).node.id
    for operation in (
        {"op": "make_directory", "parent": here, "name": name},
        {"op": "make_file", "parent": here, "name": name},
        {"op": "make_symlink", "parent": here, "name": name, "target": "x"},
        {"op": "rename", "parent": here, "name": "f", "new_parent": here, "new_name": name},
        {"op": "clone", "source": file, "parent": here, "name": name},
        {"op": "make_bucket", "name": name},
    ):
        status, code = sent(http, operation)
        assert (status, code) == (400, NAMES[name]), operation


@pytest.mark.parametrize(
    "body",
    [
        b'{"operations": [{"op": "make_file", "parent": %d, "name": "\xff\xfe"}]}',
        b'{"operations": [{"op": "make_file", "parent": %d, "name": "\xc3"}]}',
        b'{"operations": [{"op": "make_file", "parent": %d, "name": "x"}',
        b'{"operations": ' + b"[" * 100_000 + b" %d",
        b'{"operations": [{"op": "make_file", "parent": %d, "name": "x", "mode": 1e999}]}',
    ],
)
def test_json_that_is_none_is_refused(http: httpx.Client, bucket: Node, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    reply = http.post(f"{FS}/apply", content=body % bucket.id, headers=headers)
    assert told(reply) == (400, "bad_request")


@pytest.mark.parametrize("query", ["name=%FF%FE", "name=%00", "name=..", "name=" + "x" * 4096])
def test_a_look_up_of_what_no_name_can_be_finds_nothing(
    http: httpx.Client, bucket: Node, query: str
) -> None:
    for address in ("entry", "past/name", "history"):
        reply = http.get(f"{FS}/node/{bucket.id}/{address}?{query}")
        assert reply.status_code in (400, 404), (address, reply.text)
    assert http.get(f"{FS}/path?path=../../etc/passwd").status_code == 404


def framed(commit: Commit, payload: bytes) -> bytes:
    return frames.encode(Apply()) + frames.encode(commit) + payload


@pytest.mark.parametrize(
    ("announced", "payload", "sha256", "code"),
    [
        (10, b"short", "", "body_mismatch"),
        (10, b"", "", "body_mismatch"),
        (3, b"longer", "", "body_mismatch"),
        (3, b"longer\n", "", "bad_request"),
        (5, b"wrong", hashlib.sha256(b"right").hexdigest(), "body_mismatch"),
        (5, b"wrong", "nonsense", "body_mismatch"),
        (-1, b"", "", "bad_request"),
        (1 << 60, b"x", "", "body_mismatch"),
        (1 << 64, b"x", "", "body_mismatch"),
    ],
)
def test_a_payload_that_is_not_the_announced_one_is_refused(
    talk: Talk,
    http: httpx.Client,
    bucket: Node,
    announced: int,
    payload: bytes,
    sha256: str,
    code: str,
) -> None:
    file = talk.run(calls.entry(bucket.id, "f")).node.id
    line = {
        "op": "commit",
        "node": file,
        "length": announced,
        "extents": [[0, announced]],
        "payload": announced,
        "payload_sha256": sha256,
    }
    body = b"{}\n" + json.dumps(line).encode() + b"\n" + payload
    reply = http.post(f"{FS}/apply", content=body)
    problems = reply.json()
    codes = [problems["code"]] if "code" in problems else []
    if not codes:
        codes = [one["problem"]["code"] for one in problems if "problem" in one]
    assert code in codes


def test_a_body_longer_than_its_frames_does_what_was_whole_and_says_so(
    talk: Talk, http: httpx.Client
) -> None:
    made = talk.bucket()
    file = talk.file(made, "f")
    commit = Commit(node=file.id, length=3, extents=[(0, 3)], payload=3)

    reply = http.post(f"{FS}/apply", content=framed(commit, b"abcTRAILING"))

    assert reply.status_code == 400
    # Nothing is kept of a request that was not whole.
    assert talk.versions(made, "f") in ([], [b"abc"])


def test_ids_of_others_and_of_nobody_are_alike(talk: Talk, bucket: Node) -> None:
    stranger = talk.service.token_for("stranger")
    with talking(talk.service, stranger) as other, _raw(talk, stranger) as http:
        mine = other.bucket()
        for number in (bucket.id, 987_654_321, 1 << 40, 0, -1):
            for operation in (
                {"op": "make_file", "parent": number, "name": "x"},
                {"op": "set_attributes", "node": number, "mode": 0},
                {"op": "clone", "source": number, "parent": mine.id, "name": f"c{number}"},
                {"op": "link", "node": number, "parent": mine.id, "name": "x"},
                {"op": "commit", "node": number, "length": 0},
                {"op": "label", "bucket": number, "name": "v"},
            ):
                assert sent(http, operation) == (404, "not_found"), operation
        assert other.run(calls.entries(mine.id)).entries == []


def _raw(talk: Talk, token: str) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=talk.service.endpoint.socket)
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(transport=transport, base_url="http://x", headers=headers, timeout=240)


def test_tokens_forged_and_expired_open_nothing(talk: Talk, bucket: Node) -> None:
    options = ServeOptions("", talk.service.data)
    file = talk.run(calls.entry(bucket.id, "f")).node
    catalog = open_service_catalog(options)
    secret = bytes.fromhex(catalog.identity.secret)
    catalog.close()
    past, later = int(time.time()) - 10, int(time.time()) + 1000
    claims = {"file": file.id, "direction": "write", "user": 1, "name": "eve", "exp": later}
    over = create_token(options, "late", expires_ms=past * 1000)
    deep = "W" + "1tb" * 20_000
    for token, code in [
        (over, "token_expired"),
        (talk.service.token + "x", "not_authenticated"),
        (f"{deep}.{deep}.x", "not_authenticated"),
        (jwt.encode(claims, b"k" * 32, algorithm="HS256"), "not_authenticated"),
        (jwt.encode({**claims, "exp": past}, secret, algorithm="HS256"), "token_expired"),
        (jwt.encode({"file": file.id}, secret, algorithm="HS256"), "not_authenticated"),
        (jwt.encode({**claims, "file": "x"}, secret, algorithm="HS256"), "not_authenticated"),
        (jwt.encode(claims, "", algorithm="none"), "not_authenticated"),
    ]:
        with _raw(talk, token) as http:
            user = http.get(f"{FS}/service")
            write = http.post(f"{STORAGE}/io/write", content=b"evil")
        for reply in (user, write):
            assert reply.status_code in (401, 403), (token[:20], reply.text)
        assert code in {told(user)[1], told(write)[1]}, token[:20]
