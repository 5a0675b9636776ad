"""The original SDK, unmodified and in its own environment, against a real service over HTTP."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.faulty import answer, faulty
from support.original_sdk import original_python
from support.services import running_service

MEBIBYTE = 1 << 20
SESSION = Path(__file__).parent / "original_session.py"


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    python = original_python()
    large, small = answer(200, os.urandom(MEBIBYTE)), answer(200, b"from elsewhere")
    with (
        running_service(listen="127.0.0.1:0") as service,
        faulty(large) as web,
        faulty(small) as other,
    ):
        done = subprocess.run(
            [python, "-W", "ignore", SESSION, f"{web.address}/data", f"{other.address}/data"],
            env={"RENGA_ENDPOINT": service.address, "RENGA_ACCESS_TOKEN": service.token},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    print(f"from_url of 1 MiB in chunks of one byte: {found['from_url seconds']:.2f} s")
    return found


def test_backends_are_listed(seen: dict[str, Any]):
    assert seen["backends"] == ["local"]


def test_a_bucket_is_created_found_and_listed(seen: dict[str, Any]):
    number, *about = seen["bucket"]

    assert about == ["first", "local"]
    assert seen["bucket found"] == seen["bucket"]
    assert [number, "first"] in seen["buckets"]


def test_a_file_is_opened_written_and_read(seen: dict[str, Any]):
    assert seen["new handle"] == [True, False]
    assert seen["file"] == [True, "dir/hello.txt"]
    assert (seen["read"], seen["read part"]) == ("hello world", "hello")


def test_a_file_is_renamed(seen: dict[str, Any]):
    assert seen["renamed"] == ["dir/renamed.txt"]


def test_every_write_is_a_version_with_its_content(seen: dict[str, Any]):
    contents = {content for _, content in seen["versions"]}

    assert contents == {"hello world", "hello again", "hello at last"}
    assert {name for name, _ in seen["versions"]} == {"dir/renamed.txt"}
    assert seen["version found"] == seen["versions"][0][1]
    assert len(seen["created"]) == 3


def test_a_clone_has_the_content_and_a_history_of_its_own(seen: dict[str, Any]):
    assert seen["clones"] == [True, "clone_dir/renamed.txt", "hello at last"]
    assert seen["named clone"] == ["twin.txt", "hello at last", 1]


def test_a_created_file_is_empty_and_has_an_access_token(seen: dict[str, Any]):
    assert seen["empty"] == ["empty", True, ""]


def test_from_url_reads_a_mebibyte_in_chunks_of_one_byte(seen: dict[str, Any]):
    assert seen["from_url bytes"] == MEBIBYTE
    assert seen["handle from_url"] == "from elsewhere"


def test_errors_are_json_with_message_and_code(seen: dict[str, Any]):
    statuses = {}
    for what in "unknown bucket", "unknown file", "unknown backend":
        statuses[what], fields = seen[what]
        assert {"message", "code"} <= set(fields)

    assert statuses == {"unknown bucket": 404, "unknown file": 404, "unknown backend": 400}
