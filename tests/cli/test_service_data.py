"""Commands that work on a service's data: bucket, check, sweep."""

import json

import pytest
from support.services import RunningService
from support.talking import Talk, talking

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


def at(address, token):
    return talking(RunningService(address, token, None, None, None), token)


def names(talk: Talk):
    return [entry.name for entry in talk.run(calls.entries(ROOT)).entries]
