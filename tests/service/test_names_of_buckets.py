"""Names of buckets: of hidden ones nothing is told, not even that a name is taken."""

import time
import uuid
from collections.abc import Iterator

import jwt
import pytest
from support.services import RunningService
from support.talking import Talk, following, talking

from rengafs.client import calls
from rengafs.protocol.errors import AlreadyExists, Forbidden, NotAuthenticated, NotFound
from rengafs.protocol.operations import (
    Clone,
    MakeBucket,
    RemoveDirectory,
    Rename,
    Unlink,
)
from rengafs.protocol.records import ROOT, Change, Node
from rengafs.service.run import ServeOptions
from rengafs.service.sharing import set_role
from rengafs.service.tokens import create_token, revoke_token


@pytest.fixture
def two(service: RunningService) -> Iterator[tuple[Talk, Talk, str]]:
    """Two users who know nothing of each other, and a name that nobody uses yet."""
    names = [f"user-{uuid.uuid4().hex}" for _ in range(2)]
    one, other = (service.token_for(name) for name in names)
    with talking(service, one) as ann, talking(service, other) as bob:
        yield ann, bob, uuid.uuid4().hex


def made(talk: Talk, name: str) -> Node:
    node = talk.do(MakeBucket(name=name)).node
    assert node is not None
    return node


def names(talk: Talk) -> list[str]:
    return [entry.name for entry in talk.run(calls.entries(ROOT)).entries]


def grant(talk: Talk, bucket: Node, user: Talk, role: str | None) -> None:
    options = ServeOptions("", talk.service.data)
    set_role(options, str(bucket.id), user.run(calls.service()).user, role)  # type: ignore[arg-type]


def test_two_users_use_one_name_and_do_not_notice(two: tuple[Talk, Talk, str]) -> None:
    ann, bob, name = two
    hers, his = made(ann, name), made(bob, name)
    ann.file(hers, "f", b"hers")
    bob.file(his, "f", b"his")

    for talk, bucket, content in [(ann, hers, b"hers"), (bob, his, b"his")]:
        assert names(talk) == [name]
        assert talk.run(calls.path(name)).node.id == bucket.id
        assert talk.run(calls.entry(ROOT, name)).node.id == bucket.id
        found = talk.run(calls.path(f"{name}/f")).node
        assert talk.content(found.version or 0) == content
        assert {entry.path for entry in talk.run(calls.log(name)).entries} == {name, f"{name}/f"}
        with pytest.raises(AlreadyExists):
            made(talk, name)
        with pytest.raises(NotFound):
            talk.run(calls.path(f"{name}~{hers.id + his.id - bucket.id}"))


def test_a_name_of_ones_own_is_changed_and_freed_beside_a_hidden_one(
    two: tuple[Talk, Talk, str],
) -> None:
    ann, bob, name = two
    hers, his = made(ann, name), made(bob, "x" + name)
    bob.do(Rename(parent=ROOT, name="x" + name, new_parent=ROOT, new_name=name))
    assert names(bob) == [name]
    copy = bob.do(Clone(source=his.id, parent=ROOT, name="c" + name)).node
    assert copy is not None
    bob.do(RemoveDirectory(parent=ROOT, name=name))

    assert names(bob) == ["c" + name]
    assert names(ann) == [name]
    assert ann.run(calls.node(hers.id)).links
    with pytest.raises(NotFound):
        bob.do(RemoveDirectory(parent=ROOT, name=name))
    with pytest.raises(NotFound):
        bob.do(Unlink(parent=ROOT, name=name))


def test_who_sees_both_is_shown_both(two: tuple[Talk, Talk, str]) -> None:
    ann, bob, name = two
    hers, his = made(ann, name), made(bob, name)
    grant(ann, hers, bob, "reader")

    assert names(bob) == [name, f"{name}~{his.id}"]
    assert bob.run(calls.path(name)).node.id == hers.id
    assert bob.run(calls.path(f"{name}~{his.id}")).node.id == his.id
    grant(ann, hers, bob, None)
    assert names(bob) == [name]
    assert bob.run(calls.path(name)).node.id == his.id


def test_pages_of_the_root_are_full_whatever_is_hidden_between(
    two: tuple[Talk, Talk, str],
) -> None:
    ann, bob, name = two
    for number in range(6):
        made((ann, bob)[number % 2], f"{name}{number}")

    page = bob.run(calls.entries(ROOT, limit=2))
    rest = bob.run(calls.entries(ROOT, limit=2, after=page.next, at=page.change))

    assert [entry.name for entry in page.entries] == [f"{name}1", f"{name}3"]
    assert [entry.name for entry in rest.entries] == [f"{name}5"]
    assert rest.next == ""


def test_the_feed_tells_the_name_that_one_sees(two: tuple[Talk, Talk, str]) -> None:
    ann, bob, name = two
    made(ann, name)
    since = ann.run(calls.service()).change
    made(bob, name)

    with following(bob, since) as records:
        change = [next(records), next(records)][1]

    assert isinstance(change, Change)
    entered = [event.name for event in change.events if event.what == "entered"]
    assert entered == [name]


def test_a_revoked_member_is_out_with_the_next_request(two: tuple[Talk, Talk, str]) -> None:
    ann, bob, name = two
    hers = made(ann, name)
    file = ann.file(hers, "f", b"hers")
    grant(ann, hers, bob, "writer")
    bob.save(file, b"his")
    grant(ann, hers, bob, None)

    with pytest.raises(NotFound):
        bob.save(file, b"again")
    with pytest.raises(NotFound):
        bob.run(calls.node(file.id))
    assert ann.versions(hers, "f") == [b"hers", b"his"]


def test_a_grant_is_good_as_long_as_its_user_may(two: tuple[Talk, Talk, str]) -> None:
    ann, bob, name = two
    hers = made(ann, name)
    file = ann.file(hers, "f", b"hers")
    grant(ann, hers, bob, "writer")
    read, write = bob.run(calls.authorize_read(file.id)), bob.run(calls.authorize_write(file.id))
    bob.run(calls.io_write(b"his", token=write))

    grant(ann, hers, bob, "reader")
    assert bob.read(calls.io_read(token=read)) == b"hers"
    with pytest.raises(Forbidden):
        bob.run(calls.io_write(b"again", token=write))
    grant(ann, hers, bob, None)
    with pytest.raises(NotFound):
        bob.read(calls.io_read(token=read))
    grant(ann, hers, bob, "writer")
    assert bob.read(calls.io_read(token=read)) == b"hers"
    revoke_token(ServeOptions("", bob.service.data), bob.run(calls.service()).user)
    for attempt in (
        lambda: bob.read(calls.io_read(token=read)),
        lambda: bob.run(calls.io_write(b"again", token=write)),
    ):
        with pytest.raises(NotAuthenticated):
            attempt()
    assert ann.versions(hers, "f") == [b"hers", b"his"]


def test_a_grant_outlives_its_token_by_nothing(service: RunningService) -> None:
    options = ServeOptions("", service.data)
    soon = time.time_ns() // 1_000_000 + 30_000
    token = create_token(options, "brief", expires_ms=soon)
    with talking(service, token) as talk:
        file = talk.file(talk.bucket(), "f", b"x")
        grant = talk.run(calls.authorize_read(file.id))
    claims = jwt.decode(grant, options={"verify_signature": False})
    assert claims["exp"] == soon // 1000
