"""Old versions stay readable whatever changed since; what is damaged says so, alone."""

import errno
import os
import subprocess
from pathlib import Path

import pytest
from support.mounts import Home

BACKENDS = """
default = "local"

[backends.archive]
kind = "local"
directory = "{directory}"
"""


@pytest.fixture
def two_backends(home: Home) -> Home:
    """A user whose service has two backends on this disk."""
    file = home.path / "backends.toml"
    file.write_text(BACKENDS.format(directory=home.path / "archive"))
    home.environment["RENGAFS_BACKENDS"] = str(file)
    return home


def local(home: Home) -> Path:
    return home.path / ".local" / "share" / "rengafs" / "blobs"


def blobs(directory: Path) -> dict[bytes, Path]:
    """Return the blobs of a local backend by their bytes; each bytes are there once."""
    found = [(path.read_bytes(), path) for path in directory.glob("??/*")]
    assert len(dict(found)) == len(found)
    return dict(found)


def saves(file: Path) -> list[bytes]:
    return [save.read_bytes() for save in sorted((file.parent / ".versions" / file.name).iterdir())]


def test_the_past_reads_after_names_owners_and_backends_changed(two_backends: Home) -> None:
    home = two_backends
    texts = [b"one", b"two" * 100_000, b"", b"four"]
    with home.mounted("top") as top:
        file = top / "data" / "d" / "f"
        file.parent.mkdir(parents=True)
        for text in texts:
            file.write_bytes(text)
        home.run("label", str(top / "data"), "v1")
        (top / "data" / "d").rename(top / "data" / "e")
        (top / "data" / "e" / "f").rename(top / "data" / "e" / "g")
        (top / "data").rename(top / "results")
        os.chown(top / "results" / "e" / "g", 4242, 4242)
        (top / "results" / "e" / "g").write_bytes(b"five")
        home.run("token", "create", "ann")
        home.run("bucket", "grant", "results", "ann", "owner")
        home.run("bucket", "move", "results", "archive")
    assert blobs(local(home)) == {}
    assert sorted(blobs(home.path / "archive")) == sorted({*texts, b"five"} - {b""})

    with home.mounted("again") as top:
        assert saves(top / "results" / "e" / "g") == [*texts, b"five"]
        assert (top / "results" / ".versions" / "@v1" / "d" / "f").read_bytes() == b"four"
        old = min((top / "results" / "e" / ".versions" / "g").iterdir())
        assert os.getxattr(old, "user.renga.backend") == b"archive"
    assert "0 damaged" in home.run("check", "--contents").stdout


def test_the_same_content_is_stored_once_in_each_backend(two_backends: Home) -> None:
    home = two_backends
    with home.mounted("top") as top, home.mounted("other", "--backend", "archive") as other:
        (top / "here").mkdir()
        (other / "there").mkdir()
        for directory in (top / "here", top / "here", other / "there"):
            for name in ("a", "b"):
                (directory / name).write_bytes(b"other")
                (directory / name).write_bytes(b"same" * 1000)

    for directory in (local(home), home.path / "archive"):
        assert sorted(map(len, blobs(directory))) == [5, 4000]
    shown = home.run("usage").stdout
    assert "stored in archive, each content once: 3.9 KiB" in shown
    assert "stored in local, each content once: 3.9 KiB" in shown


@pytest.mark.parametrize("damage", ["other bytes", "shorter", "gone"])
def test_a_damaged_version_is_an_error_with_its_id_and_the_others_read(
    home: Home, damage: str
) -> None:
    with home.mounted("top") as top:
        (top / "data").mkdir()
        for text in (b"one", b"two", b"three"):
            (top / "data" / "f").write_bytes(text)
    blob = blobs(local(home))[b"two"]
    blob.chmod(0o600)
    if damage == "gone":
        blob.unlink()
    else:
        blob.write_bytes(b"tw0" if damage == "other bytes" else b"t")
    for cached in (home.path / ".cache").rglob("*"):  # what is in the cache is not damaged
        if cached.is_file():
            cached.unlink()

    with home.mounted("again") as top:
        one, two, three = sorted((top / "data" / ".versions" / "f").iterdir())
        number = os.getxattr(two, "user.renga.version").decode()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            two.read_bytes()
        assert [save.read_bytes() for save in (one, three)] == [b"one", b"three"]
        assert (top / "data" / "f").read_bytes() == b"three"
        told = f" ERROR rengafs.fs.reads.streams: version {number}: "
        assert told in home.logs()
        # Saved again, the same bytes heal it.
        found = home.run("check", "--contents", "--repair").stdout
        assert f"versions: {number}" in found
        (top / "data" / "again").write_bytes(b"two")
        assert two.read_bytes() == b"two"


def test_no_tool_falls_into_the_past(home: Home, tmp_path: Path) -> None:
    with home.mounted("top") as top:
        bucket = top / "data"
        (bucket / "d" / "sub").mkdir(parents=True)
        for name in ("f", "d/g", "d/sub/h"):
            for text in ("needle one", "needle two"):
                (bucket / name).write_text(text)
        commands = {
            "find": ["find", bucket],
            "grep": ["grep", "-rl", "needle", bucket],
            "rsync": ["rsync", "-av", f"{bucket}/", tmp_path / "synced"],
            "cp": ["cp", "-rv", bucket, tmp_path / "copied"],
            "tar": ["tar", "-cvf", tmp_path / "all.tar", "-C", bucket, "."],
            "du": ["du", "-a", bucket],
            "git": ["git", "init", "-q", bucket],
            "git add": ["git", "-C", bucket, "-c", "safe.directory=*", "add", "-Av"],
            "rm": ["rm", "-rv", bucket / "d"],
        }
        for name, command in commands.items():
            done = subprocess.run(
                [str(word) for word in command], capture_output=True, text=True, timeout=240
            )
            assert done.returncode == 0, f"{name}: {done.stderr}"
            assert ".versions" not in done.stdout, name

        assert saves(bucket / "f") == [b"needle one", b"needle two"]
        assert sorted(os.listdir(bucket / ".versions" / "d")) == ["g", "sub"]
