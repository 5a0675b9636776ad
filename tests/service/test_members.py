"""Who may do what: readers, writers, owners, and those for whom a bucket does not exist."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from support.services import RunningService
from support.talking import Talk, following, talking

from rengafs.client import calls
from rengafs.protocol.errors import Forbidden, NotFound, RengafsError
from rengafs.protocol.operations import (
    Clone,
    Commit,
    Link,
    MakeBucket,
    MakeDirectory,
    Operation,
    PutLabel,
    RemoveDirectory,
    Rename,
    SetAttributes,
    Unlink,
)
from rengafs.protocol.records import ROOT, Change, Node, Version
from rengafs.service.run import ServeOptions
from rengafs.service.sharing import set_role

NOWHERE = 987_654_321_000
"""An id that nothing bears."""


@dataclass
class Scene:
    """A bucket of ``tester`` with a file, and somebody else."""

    owner: Talk
    other: Talk
    name: str
    bucket: Node
    file: Node
    version: Version
    own: Node
    """A bucket of the other's."""

    def grant(self, role: str | None) -> None:
        options = ServeOptions("", self.owner.service.data)
        set_role(options, str(self.bucket.id), self.name, role)  # type: ignore[arg-type]

    def bucket_name(self) -> str:
        entries = self.owner.run(calls.entries(ROOT, limit=10_000)).entries
        return next(entry.name for entry in entries if entry.node.id == self.bucket.id)


@pytest.fixture
def scene(service: RunningService, talk: Talk) -> Iterator[Scene]:
    name = f"user-{uuid.uuid4().hex}"
    with talking(service, service.token_for(name)) as other:
        bucket = talk.bucket()
        file = talk.file(bucket, "f")
        version = talk.save(file, b"secret")
        yield Scene(talk, other, name, bucket, file, version, other.bucket())


def changes(scene: Scene) -> list[tuple[str, Operation]]:
    here, name = scene.bucket.id, scene.bucket_name()
    return [
        ("writer", MakeDirectory(parent=here, name="d")),
        ("writer", Rename(parent=here, name="f", new_parent=here, new_name="g")),
        ("writer", Link(node=scene.file.id, parent=here, name="h")),
        ("writer", SetAttributes(node=scene.file.id, mode=0o600)),
        ("writer", PutLabel(bucket=here, name="v1")),
        ("writer", Commit(node=scene.file.id, length=0)),
        ("reader", Clone(source=scene.file.id, parent=scene.own.id, name="copy")),
        ("reader", Clone(source=scene.version.id, parent=scene.own.id, name="copy2")),
        ("writer", Unlink(parent=here, name="h")),
        ("writer", Unlink(parent=here, name="g")),
        ("writer", RemoveDirectory(parent=here, name="d")),
        ("owner", Rename(parent=ROOT, name=name, new_parent=ROOT, new_name=f"{name}x")),
        ("owner", RemoveDirectory(parent=ROOT, name=f"{name}x")),
    ]


ROLES = [None, "reader", "writer", "owner"]


@pytest.mark.parametrize("role", ROLES)
def test_a_member_may_do_what_the_role_says_and_no_more(scene: Scene, role: str | None) -> None:
    if role:
        scene.grant(role)
    for needed, operation in changes(scene):
        if ROLES.index(role) >= ROLES.index(needed):
            scene.other.do(operation)
        elif role is None:
            with pytest.raises(NotFound):
                scene.other.do(operation)
        else:
            with pytest.raises((Forbidden, NotFound)):
                scene.other.do(operation)


def test_what_is_hidden_answers_as_what_is_not_there(scene: Scene, http: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {scene.other.driver.endpoint.token}"}

    def asked(method: str, path: str, body: object) -> tuple[int, dict[str, object]]:
        answer = http.request(method, path, json=body, headers=headers)
        told = answer.json()
        told.pop("request_id", None)
        return answer.status_code, told

    ids = {"B": scene.bucket.id, "F": scene.file.id, "V": scene.version.id}
    storage, explorer, fs = "/api/storage", "/api/explorer/storage", "/api/storage/fs"
    for method, path, body in [
        ("GET", f"{explorer}/bucket/B", None),
        ("GET", f"{explorer}/bucket/B/files", None),
        ("GET", f"{explorer}/file/F", None),
        ("GET", f"{explorer}/file/V", None),
        ("GET", f"{explorer}/file/F/versions", None),
        ("PUT", f"{storage}/file/F", {"file_name": "x"}),
        ("PUT", f"{storage}/bucket/B", {"file_name": "x"}),
        ("POST", f"{storage}/authorize/create_file", {"bucket_id": "B", "file_name": "x"}),
        ("POST", f"{storage}/authorize/read", {"resource_id": "F"}),
        ("POST", f"{storage}/authorize/read", {"resource_id": "V"}),
        ("POST", f"{storage}/authorize/write", {"resource_id": "F"}),
        ("POST", f"{storage}/authorize/copy_file", {"resource_id": "V", "bucket_id": "O"}),
        ("GET", f"{fs}/node/B", None),
        ("GET", f"{fs}/node/B/entries", None),
        ("GET", f"{fs}/node/B/entry?name=f", None),
        ("GET", f"{fs}/node/B/history?name=f", None),
        ("GET", f"{fs}/node/B/past", None),
        ("GET", f"{fs}/node/B/past/name?name=f", None),
        ("GET", f"{fs}/node/F/labels", None),
        ("GET", f"{fs}/version/V", None),
        ("GET", f"{fs}/version/V/content", None),
    ]:

        def filled(numbers: dict[str, int], path: str = path, body: object = body) -> tuple:  # type: ignore[type-arg]
            numbers = {**numbers, "O": scene.own.id}
            parts = [str(numbers.get(part, part)) for part in path.split("/")]
            if isinstance(body, dict):
                body = {key: numbers.get(value, value) for key, value in body.items()}
            return "/".join(parts), body

        hidden = asked(method, *filled(ids))
        absent = asked(method, *filled(dict.fromkeys(ids, NOWHERE)))
        assert hidden[0] == absent[0] == 404, (path, hidden, absent)
        text = str(hidden[1])
        for number in ids.values():
            text = text.replace(str(number), str(NOWHERE))
        assert text == str(absent[1]), path


def test_the_root_shows_ones_own_buckets_only(scene: Scene) -> None:
    name = scene.bucket_name()

    def seen() -> set[int]:
        return {entry.node.id for entry in scene.other.run(calls.entries(ROOT)).entries}

    assert seen() == {scene.own.id}
    for look_up in (calls.path(name), calls.path(f"{name}/f"), calls.entry(ROOT, name)):
        with pytest.raises(NotFound):
            scene.other.run(look_up)  # type: ignore[arg-type]
    scene.grant("reader")
    assert seen() == {scene.own.id, scene.bucket.id}
    assert scene.other.run(calls.path(f"{name}/f")).node.id == scene.file.id
    scene.grant(None)
    assert seen() == {scene.own.id}


def test_many_reads_do_not_see_what_one_does_not(scene: Scene) -> None:
    def read() -> bytes:
        return scene.other.content(scene.version.id)

    with pytest.raises(NotFound):
        read()
    scene.grant("reader")
    assert read() == b"secret"


def test_a_base_can_not_be_taken_from_where_one_may_not_read(scene: Scene) -> None:
    mine = scene.other.file(scene.own, "mine", b"abc")
    thief = Commit(node=mine.id, base=scene.version.id, length=6)

    with pytest.raises(RengafsError):
        scene.other.do(thief)

    assert scene.other.versions(scene.own, "mine") == [b"abc"]


def test_the_feed_tells_of_ones_own_buckets_and_of_one_that_is_granted(scene: Scene) -> None:
    since = scene.owner.run(calls.service()).change
    scene.owner.save(scene.file, b"hidden")
    scene.grant("reader")
    scene.owner.save(scene.file, b"seen")

    with following(scene.other, since) as records:
        told: list[Change] = []
        while len(told) < 3:
            record = next(records)
            if isinstance(record, Change):
                told.append(record)

    # The past of what one may see now is one's own to see, too.
    assert [change.number for change in told] == [since + 1, since + 2, since + 3]
    assert [event.what for event in told[1].events] == ["entered"]


def test_the_feed_tells_only_whom_a_bucket_was_taken_from(scene: Scene) -> None:
    name = scene.bucket_name()
    scene.grant("reader")
    since = scene.owner.run(calls.service()).change
    scene.grant(None)

    for talk, told in ((scene.owner, []), (scene.other, [("taken", scene.bucket.id, ROOT, name)])):
        with following(talk, since) as records:
            change = next(record for record in records if isinstance(record, Change))
        assert [(it.what, it.node, it.parent, it.name) for it in change.events] == told
    logged = scene.owner.run(calls.log(f"{name}")).entries
    assert [entry.what for entry in logged][:2] == ["unshared", "shared"]


def test_the_feed_of_others_is_empty(scene: Scene) -> None:
    since = scene.owner.run(calls.service()).change
    scene.owner.save(scene.file, b"hidden")
    mine = scene.other.file(scene.own, "mine")

    with following(scene.other, since) as records:
        told = [next(records) for _ in range(3)][1:]

    assert isinstance(told[0], Change)
    assert (told[0].events, told[0].author) == ([], "")
    assert isinstance(told[1], Change)
    assert {event.node for event in told[1].events} == {mine.id}


def test_a_user_of_everywhere_may_do_everything(scene: Scene, service: RunningService) -> None:
    with talking(service, service.token_for("root", everywhere=True)) as root:
        for _, operation in changes(scene)[:6]:
            root.do(operation)
        assert scene.bucket.id in {e.node.id for e in root.run(calls.entries(ROOT)).entries}


def test_a_bucket_has_an_owner_however_it_is_made(scene: Scene) -> None:
    scene.grant("reader")
    name = uuid.uuid4().hex
    made: list[Callable[[], object]] = [
        lambda: scene.other.do(MakeBucket(name=f"{name}1")),
        lambda: scene.other.do(Clone(source=scene.bucket.id, parent=ROOT, name=f"{name}2")),
    ]
    for make in made:
        make()
    for number in (1, 2):
        scene.other.do(
            Rename(
                parent=ROOT, name=f"{name}{number}", new_parent=ROOT, new_name=f"{name}-{number}"
            )
        )


def test_the_log_of_a_hidden_path_is_the_log_of_none(scene: Scene, http: httpx.Client) -> None:
    headers = {"authorization": f"Bearer {scene.other.driver.endpoint.token}"}
    fs = "/api/storage/fs"

    def status(address: str, path: str) -> int:
        query = {"path": path, "before": "1", "after": "1", "from": "1", "to": "1"}
        return http.get(f"{fs}/{address}", params=query, headers=headers).status_code

    name = scene.bucket_name()
    assert status("log", name) == status("log", f"{name}/f") == status("log", "nowhere") == 404
    assert status("log", "") == 403
    scene.grant("reader")
    assert status("log", f"{name}/f") == 200


def test_a_bucket_that_is_deleted_stays_its_owners_to_read_of(scene: Scene) -> None:
    name = scene.bucket_name()
    scene.owner.do(Unlink(parent=scene.bucket.id, name="f"))
    scene.owner.do(RemoveDirectory(parent=ROOT, name=name))

    assert scene.owner.content(scene.version.id) == b"secret"
    with pytest.raises(NotFound):
        scene.other.content(scene.version.id)
