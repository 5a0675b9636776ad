"""The service does what its OpenAPI description says, whatever is sent to it."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.scale import scaled
from support.services import RunningService, running_service
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol.endpoints import STORAGE
from rengafs.protocol.frames import MEDIA_TYPE
from rengafs.protocol.operations import MakeDirectory, PutLabel
from rengafs.protocol.records import ROOT
from rengafs.service.description import describe
from rengafs.service.run import ServeOptions
from rengafs.service.upkeep import check_data

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = {"feed"}
"""Streams that only the client ends: tests/service/test_feed.py."""


@dataclass
class Target:
    """A service with something in it."""

    service: RunningService
    ids: dict[str, list[int]]
    """Such as exist, by the names of parameters."""
    grants: dict[str, str]


def furnished(talk: Talk) -> tuple[dict[str, list[int]], dict[str, str]]:
    bucket = talk.bucket()
    directory = talk.do(MakeDirectory(parent=bucket.id, name="d")).node
    assert directory is not None
    file = talk.file(bucket, "f", b"one", b"two")
    inner = talk.file(directory, "g", b"x" * 5000)
    talk.do(PutLabel(bucket=bucket.id, name="v1"))
    versions = [version.id for version in talk.run(calls.history(bucket.id, "f")).versions]
    files = [file.id, inner.id]
    ids = {
        "node": [ROOT, bucket.id, directory.id, *files],
        "bucket": [bucket.id],
        "file": files,
        "version": versions,
        "resource_id": [*files, *versions],
        "bucket_id": [bucket.id],
    }
    grants = {
        "io_read": talk.run(calls.authorize_read(file.id)),
        "io_write": talk.run(calls.authorize_write(file.id)),
    }
    return ids, grants


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    with running_service(listen="127.0.0.1:0") as service, talking(service) as talk:
        yield Target(service, *furnished(talk))
        with talking(service) as after:
            assert after.run(calls.service()).user == "tester"
        text = service.log.read_text()
        assert "Traceback" not in text
        assert check_data(ServeOptions("", service.data), contents=True).clean


numbers = st.integers(-1, 300)
commits = st.fixed_dictionaries(
    {"op": st.just("commit"), "node": numbers, "length": st.integers(-1, 20)},
    optional={
        "base": numbers,
        "whole": st.booleans(),
        "extents": st.lists(st.tuples(st.integers(-1, 20), st.integers(-1, 9)), max_size=3),
        "payload": st.integers(-1, 20),
        "handle": st.text(max_size=3),
        "key": st.text(max_size=3),
        "only_if_base": st.booleans(),
    },
)
operations = commits | st.fixed_dictionaries(
    {"op": st.sampled_from(["unlink", "rename", "make_file", "clone", "restore", "set_xattr"])},
    optional={
        "parent": numbers,
        "node": numbers,
        "source": numbers,
        "name": st.text(max_size=5),
        "path": st.text(max_size=5),
        "at": numbers,
        "value": st.text(max_size=5),
    },
)


@st.composite
def framed(draw: Any) -> bytes:
    """Draw a body of frames, whole or not, with the payloads announced or others."""
    body = json.dumps({"atomic": draw(st.booleans())}).encode() + b"\n"
    for operation in draw(st.lists(operations, max_size=4)):
        size = max(0, operation.get("payload", 0)) if draw(st.integers(0, 5)) else 3
        body += json.dumps(operation).encode() + b"\n" + b"x" * size
    return body if draw(st.integers(0, 5)) else body[: draw(st.integers(0, len(body)))]


schemathesis.openapi.media_type(MEDIA_TYPE, framed() | st.binary(max_size=50))


@schemathesis.serializer(MEDIA_TYPE)
def as_frames(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


described = schemathesis.openapi.from_dict(describe("test"))


@described.exclude(operation_id=list(ENDLESS)).parametrize()
@settings(
    max_examples=scaled(12, 400),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_described(case: Any, target: Target) -> None:
    for where in (case.path_parameters, case.body if isinstance(case.body, dict) else None):
        for name, value in dict(where or {}).items():
            known = target.ids.get(name, [])
            # Random ids are nobody's; let half of them be somebody's.
            if known and isinstance(value, int) and value % 2 == 0:
                where[name] = known[value // 2 % len(known)]
    token = target.grants.get(case.operation.definition.raw["operationId"], target.service.token)
    headers = {"authorization": f"Bearer {token}"}
    case.call_and_validate(
        base_url=target.service.address, headers=headers, checks=CHECKS, timeout=240
    )


def test_the_page_shows_the_description_and_needs_no_other_host(target: Target) -> None:
    with httpx.Client(base_url=target.service.address) as http:
        reply = http.get(f"{STORAGE}/ui")

    script = reply.text.partition("<script>")[2].partition("</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = reply.headers["content-security-policy"]
    assert reply.headers["content-type"].startswith("text/html")
    assert f"'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy
    assert "swagger.json" in script
    assert not re.findall(r"(?:https?:)?//[a-z]", reply.text)
