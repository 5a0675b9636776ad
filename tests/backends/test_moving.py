"""Moving a bucket between stores while it is used."""

import hashlib
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.mounts import Home
from support.storehome import configured
from support.swift import Swift, swift_command

from rengafs.cli.transfers import counting, transfer
from rengafs.client import calls
from rengafs.client.blocking import BlockingDriver
from rengafs.client.connection import Endpoint
from rengafs.protocol.operations import Commit, MakeBucket, MakeFile
from rengafs.service.run import ServeOptions
from rengafs.service.upkeep import sweep_data

MIB = 1 << 20


def contents(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[str(path.relative_to(directory))] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    return found


@pytest.mark.fuse
def test_a_bucket_in_use_moves_with_its_past(home: Home) -> None:
    with home.mounted("top", "--backend", "local") as top:
        bucket = top / "data"
        (bucket / "sub").mkdir(parents=True)
        (bucket / "sub" / "large").write_bytes(os.urandom(20 * MIB))
        for save in range(3):
            (bucket / "note").write_text(f"save {save}\n")
        history = bucket / ".versions" / "note"
        before = contents(bucket) | contents(history)

        stop, written, failed = threading.Event(), [0], []
        edited = bytearray(os.urandom(20 * MIB))
        (bucket / "edited").write_bytes(edited)

        def edit(number: int) -> None:
            at = number * 7919 * 1000 % len(edited)
            edited[at] ^= 1
            with (bucket / "edited").open("r+b") as file:
                file.seek(at)
                file.write(edited[at : at + 1])

        def write() -> None:
            while not stop.wait(0.3):
                try:
                    (bucket / "busy").write_text(f"{written[0]}\n")
                    if not written[0] % 5:
                        edit(written[0])
                except OSError as error:
                    failed.append(error)
                written[0] += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for backend in ("s3-here", "swift-here"):
                home.run("bucket", "move", "data", backend)
                assert os.getxattr(bucket / "sub" / "large", "user.renga.sha256")
        finally:
            stop.set()
            writer.join()
        assert failed == []
        after = contents(bucket) | contents(history)
        assert before.items() <= after.items()
        assert (bucket / "busy").read_text() == f"{written[0] - 1}\n"
        assert (bucket / "edited").read_bytes() == edited
        assert len(list((bucket / ".versions" / "busy").iterdir())) == written[0]
        again = home.run("bucket", "move", "data", "swift-here")
        assert "moved 0 blobs" in again.stdout

    # The cache of the mount may have helped: ask the stores.
    with home.mounted("other", "--cache-dir", str(home.path / "cache")) as top:
        assert (
            before.items()
            <= (contents(top / "data") | contents(top / "data/.versions/note")).items()
        )
        assert (top / "data/edited").read_bytes() == edited
    checked = home.run("check", "--contents")
    assert " 0 damaged" in checked.stdout
    data = home.path / ".local" / "share" / "rengafs" / "blobs"
    assert list(data.glob("??/*")) == []


def waited_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.fuse
def test_a_move_that_is_killed_with_the_service_goes_on(
    home: Home, swift: Swift, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = configured(home, "swift-here", "container")
    data = home.path / ".local" / "share" / "rengafs"
    # Found without the environment, too: beside the data.
    data.mkdir(parents=True)
    Path(home.environment.pop("RENGAFS_BACKENDS")).rename(data / "backends.toml")
    with home.mounted("top", "--backend", "local") as top:
        bucket = top / "data"
        bucket.mkdir()
        for number in range(24):
            (bucket / f"f{number}").write_bytes(os.urandom(MIB) * 4)
        (bucket / "f0").write_bytes(os.urandom(MIB) * 4)
        before = contents(bucket) | contents(bucket / ".versions" / "f0")
    assert len(before) == 26

    def moved() -> int:
        with closing(sqlite3.connect(f"file:{data}/catalog.sqlite?mode=ro", uri=True)) as catalog:
            query = "SELECT count(*) FROM blobs WHERE backend = 'swift-here'"
            return int(catalog.execute(query).fetchone()[0])

    with home.mounted("again", "--cache-dir", str(home.path / "cache")) as top:
        command = [*home.command, "bucket", "move", "data", "swift-here"]
        with subprocess.Popen(command, env=home.environment, stderr=subprocess.DEVNULL) as moving:
            waited_for(lambda: moved() > 0 or moving.poll() is not None)
            moving.kill()
        assert 0 < moved() < 25
        # Half of it is here, half is there.
        bucket = top / "data"
        assert contents(bucket) | contents(bucket / ".versions" / "f0") == before
        home.kill_all()

    assert " 0 damaged" in home.run("check", "--contents").stdout
    home.run("bucket", "move", "data", "swift-here")
    assert moved() == 25
    for left in (data / "blobs").glob("??/*"):
        os.utime(left, (0, 0))  # old enough for the sweeper
    home.run("sweep", "--grace", "2")
    assert list((data / "blobs").glob("??/*")) == []
    checked = home.run("check", "--contents").stdout
    assert "25 blobs, 0 damaged" in checked
    with closing(sqlite3.connect(f"file:{data}/catalog.sqlite?mode=ro", uri=True)) as catalog:
        known = [key for (key,) in catalog.execute("SELECT key FROM blobs ORDER BY key")]
    # What it had copied, and the catalog never heard of; the command spares what is young.
    monkeypatch.setenv("TEST_SWIFT_KEY", swift.key)
    monkeypatch.setenv("TEST_S3_KEY", home.environment["TEST_S3_KEY"])
    sweep_data(ServeOptions("", data), grace_seconds=0)
    assert swift_command(swift, "list", name).split() == known
    with home.mounted("third", "--cache-dir", str(home.path / "another")) as top:
        bucket = top / "data"
        assert contents(bucket) | contents(bucket / ".versions" / "f0") == before


@pytest.mark.fuse
def test_a_backend_that_is_not_there_is_refused(home: Home) -> None:
    with home.mounted("top") as top:
        (top / "data").mkdir()
    done = home.run("bucket", "move", "data", "s3-there", check=False)
    assert done.returncode
    assert "s3-there" in done.stderr


def test_an_edit_whose_base_is_moved_away_meanwhile_is_made_from_where_it_is(home: Home) -> None:
    data = bytearray(os.urandom(40 * MIB))
    tries = 0

    with home.serving("ann") as served:
        endpoint = Endpoint(served.endpoint, served.tokens["ann"].read_text())
        with closing(BlockingDriver(endpoint)) as driver:
            bucket = driver.run(calls.apply_one(MakeBucket(name="data", backend="s3-here"))).node
            assert bucket is not None
            file = driver.run(calls.apply_one(MakeFile(parent=bucket.id, name="large"))).node
            assert file is not None
            commit = Commit(
                node=file.id, length=len(data), extents=[(0, len(data))], payload=len(data)
            )
            saved = driver.run(calls.commit(commit, lambda: iter([bytes(data)]))).version
            assert saved is not None

            def payload() -> Iterator[bytes]:
                nonlocal tries
                tries += 1
                yield b"a" * MIB  # more than anybody holds back
                if tries == 1:
                    home.run("bucket", "move", "data", "swift-here", "--data", str(served.data))
                yield b"z"

            extents = [(0, MIB), (17 * MIB, 1)]  # behind it, the base is copied
            edit = Commit(
                node=file.id, length=len(data), extents=extents, payload=MIB + 1, base=saved.id
            )
            edited = driver.run(calls.commit(edit, payload), patience_seconds=300).version
            assert edited is not None
            data[:MIB], data[17 * MIB] = b"a" * MIB, ord("z")
            with driver.stream(calls.content(edited.id)) as pieces:
                assert b"".join(pieces) == data
    assert tries == 2


@pytest.mark.fuse
def test_a_damaged_blob_is_named_and_all_others_are_moved(home: Home) -> None:
    with home.mounted("top", "--backend", "local") as top:
        (top / "data").mkdir()
        for number in range(3):
            (top / f"data/f{number}").write_bytes(os.urandom(100_000))
    blobs = sorted((home.path / ".local/share/rengafs/blobs").glob("??/*"))
    assert len(blobs) == 3
    blobs[1].chmod(0o600)
    blobs[1].write_bytes(bytes(100_000))
    done = home.run("bucket", "move", "data", "s3-here", check=False)
    assert done.returncode == 1
    assert "moved 2 blobs" in done.stdout
    assert "1 blobs are lost or damaged" in done.stderr
    assert blobs[1].name in done.stderr
    assert [blob.exists() for blob in blobs] == [False, True, False]
    with home.mounted("other", "--cache-dir", str(home.path / "cache")) as top:
        failed = 0
        for number in range(3):
            try:
                assert len((top / f"data/f{number}").read_bytes()) == 100_000
            except OSError:
                failed += 1
        assert failed == 1


def test_progress_is_told_in_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rengafs.cli.transfers.LINE_SECONDS", 0)
    with transfer("moving data") as tell:
        tell(MIB, 3 * MIB)
    with counting("adopting theirs", "objects") as count:
        count(200)
    monkeypatch.setattr("rengafs.cli.transfers.LINE_SECONDS", 3600)
    with counting("refreshing theirs", "objects") as count:
        for number in range(1000):
            count(number)
    assert capsys.readouterr().err.splitlines() == [
        "rengafs: moving data: 1.0 MiB of 3.0 MiB",
        "rengafs: adopting theirs: 200 objects",
    ]
