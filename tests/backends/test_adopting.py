"""Containers that the stores' own command-line clients wrote, shown as buckets."""

import hashlib
import json
import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from support.mounts import Home
from support.rgw import Gateway, s3cmd
from support.storehome import configured
from support.stores import container
from support.swift import Swift, swift_command

MIB = 1 << 20


def plain_s3(gateway: Gateway) -> Any:
    """Return the library's client, for what this s3cmd can't."""
    return AioSession().create_client(
        "s3",
        endpoint_url=gateway.url,
        region_name="us-east-1",
        aws_access_key_id=gateway.access_key,
        aws_secret_access_key=gateway.secret_key,
        config=AioConfig(s3={"addressing_style": "path"}),
    )


async def keep_versions(gateway: Gateway, bucket: str) -> None:
    """Switch versioning on."""
    async with plain_s3(gateway) as store:
        await store.put_bucket_versioning(
            Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
        )


class SwiftClient:
    backend = "swift-here"

    def __init__(self, swift: Swift) -> None:
        self.server, self.container = swift, container()
        header = "X-Versions-Enabled:true"
        swift_command(swift, "post", self.container, "-H", header)

    def upload(self, path: Path, name: str, *options: str) -> None:
        swift_command(self.server, "upload", *options, "--object-name", name, self.container, path)

    def delete(self, name: str) -> None:
        swift_command(self.server, "delete", self.container, name)

    def listed(self, container: str, *more: str) -> list[dict[str, Any]]:
        found = json.loads(swift_command(self.server, "list", container, "--json", *more))
        assert isinstance(found, list)
        return found

    def times(self, name: str) -> list[int]:
        """When an object's versions were stored, in microseconds, oldest first."""
        listed = self.listed(self.container, "--versions")
        return sorted(
            moment(item["last_modified"])
            for item in listed
            if item["name"] == name and not deletion(item)
        )

    def newest(self, name: str) -> float:
        """The same of the present one, in seconds, as the client tells it."""
        told = swift_command(self.server, "stat", self.container, name)
        return float(re.findall(r"X-Timestamp: *(\S+)", told)[0])


class LegacySwiftClient(SwiftClient):
    """Of the time when old versions lay in a container beside."""

    def __init__(self, swift: Swift) -> None:
        self.server, self.container = swift, container()
        self.archive = f"{self.container} old"
        swift_command(swift, "post", self.archive)
        swift_command(swift, "post", self.container, "-H", f"X-History-Location:{self.archive}")

    def times(self, name: str) -> list[int]:
        old = [
            item["name"].rpartition("/")[2]
            for item in self.listed(self.archive)
            if item["name"].startswith(f"{len(name):03x}{name}/") and not deletion(item)
        ]
        there = any(item["name"] == name for item in self.listed(self.container))
        stamps = [*old, f"{self.newest(name):.5f}"] if there else old
        return sorted(round(float(stamp) * 1_000_000) for stamp in stamps)


def deletion(item: dict[str, Any]) -> bool:
    return str(item["content_type"]).startswith("application/x-deleted")


def moment(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


class S3Client:
    backend = "s3-here"

    def __init__(self, gateway: Gateway) -> None:
        self.server, self.container = gateway, container()
        s3cmd(gateway, "mb", f"s3://{self.container}")
        anyio.run(keep_versions, gateway, self.container)

    def upload(self, path: Path, name: str) -> None:
        s3cmd(self.server, "put", path, f"s3://{self.container}/{name}")

    def delete(self, name: str) -> None:
        s3cmd(self.server, "del", f"s3://{self.container}/{name}")

    def times(self, name: str) -> list[int]:
        async def ask() -> list[int]:
            async with plain_s3(self.server) as store:
                answer = await store.list_object_versions(Bucket=self.container, Prefix=name)
            return [round(item["LastModified"].timestamp() * 1e6) for item in answer["Versions"]]

        return sorted(anyio.run(ask))

    def newest(self, name: str) -> float:
        told = s3cmd(self.server, "info", f"s3://{self.container}/{name}")
        return parsedate_to_datetime(re.findall(r"Last mod: *(.*)", told)[0]).timestamp()


@pytest.fixture(params=[SwiftClient, LegacySwiftClient, S3Client])
def client(request: pytest.FixtureRequest) -> "SwiftClient | S3Client":
    server = "gateway" if request.param is S3Client else "swift"
    return request.param(request.getfixturevalue(server))


def sums(directory: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())]


@pytest.mark.fuse
def test_every_object_and_old_version_is_found(
    home: Home, client: "SwiftClient | S3Client", tmp_path: Path
) -> None:
    written: dict[str, list[str]] = {}

    def upload(name: str, size: int) -> None:
        data = os.urandom(size)
        path = tmp_path / "upload"
        path.write_bytes(data)
        client.upload(path, name)
        written.setdefault(name, []).append(hashlib.sha256(data).hexdigest())

    for save in range(3):
        upload("runs/2026/a.csv", 1000 + save)
    upload("b & c.bin", 3 << 20)
    upload("gone", 10)
    upload("gone", 11)
    client.delete("gone")

    home.run("bucket", "adopt", client.backend, client.container, "--name", "theirs")
    with home.mounted("top", "--backend", client.backend) as top:
        bucket = top / "theirs"
        assert sorted(path.name for path in bucket.iterdir()) == ["b & c.bin", "runs"]
        assert sums(bucket / "runs/2026/.versions/a.csv") == written["runs/2026/a.csv"]
        assert sums(bucket / ".versions/b & c.bin") == written["b & c.bin"]
        assert sums(bucket / ".versions/gone") == written["gone"]
        for name in written:
            saves = sorted((bucket / name).parent.joinpath(".versions", Path(name).name).iterdir())
            assert [path.stat().st_mtime_ns // 1000 for path in saves] == client.times(name)
        # Some clients tell whole seconds only.
        name = "runs/2026/a.csv"
        assert -0.001 < (bucket / name).stat().st_mtime - client.newest(name) < 1

        # Others go on, and so do we.
        upload("runs/2026/a.csv", 2000)
        upload("new", 5)
        client.delete("b & c.bin")
        (bucket / "ours").write_text("ours\n")
        home.run("bucket", "refresh", "theirs")
        assert sums(bucket / "runs/2026/.versions/a.csv") == written["runs/2026/a.csv"]
        assert sorted(path.name for path in bucket.iterdir()) == ["new", "ours", "runs"]
        assert sums(bucket / ".versions/b & c.bin") == written["b & c.bin"]
        again = home.run("bucket", "refresh", "theirs")
        assert "0 new versions, 0 deleted" in again.stdout

        # An edit is a version of ours; what others stored is left alone.
        with (bucket / "runs/2026/a.csv").open("ab") as file:
            file.write(b"more")
        (bucket / "new").unlink()
    home.run("sweep", "--grace", "2")
    home.run("bucket", "refresh", "theirs")
    assert " 0 damaged" in home.run("check", "--contents").stdout


@pytest.mark.fuse
def test_what_others_overwrite_is_an_error_until_it_is_refreshed(
    home: Home, swift: Swift, tmp_path: Path
) -> None:
    name = container()
    path = tmp_path / "file"
    path.write_text("first")
    swift_command(swift, "upload", "--object-name", "file", name, path)
    home.run("bucket", "adopt", "swift-here", name)
    path.write_text("other")
    swift_command(swift, "upload", "--object-name", "file", name, path)
    with home.mounted("top") as top:
        with pytest.raises(OSError, match="Input/output"):
            (top / name / "file").read_text()
        home.run("bucket", "refresh", name)
        assert (top / name / "file").read_text() == "other"

        # No version of it is kept, so it may be again what it was.
        for gone in (False, True):
            if gone:
                swift_command(swift, "delete", name, "file")
                assert " 1 deleted" in home.run("bucket", "refresh", name).stdout
                assert list((top / name).iterdir()) == []
            path.write_text("first")
            swift_command(swift, "upload", "--object-name", "file", name, path)
            assert " 1 new versions" in home.run("bucket", "refresh", name).stdout
            assert (top / name / "file").read_text() == "first"


@pytest.mark.fuse
def test_a_byte_of_a_large_object_is_changed(
    home: Home, client: "SwiftClient | S3Client", tmp_path: Path
) -> None:
    data = bytearray(os.urandom(40 * MIB))
    path = tmp_path / "upload"
    path.write_bytes(data)
    client.upload(path, "large & old")
    home.run("bucket", "adopt", client.backend, client.container, "--name", "theirs")
    with (
        home.mounted("top", "--backend", client.backend) as top,
        (top / "theirs/large & old").open("r+b") as file,
    ):
        file.seek(20 * MIB)
        file.write(b"!")
    data[20 * MIB : 20 * MIB + 1] = b"!"
    with home.mounted("other", "--cache-dir", str(home.path / "cache")) as top:
        assert (top / "theirs/large & old").read_bytes() == data
        first, second = sums(top / "theirs/.versions/large & old")
        assert first == hashlib.sha256(path.read_bytes()).hexdigest()
        assert second == hashlib.sha256(data).hexdigest()


@pytest.mark.fuse
def test_an_edit_of_an_object_that_expires_does_not_expire(
    home: Home, swift: Swift, tmp_path: Path
) -> None:
    client = LegacySwiftClient(swift)
    path = tmp_path / "upload"
    path.write_bytes(os.urandom(20 * MIB))
    client.upload(path, "large", "--header", "X-Delete-After:86400")
    home.run("bucket", "adopt", client.backend, client.container, "--name", "theirs")
    with (
        home.mounted("top", "--backend", client.backend) as top,
        (top / "theirs/large").open("r+b") as file,
    ):
        file.write(b"!")
    name = configured(home, "swift-here", "container")
    told = [
        swift_command(swift, "stat", where, item["name"])
        for where in (name, f"{name}+segments")
        for item in client.listed(where)
    ]
    assert len(told) == 3
    assert not [text for text in told if "X-Delete-At" in text]
    assert "X-Delete-At" in swift_command(swift, "stat", client.container, "large")


@pytest.mark.fuse
def test_objects_of_segments_and_links_are_as_long_as_what_they_show(
    home: Home, swift: Swift, tmp_path: Path
) -> None:
    client = LegacySwiftClient(swift)
    data = bytearray(os.urandom(20 * MIB + 17))
    path, empty = tmp_path / "upload", tmp_path / "empty"
    path.write_bytes(data)
    empty.touch()
    for kind in ("slo", "dlo"):
        options = ("--segment-size", str(6 * MIB), f"--use-{kind}")
        client.upload(path, kind, *options)
    for name, target in (("link", "dlo"), ("lost", "nothing")):
        client.upload(empty, name, "--header", f"X-Symlink-Target:{client.container}/{target}")
    client.upload(empty, "empty")
    listed = {item["name"]: item["bytes"] for item in client.listed(client.container)}
    assert listed == {"slo": len(data), "dlo": 0, "link": 0, "lost": 0, "empty": 0}

    done = home.run("bucket", "adopt", client.backend, client.container, "--name", "theirs")
    assert f"lost of {client.container} is left out" in done.stderr
    with home.mounted("top", "--backend", client.backend) as top:
        bucket = top / "theirs"
        found = {path.name: path.stat().st_size for path in bucket.iterdir()}
        assert found == {"slo": len(data), "dlo": len(data), "link": len(data), "empty": 0}
        for name in ("slo", "dlo", "link"):
            assert (bucket / name).read_bytes() == data
        # What is at the end of one, and at the beginning of another segment.
        with (bucket / "dlo").open("r+b") as file:
            file.seek(12 * MIB - 1)
            file.write(b"12")
        data[12 * MIB - 1 : 12 * MIB + 1] = b"12"
        assert "0 new versions, 0 deleted" in home.run("bucket", "refresh", "theirs").stdout
    with home.mounted("other", "--cache-dir", str(home.path / "cache")) as top:
        assert (top / "theirs/dlo").read_bytes() == data


@pytest.mark.fuse
def test_what_was_there_before_versions_were_kept_is_read_when_it_is_old(
    home: Home, gateway: Gateway, tmp_path: Path
) -> None:
    """Also an S3 bucket that keeps no versions at first."""
    name = container()
    path = tmp_path / "upload"
    s3cmd(gateway, "mb", f"s3://{name}")
    for text in ("first", "second"):
        path.write_text(text)
        s3cmd(gateway, "put", path, f"s3://{name}/file")
    home.run("bucket", "adopt", "s3-here", name)
    with home.mounted("top") as top:
        assert (top / name / "file").read_text() == "second"
        assert len(list((top / name / ".versions/file").iterdir())) == 1
        anyio.run(keep_versions, gateway, name)
        path.write_text("third")
        s3cmd(gateway, "put", path, f"s3://{name}/file")
        home.run("bucket", "refresh", name)
        assert (top / name / "file").read_text() == "third"
    with home.mounted("other", "--cache-dir", str(home.path / "cache")) as top:
        saves = sorted((top / name / ".versions/file").iterdir())
        assert [save.read_text() for save in saves] == ["second", "third"]
        assert "0 new versions, 0 deleted" in home.run("bucket", "refresh", name).stdout


@pytest.mark.fuse
def test_what_was_moved_away_is_not_adopted_again(home: Home, swift: Swift, tmp_path: Path) -> None:
    client = SwiftClient(swift)
    path = tmp_path / "upload"
    for text in ("first", "second", ""):
        path.write_text(text)
        for name in ("changes", "stays", "goes", "went"):
            client.upload(path, name)
    client.delete("went")
    home.run("bucket", "adopt", client.backend, client.container, "--name", "theirs")
    home.run("bucket", "move", "theirs", "s3-here")
    assert "0 new versions, 0 deleted" in home.run("bucket", "refresh", "theirs").stdout

    path.write_text("third")
    client.upload(path, "changes")
    client.delete("goes")
    assert "1 new versions, 1 deleted" in home.run("bucket", "refresh", "theirs").stdout
    with home.mounted("top", "--backend", client.backend) as top:
        bucket = top / "theirs"
        assert sorted(path.name for path in bucket.iterdir()) == ["changes", "stays"]
        for name in ("stays", "goes", "went"):
            saves = sorted((bucket / ".versions" / name).iterdir())
            assert [save.read_text() for save in saves] == ["first", "second", ""]
        assert (bucket / "changes").read_text() == "third"
