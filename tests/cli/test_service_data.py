"""Commands that work on a service's data: bucket, check, sweep."""

import json
import stat
from contextlib import contextmanager

import pytest
from support.commandline import run_all
from support.services import RunningService
from support.talking import Talk, talking

from rengafs.cli.exits import Exit
from rengafs.client import calls
from rengafs.protocol.errors import QuotaExceeded
from rengafs.protocol.operations import MakeBucket
from rengafs.protocol.records import ROOT


def test_a_bucket_is_shared_and_hidden_again(home, served):
    address, token = served
    data = ("--data", home.root / "served")
    bob = home.run("token", "create", "bob", *data).stdout.strip()
    with at(address, token) as ann, at(address, bob) as other:
        ann.do(MakeBucket(name="shared"))
        assert names(other) == []

        done = home.run("bucket", "grant", "shared", "bob", "reader", *data)
        assert done.returncode == 0, done.stderr
        assert names(other) == ["shared"]
        (told,) = json.loads(home.run("bucket", "list", "--json", *data).stdout)
        assert (told["name"], told["members"]) == ("shared", {"ann": "owner", "bob": "reader"})

        home.run("bucket", "revoke", "shared", "bob", *data)
        assert names(other) == []


def test_what_is_shared_with_nobody_known_is_refused(home, refused, served):
    address, token = served
    data = ("--data", home.root / "served")
    with at(address, token) as ann:
        ann.do(MakeBucket(name="shared"))

    assert "token create" in refused(home.run("bucket", "grant", "shared", "eve", "owner", *data))
    assert "bucket list" in refused(home.run("bucket", "grant", "none", "ann", "owner", *data))


def test_a_bucket_is_bounded_and_unbounded_again(home, refused, served):
    address, token = served
    data = ("--data", home.root / "served")
    with at(address, token) as ann:
        bucket = ann.do(MakeBucket(name="small")).node
        file = ann.file(bucket, "f", b"x" * 1000)
        assert home.run("bucket", "quota", "small", "1K", *data).returncode == 0
        with pytest.raises(QuotaExceeded):
            ann.save(file, b"y" * 1000)
        (told,) = json.loads(home.run("bucket", "list", "--json", *data).stdout)
        assert (told["all_bytes"], told["quota_bytes"]) == (1000, 1024)
        home.run("bucket", "quota", "small", "none", *data)
        ann.save(file, b"y" * 1000)
    assert "512M" in refused(home.run("bucket", "quota", "small", "much", *data))
    assert "bucket list" in refused(home.run("bucket", "quota", "other", "1K", *data))


def test_what_is_done_to_data_is_told_as_json_too(home, served):
    address, token = served
    data = ("--data", home.root / "served")
    (home.root / "served" / "backends.toml").write_text(
        f'default = "local"\n[backends.archive]\nkind = "local"\n'
        f'directory = "{home.root / "archive"}"\n'
    )
    with at(address, token) as ann:
        bucket = ann.do(MakeBucket(name="shared")).node
        ann.file(bucket, "f", b"bytes")

    made = json.loads(good(home, "token", "create", "bob", "--days", "1", "--json", *data))
    moved = json.loads(good(home, "bucket", "move", "shared", "archive", "--json", *data))
    swept = json.loads(good(home, "sweep", "--dry-run", "--json", *data))

    assert made["token"].startswith("rnga_")
    assert made["name"] == "bob"
    assert made["expires_ms"] > 0
    assert (moved["blobs"], moved["size"], moved["failed"]) == (1, 5, 0)
    assert swept == {"blobs": 0, "size": 0, "temporaries": 0}


def test_a_lost_blob_is_told_with_its_version(home, refused, served):
    address, token = served
    data = ("--data", home.root / "served")
    with at(address, token) as ann:
        version = ann.save(ann.file(ann.bucket(), "f"), b"bytes")
    assert home.run("check", *data).returncode == 0
    assert home.run("sweep", *data).stdout.startswith("removed 0 blobs")
    for blob in (home.root / "served" / "blobs").glob("??/*"):
        blob.unlink()

    done = home.run("check", *data)

    assert str(version.id) in done.stdout
    assert "--repair" in refused(done)
    assert home.run("check", "--repair", *data).returncode == 0


ON_DATA = [
    ("bucket", "list"),
    ("bucket", "grant", "b", "ann", "reader"),
    ("bucket", "revoke", "b", "ann"),
    ("bucket", "quota", "b", "1K"),
    ("bucket", "move", "b", "local"),
    ("bucket", "adopt", "local", "b"),
    ("bucket", "refresh", "b"),
    ("check",),
    ("sweep",),
    ("token", "create", "ann"),
    ("token", "list"),
    ("token", "revoke", "ann"),
]


def test_a_mistyped_data_directory_is_refused_by_all_but_serve_and_not_made(home, refused):
    typo = home.root / "typo"
    lines = [(*command, "--data", str(typo)) for command in ON_DATA]

    for line, done in zip(lines, run_all(lines, home.environment, home.root), strict=True):
        assert f"there is no data of rengafs in {typo}" in refused(done), line
        assert done.returncode == Exit.USAGE
    assert not typo.exists()


def test_a_mistyped_catalog_is_refused_and_not_made(home, refused, served):
    typo = home.root / "typo.sqlite"

    done = home.run("check", "--data", home.root / "served", "--catalog", f"sqlite:///{typo}")

    assert f"there is no catalog of rengafs in sqlite:///{typo}" in refused(done)
    assert done.returncode == Exit.USAGE
    assert not typo.exists()


def test_a_directory_of_something_else_is_left_alone(home, refused):
    for names in ((), ("README",), ("thesis.tex",)):
        other = home.root / f"other-{len(names)}-{''.join(names)}"
        other.mkdir()
        for name in names:
            (other / name).write_text("Chapter 1")

        done = home.run("check", "--data", other)

        assert str(other) in refused(done)
        assert sorted(path.name for path in other.iterdir()) == list(names)


@contextmanager
def serving(home, *arguments, **environment):
    """A service of ``served``, to the end of the block; give its address."""
    home.environment.update(environment)
    data = home.root / "served"
    process = home.start("serve", "--listen", "127.0.0.1:0", "--data", data, *arguments)
    for name in environment:
        del home.environment[name]
    try:
        line = process.stdout.readline()
        assert line.startswith("rengafs: serving at "), process.communicate()
        yield line.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=240)


def test_commands_find_the_catalog_and_the_backends_that_the_service_was_given(home, postgresql):
    """The recipe of an institute: PostgreSQL and backends by the service's environment alone."""
    backends = home.root / "backends.toml"
    backends.write_text(
        f'default = "local"\n[backends.archive]\nkind = "local"\n'
        f'directory = "{home.root / "archive"}"\n'
    )
    data = ("--data", home.root / "served")
    with postgresql.catalog() as url:
        options = {"RENGAFS_SERVE_CATALOG": url, "RENGAFS_SERVE_BACKENDS": str(backends)}
        with serving(home, **options) as address:
            token = good(home, "token", "create", "ann", *data).strip()
            with at(address, token) as ann:
                bucket = ann.do(MakeBucket(name="shared")).node
                ann.file(bucket, "f", b"bytes")
            good(home, "bucket", "move", "shared", "archive", *data)
            (told,) = json.loads(good(home, "bucket", "list", "--json", *data))
        assert told["name"] == "shared"
        assert len([*(home.root / "archive").glob("??/*")]) == 1
        assert "1 blobs, 0 damaged" in good(home, "check", *data)
        assert not (home.root / "served" / "catalog.sqlite").exists()
        kept = home.root / "served" / "elsewhere.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        # Who says another catalog means it.
        said = home.run("token", "list", *data, "--catalog", f"sqlite:///{home.root}/none")
        assert "there is no catalog" in said.stderr


def good(home, *arguments):
    done = home.run(*arguments)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def at(address, token):
    return talking(RunningService(address, token, None, None, None), token)


def names(talk: Talk):
    return [entry.name for entry in talk.run(calls.entries(ROOT)).entries]
