"""The original SDK, rengafs' own and the filesystem's calls see one and the same history."""

import json
import subprocess
from pathlib import Path
from typing import Any

from support.aging import age
from support.original_sdk import original_python
from support.services import RunningService, running_service
from support.talking import talking

from rengafs import Client
from rengafs.client import calls
from rengafs.protocol.operations import Rename, SetRetention

SESSION = Path(__file__).parent / "original_history.py"
Seen = dict[str, list[list[Any]]]


def by_the_original(service: RunningService, *arguments: str) -> Seen:
    done = subprocess.run(
        [original_python(), "-W", "ignore", SESSION, "data", *arguments],
        env={"RENGA_ENDPOINT": service.address, "RENGA_ACCESS_TOKEN": service.token},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: Seen = json.loads(done.stdout)
    return found


def by_ours(service: RunningService) -> Seen:
    with Client(service.address, service.token) as client:
        (bucket,) = [bucket for bucket in client.buckets.list() if bucket.name == "data"]
        return {
            file.filename: [
                # The original knows whole seconds only.
                [version.id, int(version.created.timestamp()), version.open("r").read().decode()]
                for version in sorted(file.versions, key=lambda version: version.id)
            ]
            for file in bucket.files
        }


def test_both_sdks_and_the_filesystem_see_one_history() -> None:
    with running_service(listen="127.0.0.1:0") as service:
        with Client(service.address, service.token) as client:
            file = client.buckets.create(name="data").files.create("d/by-ours")
            for text in ("one", "two", "three"):
                with file.open("w") as out:
                    out.write(text)
        by_the_original(service, "save")
        with talking(service) as talk:
            directory = talk.run(calls.path("data/d")).node
            talk.do(
                Rename(
                    parent=directory.id,
                    name="by-ours",
                    new_parent=directory.id,
                    new_name="renamed",
                )
            )
            talk.save(talk.run(calls.path("data/d/renamed")).node, b"four")

            seen = by_ours(service)
            assert by_the_original(service) == seen
            assert {name: [text for *_, text in found] for name, found in seen.items()} == {
                "d/renamed": ["one", "two", "three", "four"],
                "d/by-original": ["original one", "original two"],
            }
            for name, found in seen.items():
                history = talk.run(calls.history(directory.id, name.removeprefix("d/"))).versions
                assert [version.id for version in history] == [number for number, *_ in found]
                assert [version.created_ms // 1000 for version in history] == [
                    created for _, created, _ in found
                ]

            # What has been pruned is gone for all of them.
            bucket = talk.run(calls.path("data")).node
            talk.do(SetRetention(bucket=bucket.id, rule="all for 1 day"))
            age(service.data, 3)
            assert talk.run(calls.prune(bucket.id)).versions == 4
            seen = by_ours(service)
            assert by_the_original(service) == seen
            left = sorted(text for found in seen.values() for *_, text in found)
            assert left == ["four", "original two"]
