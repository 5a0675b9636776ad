"""Buckets in remote stores, through a real kernel mount and the embedded service."""

import hashlib
import os
import tomllib
from pathlib import Path

import pytest
from support.mounts import Home
from support.rgw import Gateway, s3cmd
from support.swift import Swift, swift_command

MIB = 1 << 20


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.fuse
@pytest.mark.parametrize("backend", ["swift-here", "s3-here"])
def test_saves_edits_and_history_are_in_the_store(home: Home, backend: str) -> None:
    data = os.urandom(24 * MIB)
    with home.mounted("first", "--backend", backend) as top:
        bucket = top / "data"
        bucket.mkdir()
        assert os.getxattr(bucket, "user.renga.backend").decode() == backend
        (bucket / "note.txt").write_text("one\n")
        (bucket / "note.txt").write_text("two\n")
        (bucket / "large").write_bytes(data)
        with (bucket / "large").open("r+b") as file:
            file.seek(9 * MIB)
            file.write(b"!")
        edited = bytearray(data)
        edited[9 * MIB] = ord("!")
        mark = os.getxattr(bucket / "large", "user.renga.sha256").decode()
        assert mark.startswith("tree:")

    # Another mount, with nothing in its cache and another service.
    with home.mounted("second", "--cache-dir", str(home.path / "other-cache")) as top:
        bucket = top / "data"
        notes = sorted((bucket / ".versions" / "note.txt").iterdir())
        assert [note.read_text() for note in notes] == ["one\n", "two\n"]
        assert sha256(bucket / "large") == hashlib.sha256(edited).hexdigest()
        saves = sorted((bucket / ".versions" / "large").iterdir())
        assert [sha256(save) for save in saves] == [
            hashlib.sha256(content).hexdigest() for content in (data, edited)
        ]
    checked = home.run("check", "--contents")
    assert "4 blobs, 0 damaged" in checked.stdout
    for line in home.logs().splitlines():
        assert "testing" not in line  # the secrets of both stores


@pytest.mark.fuse
@pytest.mark.parametrize("backend", ["swift-here", "s3-here"])
def test_the_stores_own_tools_read_a_file_under_the_key_that_the_mount_tells(
    home: Home, swift: Swift, gateway: Gateway, backend: str, tmp_path: Path
) -> None:
    data = os.urandom(24 * MIB)
    edited = data[: 9 * MIB] + b"!" + data[9 * MIB + 1 :]
    there = tomllib.loads((home.path / "backends.toml").read_text())["backends"][backend]
    with home.mounted("top", "--backend", backend) as top:
        file = top / "data" / "large"
        file.parent.mkdir()
        file.write_bytes(data)
        keys = [os.getxattr(file, "user.renga.blob").decode()]
        with file.open("r+b") as editing:
            editing.seek(9 * MIB)
            editing.write(b"!")
        keys.append(os.getxattr(file, "user.renga.blob").decode())
        saves = sorted((file.parent / ".versions" / "large").iterdir())
        assert [os.getxattr(save, "user.renga.blob").decode() for save in saves] == keys
        (top / "data" / "empty").touch()
        with pytest.raises(OSError, match="No data"):
            os.getxattr(top / "data" / "empty", "user.renga.blob")

    for key, content in zip(keys, (data, edited), strict=True):
        got = tmp_path / key
        if backend == "swift-here":
            swift_command(swift, "download", there["container"], key, "-o", got)
        else:
            s3cmd(gateway, "get", f"s3://{there['bucket']}/{key}", got)
        assert sha256(got) == hashlib.sha256(content).hexdigest()
