"""What a request that is wrong gets: 4xx, with ``message`` and ``code``."""

import json

import httpx
import pytest
from support.talking import Talk

from rengafs.client import calls
from rengafs.protocol.endpoints import ALL, EXPLORER, FS, STORAGE


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", f"{FS}/node/abc", None, 404, "not_found"),
        ("DELETE", f"{FS}/usage", None, 405, "method_not_allowed"),
        ("PUT", f"{STORAGE}/io/backends", None, 405, "method_not_allowed"),
        ("GET", f"{FS}/node/99999", None, 404, "not_found"),
        ("GET", f"{FS}/node/99999999999999999999999999", None, 404, "not_found"),
        ("GET", f"{FS}/node/1?at=77", None, 400, "bad_request"),
        ("GET", f"{FS}/node/1?at=abc", None, 400, "bad_request"),
        ("GET", f"{FS}/node/1?at=99999999999999999999999999", None, 400, "bad_request"),
        ("GET", f"{FS}/node/1/entries?limit=x", None, 400, "bad_request"),
        ("GET", f"{FS}/node/1/entry", None, 400, "bad_request"),
        ("GET", f"{FS}/node/1/entry?name=none", None, 404, "not_found"),
        ("GET", f"{FS}/node/99999/entries", None, 404, "not_found"),
        ("GET", f"{FS}/node/1/past?after=zz", None, 400, "bad_request"),
        ("GET", f"{FS}/path?path=no/where", None, 404, "not_found"),
        ("GET", f"{FS}/version/99999", None, 404, "not_found"),
        ("GET", f"{FS}/version/99999/content", None, 404, "not_found"),
        ("GET", f"{FS}/feed?since=99999", None, 400, "bad_request"),
        ("GET", f"{FS}/feed?since=-1", None, 400, "bad_request"),
        ("GET", f"{FS}/moment", None, 400, "bad_request"),
        ("GET", f"{EXPLORER}/bucket/99999", None, 404, "not_found"),
        ("GET", f"{EXPLORER}/bucket/99999/files", None, 404, "not_found"),
        ("GET", f"{EXPLORER}/file/99999", None, 404, "not_found"),
        ("GET", f"{EXPLORER}/file/1", None, 404, "not_found"),
        ("GET", f"{EXPLORER}/file/99999/versions", None, 404, "not_found"),
        ("POST", f"{STORAGE}/authorize/create_bucket", b"{", 400, "bad_request"),
        ("POST", f"{STORAGE}/authorize/create_bucket", b"\xff\xfe", 400, "bad_request"),
        ("POST", f"{STORAGE}/authorize/create_bucket", b"[]", 400, "bad_request"),
        ("POST", f"{STORAGE}/authorize/create_bucket", b'{"name": 5}', 400, "bad_request"),
        (
            "POST",
            f"{STORAGE}/authorize/create_bucket",
            b'{"name": "b", "backend": "tape"}',
            400,
            "unknown_backend",
        ),
        ("POST", f"{STORAGE}/authorize/create_file", b"{}", 400, "bad_request"),
        ("POST", f"{STORAGE}/authorize/create_file", b'{"bucket_id": 99999}', 404, "not_found"),
        ("POST", f"{STORAGE}/authorize/create_file", b'{"bucket_id": 1}', 404, "not_found"),
        ("POST", f"{STORAGE}/authorize/read", b'{"resource_id": 99999}', 404, "not_found"),
        ("POST", f"{STORAGE}/authorize/read", b'{"resource_id": 1}', 404, "not_found"),
        ("POST", f"{STORAGE}/authorize/write", b'{"resource_id": "x"}', 400, "bad_request"),
        ("POST", f"{STORAGE}/authorize/copy_file", b'{"resource_id": 99999}', 404, "not_found"),
        ("PUT", f"{STORAGE}/file/99999", b'{"file_name": "x"}', 404, "not_found"),
        ("PUT", f"{STORAGE}/bucket/99999", b'{"file_name": "x"}', 404, "not_found"),
        ("PUT", f"{STORAGE}/bucket/1", b'{"file_name": "x"}', 404, "not_found"),
        ("POST", f"{FS}/read", b'{"version": 1}', 400, "bad_request"),
        ("POST", f"{FS}/apply", b"", 400, "bad_request"),
        ("POST", f"{FS}/apply", b"nonsense\n", 400, "bad_request"),
        ("POST", f"{FS}/apply", b'{"atomic": 7}\n', 400, "bad_request"),
        ("POST", f"{FS}/apply", b'{}\n{"op": "explode"}\n', 400, "bad_request"),
        ("POST", f"{FS}/apply", b'{}\n{"op": "unlink", "par', 400, "body_mismatch"),
        ("POST", f"{FS}/apply", b'{}\n{"payload": -5}\n', 400, "bad_request"),
        ("POST", f"{STORAGE}/io/write", b"x", 403, "wrong_grant"),
        ("GET", f"{STORAGE}/io/read", None, 403, "wrong_grant"),
        ("POST", f"{FS}/read", b" " * (9 << 20), 413, "too_large"),
    ],
)
def test_it_is_told_what_is_wrong(
    http: httpx.Client, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    reply = http.request(method, path, content=body)

    problem = reply.json()
    assert (reply.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert problem["message"]
    assert problem["request_id"] == reply.headers["rengafs-request-id"]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer a.b.c"])
def test_every_endpoint_wants_a_token(http: httpx.Client, authorization: str) -> None:
    for endpoint in ALL:
        request = endpoint.request(ids={"node": 1, "version": 1, "bucket": 1, "file": 1})
        reply = http.request(request.method, request.path, headers={"authorization": authorization})
        assert reply.status_code == 401, endpoint.name
        assert reply.json()["code"] == "not_authenticated"
        assert reply.headers["www-authenticate"].startswith("Bearer")


def test_operations_that_are_wrong_are_told_so_one_by_one(talk: Talk, http: httpx.Client) -> None:
    bucket = talk.bucket()
    for operation, code in [
        ({"op": "commit", "node": bucket.id, "length": 0}, "is_a_directory"),
        ({"op": "commit", "node": 1 << 70, "length": 0}, "bad_request"),
        ({"op": "commit", "node": bucket.id, "length": -1}, "bad_request"),
        (
            {"op": "commit", "node": bucket.id, "length": 5, "extents": [[0, 9]], "payload": 9},
            "bad_request",
        ),
        (
            {"op": "commit", "node": bucket.id, "length": 9, "extents": [[4, 2], [0, 2]]},
            "bad_request",
        ),
        ({"op": "unlink", "parent": bucket.id, "name": "x"}, "not_found"),
        ({"op": "make_file", "parent": bucket.id, "name": "\ud800"}, "bad_request"),
        ({"op": "make_file", "parent": bucket.id, "name": "x", "key": "k" * 201}, "bad_request"),
        ({"op": "set_attributes", "node": bucket.id, "mode": 0o100644}, "bad_request"),
        ({"op": "set_attributes", "node": bucket.id, "uid": 1 << 70}, "bad_request"),
    ]:
        body = json.dumps({"operations": [operation]})
        reply = http.post(f"{FS}/apply", content=body, headers={"content-type": "application/json"})
        found = reply.json()
        problem = found[0]["problem"] if isinstance(found, list) else found
        assert problem["code"] == code, operation
    assert talk.run(calls.entries(bucket.id)).entries == []


def test_operations_come_as_json_too(talk: Talk, http: httpx.Client) -> None:
    bucket = talk.bucket()
    operations = [{"op": "make_file", "parent": bucket.id, "name": name} for name in "abca"]

    reply = http.post(f"{FS}/apply", json={"operations": operations, "atomic": True})

    assert [outcome["problem"]["code"] for outcome in reply.json()] == [
        "skipped",
        "skipped",
        "skipped",
        "already_exists",
    ]
    reply = http.post(f"{FS}/apply", json={"operations": operations[:3], "atomic": True})
    assert len({outcome["change"] for outcome in reply.json()}) == 1


def test_the_service_describes_and_shows_itself(http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"authorization": ""}).status_code == 200

    description = http.get(f"{STORAGE}/swagger.json", headers={"authorization": ""}).json()

    assert description["openapi"].startswith("3.1")
    assert set(description["paths"]) == {endpoint.path for endpoint in ALL}
    apply = description["paths"][f"{FS}/apply"]["post"]["requestBody"]["content"]
    assert "application/json" in apply


def test_tokens_do_not_reach_the_log(talk: Talk, http: httpx.Client) -> None:
    talk.bucket()
    http.get("/nothing")
    http.get(f"{FS}/usage", headers={"authorization": "Bearer rnga_a-wrong-one"})

    log = talk.service.log.read_text()

    assert "user=tester method=POST" in log
    assert "status=401" in log
    assert talk.service.token not in log
    assert "a-wrong-one" not in log
