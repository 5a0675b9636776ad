"""What happened in buckets that one may not see is told by no view of the past."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.services import RunningService
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol.errors import BadRequest, NotFound
from rengafs.protocol.operations import (
    MakeBucket,
    MakeDirectory,
    RemoveDirectory,
    Rename,
    Restore,
    SetRetention,
    Unlink,
)
from rengafs.protocol.records import ROOT, Node


@dataclass
class Two:
    """Somebody with a secret, and somebody curious who had, or has, a bucket of that name."""

    owner: Talk
    other: Talk
    name: str

    def bucket(self, talk: Talk, name: str = "") -> Node:
        node = talk.do(MakeBucket(name=name or self.name)).node
        assert node is not None
        return node

    def move(self, talk: Talk, parent: Node, name: str, into: Node) -> None:
        talk.do(Rename(parent=parent.id, name=name, new_parent=into.id, new_name=name))

    def change(self) -> int:
        return self.owner.run(calls.service()).change


@pytest.fixture
def two(service: RunningService, talk: Talk) -> Iterator[Two]:
    with talking(service, service.token_for(f"user-{uuid.uuid4().hex}")) as other:
        yield Two(talk, other, f"b{uuid.uuid4().hex}")


def remove(talk: Talk, bucket: Node, bucket_name: str, name: str) -> None:
    talk.do(Unlink(parent=bucket.id, name=name))
    talk.do(RemoveDirectory(parent=ROOT, name=bucket_name))


def test_the_former_bucket_of_the_same_name_is_not_told_of(two: Two) -> None:
    secret = two.bucket(two.owner)
    two.owner.file(secret, "secret", b"x")
    then = two.change()
    remove(two.owner, secret, two.name, "secret")
    mine = two.bucket(two.other)
    two.other.file(mine, "mine", b"y")

    log = two.other.run(calls.log(two.name)).entries
    assert {entry.path for entry in log} == {two.name, f"{two.name}/mine"}
    with pytest.raises(NotFound):
        two.other.run(calls.log(f"{two.name}/secret"))
    with pytest.raises(NotFound):
        two.other.run(calls.last(f"{two.name}/secret"))
    found = two.other.run(calls.differences(two.name, then, None))
    assert {(one.path, one.how) for one in found} == {("", "added"), ("mine", "added")}
    with pytest.raises(NotFound):
        two.other.do(Restore(path=two.name, at=then))


def test_the_bucket_that_took_the_name_over_is_not_told_of(two: Two) -> None:
    mine = two.bucket(two.other)
    file = two.other.file(mine, "mine", b"y")
    then = two.change()
    remove(two.other, mine, two.name, "mine")
    secret = two.bucket(two.owner)
    two.owner.file(secret, "mine", b"secret")

    # What one had oneself is told, as if the name were nobody's.
    for path, nodes in [(two.name, {mine.id, file.id}), (f"{two.name}/mine", {file.id})]:
        assert {entry.node for entry in two.other.run(calls.log(path)).entries} == nodes
        assert two.other.run(calls.last(path)).change <= then
    found = two.other.run(calls.differences(two.name, then, None))
    assert {(one.path, one.how) for one in found} == {("", "removed"), ("mine", "removed")}


def test_nothing_is_restored_into_the_bucket_that_took_the_name_over(two: Two) -> None:
    mine = two.bucket(two.other)
    two.other.file(mine, "planted", b"y")
    then = two.change()
    remove(two.other, mine, two.name, "planted")
    secret = two.bucket(two.owner)

    two.other.do(Restore(path=two.name, at=then))

    assert two.owner.run(calls.entries(secret.id)).entries == []
    assert two.owner.run(calls.path(two.name)).node.id == secret.id
    assert two.other.run(calls.path(two.name)).node.id == mine.id
    assert two.other.versions(mine, "planted") == [b"y"]


def test_what_moved_to_a_hidden_bucket_is_not_followed_there(
    two: Two, service: RunningService
) -> None:
    mine, secret = two.bucket(two.other), two.bucket(two.owner, f"s{uuid.uuid4().hex}")
    file = two.other.file(mine, "f", b"one")
    directory = two.other.do(MakeDirectory(parent=mine.id, name="d")).node
    assert directory is not None
    two.other.file(directory, "g", b"deep")
    then = two.change()
    secret_name = two.owner.run(calls.path(_name(two.owner, secret))).name
    with talking(service, service.token_for("mover", everywhere=True)) as mover:
        two.move(mover, mine, "f", secret)
        two.move(mover, mine, "d", secret)
        mover.save(file, b"secret save")
        two.other.run(calls.service())

        log = two.other.run(calls.log(two.name)).entries
        whole = two.owner.run(calls.service()).change

        assert whole > then
        told = " ".join(f"{entry.path} {entry.source}" for entry in log)
        assert secret_name not in told
        assert [entry.size for entry in log if entry.size] == [4, 3]
        with pytest.raises(BadRequest, match="it is elsewhere now"):
            two.other.run(calls.last(f"{two.name}/f"))
        # Deleted there, it comes back here as a copy, without what was saved there.
        mover.do(Unlink(parent=secret.id, name="f"))
        two.other.do(Restore(path=f"{two.name}/f", at=then))
        told = two.other.run(calls.history(mine.id, "f")).versions
        assert [version.size for version in told] == [3, 3]
        assert two.other.content(told[-1].id) == b"one"
        with pytest.raises(NotFound):  # its file belongs to the other bucket now
            two.other.content(told[0].id)


def _name(talk: Talk, bucket: Node) -> str:
    entries = talk.run(calls.entries(ROOT, limit=10_000)).entries
    return next(entry.name for entry in entries if entry.node.id == bucket.id)


def test_retention_of_a_hidden_bucket_is_nobodys_business(two: Two) -> None:
    secret = two.bucket(two.owner)
    version = two.owner.save(two.owner.file(secret, "f"), b"x")

    for flow in (
        calls.retention(secret.id),
        calls.prune(secret.id),
        calls.prune(secret.id, dry_run=True),
        calls.usages(secret.id),
        calls.apply_one(SetRetention(bucket=secret.id, rule="all for 1 day")),
    ):
        with pytest.raises(NotFound):
            two.other.run(flow)  # type: ignore[arg-type]
    assert two.other.run(calls.usages()).buckets == []
    assert two.other.run(calls.hold("h", [version.id], 60)) == 0
    assert two.owner.run(calls.hold("h", [version.id], 60)) == 1
    assert two.owner.run(calls.retention(secret.id)).rule == "all"
