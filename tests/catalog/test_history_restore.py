"""Restoring, undeleting, cloning, comparing, labels and the log: rules of the catalog."""

import pytest
from support.catalogs import Desk

from rengafs.protocol.errors import AlreadyExists, BadRequest, InvalidName, NotFound
from rengafs.protocol.operations import (
    Clone,
    DropLabel,
    Link,
    MakeDirectory,
    MakeSymlink,
    PutLabel,
    Restore,
    SetAttributes,
)
from rengafs.protocol.records import ROOT, Node


def tree(desk: Desk, path: str, at: int | None = None) -> dict[str, str]:
    """Return path to content, or kind, of all below a path."""
    top = desk.catalog.path(path, at).node
    found: dict[str, str] = {}
    _walk(desk, top, "", at, found)
    return found


def _walk(desk: Desk, node: Node, path: str, at: int | None, found: dict[str, str]) -> None:
    for entry in desk.catalog.entries(node.id, at=at, limit=10_000).entries:
        child = f"{path}/{entry.name}".lstrip("/")
        if entry.node.kind.is_directory:
            found[child] = "directory"
            _walk(desk, entry.node, child, at, found)
        elif entry.node.kind == "file":
            found[child] = desk.contents.get(entry.node.sha256, "")
        else:
            found[child] = entry.node.target


def restore(desk: Desk, path: str, at: int) -> int:
    outcome = desk.do(Restore(path=path, at=at))
    return outcome.restored


@pytest.fixture
def bucket(desk: Desk) -> Node:
    """A bucket ``data`` with ``d/f`` (two saves), ``d/sub/g``, ``d/l`` and ``top``."""
    made = desk.bucket()
    directory = desk.directory(made, "d")
    desk.file(directory, "f", "one", "two")
    desk.file(desk.directory(directory, "sub"), "g", "deep")
    desk.made(MakeSymlink(parent=directory.id, name="l", target="f"))
    desk.file(made, "top", "t")
    return made


def remove_all(desk: Desk, parent: Node, name: str) -> None:
    """As ``rm -r`` does it."""
    node = desk.catalog.entry(parent.id, name).node
    for entry in desk.catalog.entries(node.id).entries:
        if entry.node.kind.is_directory:
            remove_all(desk, node, entry.name)
        else:
            desk.unlink(node, entry.name)
    desk.rmdir(parent, name)


def test_a_deleted_tree_comes_back_with_its_ids_and_histories(desk: Desk, bucket: Node) -> None:
    before = tree(desk, "data")
    ids = desk.catalog.path("data/d/f").node.id
    usage = desk.catalog.usage()
    remove_all(desk, bucket, "d")

    whole = desk.catalog.last_there("data/d")
    count = restore(desk, "data/d", whole.change)

    assert tree(desk, "data") == before
    assert desk.catalog.path("data/d/f").node.id == ids
    assert count == 5
    directory = desk.catalog.path("data/d").node
    assert desk.history(directory, "f") == ["one", "two"]
    assert desk.catalog.usage() == usage


def test_restoring_is_one_change(desk: Desk, bucket: Node) -> None:
    remove_all(desk, bucket, "d")
    last = desk.catalog.last_change()

    restore(desk, "data/d", desk.catalog.last_there("data/d").change)

    assert desk.catalog.last_change() == last + 1
    (change,) = desk.catalog.changes_after(last)
    assert change.action == "restore"


def test_a_deletion_in_parts_is_one_act_only_if_it_was_quick(desk: Desk, bucket: Node) -> None:
    directory = desk.catalog.path("data/d").node
    desk.unlink(directory, "l")
    desk.clock.now_ns += 3600 * 10**9
    remove_all(desk, bucket, "d")

    restore(desk, "data/d", desk.catalog.last_there("data/d").change)

    assert sorted(tree(desk, "data/d")) == ["f", "sub", "sub/g"]


def test_an_old_content_becomes_a_new_version_and_what_is_newer_stays(
    desk: Desk, bucket: Node
) -> None:
    at = desk.catalog.last_change()
    directory = desk.catalog.path("data/d").node
    desk.save(desk.catalog.path("data/d/f").node, "three")
    desk.unlink(directory, "l")
    desk.file(directory, "later", "stays")
    live = desk.catalog.usage().live_bytes

    count = restore(desk, "data", at)

    assert count == 2
    assert desk.history(directory, "f") == ["one", "two", "three", "two"]
    assert tree(desk, "data/d") == {
        "f": "two",
        "l": "f",
        "later": "stays",
        "sub": "directory",
        "sub/g": "deep",
    }
    assert desk.catalog.usage().live_bytes == live - 2


def test_restoring_what_is_as_it_was_is_no_change(desk: Desk, bucket: Node) -> None:
    last = desk.catalog.last_change()

    assert restore(desk, "data", last) == 0
    assert desk.catalog.last_change() == last


def test_a_file_in_a_deleted_directory_brings_its_directory_back_but_no_more(
    desk: Desk, bucket: Node
) -> None:
    at = desk.catalog.last_change()
    remove_all(desk, bucket, "d")

    restore(desk, "data/d/sub/g", at)

    assert tree(desk, "data/d") == {"sub": "directory", "sub/g": "deep"}


def test_a_deleted_bucket_comes_back(desk: Desk, bucket: Node) -> None:
    before = tree(desk, "data")
    for name in ("d", "top"):
        if name == "d":
            remove_all(desk, bucket, name)
        else:
            desk.unlink(bucket, name)
    desk.rmdir(ROOT, "data")

    restore(desk, "data", desk.catalog.last_there("data").change)

    assert tree(desk, "data") == before
    assert desk.catalog.path("data").node.id == bucket.id


def test_what_was_renamed_is_copied_to_its_old_name(desk: Desk, bucket: Node) -> None:
    at = desk.catalog.last_change()
    desk.rename(bucket, "d", "moved")
    with pytest.raises(BadRequest, match="renamed: it is 'data/moved'"):
        desk.catalog.last_there("data/d")

    restore(desk, "data/d", at)

    assert tree(desk, "data/d") == tree(desk, "data/moved")
    assert desk.catalog.path("data/d/f").node.id != desk.catalog.path("data/moved/f").node.id


def test_what_is_in_the_way_stops_all_of_it(desk: Desk, bucket: Node) -> None:
    directory = desk.catalog.path("data/d").node
    at = desk.catalog.last_change()
    desk.unlink(directory, "l")
    remove_all(desk, directory, "sub")
    desk.file(directory, "sub", "a file now")
    before = tree(desk, "data")

    with pytest.raises(AlreadyExists, match="rename it"):
        restore(desk, "data", at)

    assert tree(desk, "data") == before


def test_a_file_of_two_names_comes_back_as_one(desk: Desk, bucket: Node) -> None:
    file = desk.catalog.path("data/top").node
    directory = desk.catalog.path("data/d").node
    desk.do(Link(node=file.id, parent=directory.id, name="second"))
    at = desk.catalog.last_change()
    desk.unlink(bucket, "top")
    desk.unlink(directory, "second")

    restore(desk, "data", at)

    names = [desk.catalog.path(path).node for path in ("data/top", "data/d/second")]
    assert {node.id for node in names} == {file.id}
    assert names[0].links == 2


def test_attributes_come_back_too(desk: Desk, bucket: Node) -> None:
    file = desk.catalog.path("data/top").node
    at = desk.catalog.last_change()
    desk.do(SetAttributes(node=file.id, mode=0o600))

    assert restore(desk, "data/top", at) == 1

    assert desk.catalog.path("data/top").node.mode == file.mode
    assert desk.history(bucket, "top") == ["t"]


@pytest.mark.parametrize(("path", "at"), [("data/none", 5), ("", 5), ("data", 10_000)])
def test_what_was_not_there_cannot_be_restored(
    desk: Desk, bucket: Node, path: str, at: int
) -> None:
    with pytest.raises((NotFound, BadRequest)):
        restore(desk, path, at)


def test_a_directory_and_a_bucket_are_cloned_with_all_that_is_in_them(
    desk: Desk, bucket: Node
) -> None:
    directory = desk.catalog.path("data/d").node
    past = desk.catalog.last_change()
    before = tree(desk, "data")
    desk.save(desk.catalog.path("data/d/f").node, "three")

    desk.do(Clone(source=directory.id, parent=directory.id, name="itself"))
    desk.do(Clone(source=bucket.id, parent=ROOT, name="copy", at=past))

    assert tree(desk, "data/d/itself") == {
        "f": "three",
        "l": "f",
        "sub": "directory",
        "sub/g": "deep",
    }
    assert tree(desk, "copy") == before
    copied = desk.catalog.path("copy/d").node
    assert desk.history(copied, "f") == ["two"]


def test_differences_say_what_came_and_went_and_changed(desk: Desk, bucket: Node) -> None:
    at = desk.catalog.last_change()
    directory = desk.catalog.path("data/d").node
    desk.save(desk.catalog.path("data/d/f").node, "three")
    desk.unlink(directory, "l")
    desk.file(directory, "new", "n")
    desk.do(SetAttributes(node=desk.catalog.path("data/top").node.id, mode=0o600))
    remove_all(desk, directory, "sub")

    found = desk.catalog.differences("data", at, None)

    assert {item.path: item.how for item in found} == {
        "d/f": "changed",
        "d/l": "removed",
        "d/new": "added",
        "d/sub": "removed",
        "d/sub/g": "removed",
        "top": "attributes",
    }
    assert desk.catalog.differences("data", None, None) == []


def test_the_log_says_who_did_what(desk: Desk, bucket: Node) -> None:
    file = desk.catalog.path("data/top").node
    desk.rename(bucket, "top", "new")
    desk.file(bucket, "tmp", "saved by rename")
    desk.rename(bucket, "tmp", "new")
    desk.do(PutLabel(bucket=bucket.id, name="v1"))
    desk.unlink(bucket, "new")

    entries = desk.catalog.log("data/new").entries
    whole = desk.catalog.log("data").entries

    assert [entry.what for entry in entries] == ["deleted", "replaced", "renamed", "saved", "made"]
    assert {entry.node for entry in entries} == {file.id}
    assert entries[2].source == "data/top"
    assert entries[2].path == "data/new"
    assert entries[1].size == len("saved by rename")
    assert {entry.author for entry in entries} == {"ada"}
    assert whole[1].what == "labelled"
    assert whole[1].label == "v1"
    assert whole[-1].path == "data"


def test_the_log_comes_in_pieces(desk: Desk, bucket: Node) -> None:
    whole = desk.catalog.log("data").entries
    pieces, before = [], 0
    while True:
        log = desk.catalog.log("data", before=before, limit=2)
        pieces += log.entries
        before = log.next
        if not before:
            break

    assert pieces == whole


def test_a_label_names_a_moment_and_can_be_moved_and_dropped(desk: Desk, bucket: Node) -> None:
    past = desk.catalog.last_change()
    at_ms = desk.clock.now_ns // 1_000_000
    desk.save(desk.catalog.path("data/top").node, "later")

    desk.do(PutLabel(bucket=bucket.id, name="then", at_ms=at_ms))
    desk.do(PutLabel(bucket=bucket.id, name="now"))
    directory = desk.catalog.path("data/d").node

    assert desk.catalog.label(directory.id, "then").change == past
    assert desk.catalog.label(directory.id, "now").change == past + 2
    assert [label.name for label in desk.catalog.labels(bucket.id)] == ["then", "now"]
    desk.do(PutLabel(bucket=bucket.id, name="then"))
    assert desk.catalog.label(bucket.id, "then").change == past + 3
    desk.do(DropLabel(bucket=bucket.id, name="then"))
    with pytest.raises(NotFound, match="no label"):
        desk.catalog.label(bucket.id, "then")
    with pytest.raises(NotFound, match="no label"):
        desk.do(DropLabel(bucket=bucket.id, name="then"))


@pytest.mark.parametrize("name", ["2026-11-23", "a/b", "", "@x", "README.txt", "2026-11-23T05:00"])
def test_a_name_that_a_moment_or_the_guide_has_is_no_label(
    desk: Desk, bucket: Node, name: str
) -> None:
    with pytest.raises(InvalidName, match="can't be a label"):
        desk.do(PutLabel(bucket=bucket.id, name=name))


@pytest.mark.parametrize("at_ms", [1, 10**14])
def test_a_label_names_no_moment_without_the_bucket(desk: Desk, bucket: Node, at_ms: int) -> None:
    with pytest.raises(BadRequest, match=r"no such bucket|to come"):
        desk.do(PutLabel(bucket=bucket.id, name="v", at_ms=at_ms))


def test_a_directory_has_no_labels_of_its_own(desk: Desk, bucket: Node) -> None:
    directory = desk.made(MakeDirectory(parent=bucket.id, name="dir"))

    with pytest.raises(BadRequest, match="not a bucket"):
        desk.do(PutLabel(bucket=directory.id, name="v"))


def test_one_past_name_is_the_one_that_the_listing_has(desk: Desk, bucket: Node) -> None:
    remove_all(desk, bucket, "d")
    desk.unlink(bucket, "top")
    desk.file(bucket, "d", "a file called as the directory was")
    desk.file(bucket, "f~", "dropping")
    desk.unlink(bucket, "f~")

    listed = desk.catalog.past_names(bucket.id).names

    assert [desk.catalog.past_name(bucket.id, past.name) for past in listed] == listed
    for name in ("f~", "none"):
        with pytest.raises(NotFound):
            desk.catalog.past_name(bucket.id, name)


def test_a_file_of_two_names_is_restored_once(desk: Desk, bucket: Node) -> None:
    directory = desk.catalog.path("data/d").node
    file = desk.catalog.path("data/d/f").node
    desk.do(Link(node=file.id, parent=bucket.id, name="z"))
    at = desk.catalog.last_change()
    desk.save(file, "three")

    assert restore(desk, "data", at) == 1
    assert desk.history(directory, "f") == ["one", "two", "three", "two"]
    assert desk.catalog.sums_agree()
