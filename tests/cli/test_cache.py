"""``rengafs cache`` and ``rengafs warm``, as a user runs them against a service elsewhere."""

import json
import os

import pytest


@pytest.fixture
def far(home, served):
    """A bucket with files, on a mount over TCP; gives its path."""
    address, token = served
    (home.root / "token").write_text(token)
    where = ("--endpoint", address, "--token-file", home.root / "token")
    assert home.run("mount", *where, home.mountpoint).returncode == 0
    folder = home.mountpoint / "data"
    folder.mkdir()
    for number in range(20):
        (folder / f"f{number:02}").write_bytes(b"%d" % number * 3000)
    (folder / "big").write_bytes(bytes(range(256)) * (3 << 12))
    assert home.run("umount", home.mountpoint).returncode == 0
    home.run("cache", "clear")
    assert home.run("mount", *where, home.mountpoint).returncode == 0
    yield folder
    assert home.run("umount", home.mountpoint).returncode == 0


def _json(done):
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_warm_brings_files_into_the_cache_which_tells_of_them_and_finds_a_flipped_bit(
    home, far, refused
):
    assert _json(home.run("cache", "status", "--json"))["blocks"] == 0

    done = home.run("warm", far)
    size = sum(path.stat().st_size for path in far.iterdir())
    assert (done.returncode, done.stdout) == (0, f"21 files are at hand, {size} bytes\n")
    (home.root / "plain").write_text("x")
    assert "no mount" in refused(home.run("warm", home.root / "plain"))
    assert "absent" in refused(home.run("warm", far / "absent"))

    # Small files come in batches, and are stored beside what goes on.
    status = _json(home.run("cache", "status", "--json"))
    assert status["blocks"] >= 3
    assert status["bytes"] >= 3 << 20

    assert status["mounts"] == [{"mountpoint": str(home.mountpoint), "limit_bytes": 10 << 30}]
    text = home.run("cache", "status").stdout
    assert f"{home.mountpoint} keeps it within 10.0 GiB\n" in text

    cache = home.root / "cache" / "rengafs"
    block = next(path for path in sorted(cache.rglob("*")) if path.is_file())
    content = bytearray(block.read_bytes())
    content[100] ^= 4
    block.write_bytes(content)
    done = home.run("cache", "verify")
    assert done.returncode == 1
    assert "dropped block" in done.stdout
    assert "1 blocks were damaged" in done.stderr
    assert not block.exists()
    assert _json(home.run("cache", "verify", "--json"))["damaged"] == []

    cleared = _json(home.run("cache", "clear", "--json"))
    assert cleared["blocks"] >= status["blocks"] - 1
    assert _json(home.run("cache", "status", "--json"))["bytes"] == 0
    assert (far / "big").read_bytes() == bytes(range(256)) * (3 << 12)


def test_warm_keeps_all_of_a_long_file_whatever_was_left_out_when_it_was_read(home, far):
    blocks = 96
    content = b"".join(bytes([number]) * (1 << 20) for number in range(blocks))
    (far / "long").write_bytes(content)
    with (far / "long").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert file.read() == content

    done = _json(home.run("warm", far / "long", "--json"))

    assert (done["bytes"], done["not_kept"], done["failed"]) == (len(content), 0, [])
    assert _json(home.run("cache", "status", "--json"))["blocks"] >= blocks


@pytest.mark.fuse
def test_warm_of_the_embedded_service_copies_nothing_and_says_so(home, bucket):
    (bucket / "f").write_bytes(b"x" * 3_000_000)

    done = home.run("warm", bucket, "--json")

    told = {"files": 1, "bytes": 3_000_000, "failed": [], "not_kept": 0, "not_kept_bytes": 0}
    assert _json(done) == told
    assert _json(home.run("cache", "status", "--json"))["blocks"] == 0


def test_an_empty_cache_is_no_error(home):
    for command in ("status", "clear", "verify"):
        done = home.run("cache", command)
        assert done.returncode == 0, done.stderr
