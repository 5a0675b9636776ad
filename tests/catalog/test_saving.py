"""What a save is, and what it is not."""

import pytest
from support.catalogs import Desk

from rengafs.protocol.errors import BadRequest, BaseChanged, IsADirectory, NotFound
from rengafs.protocol.operations import Clone, MakeSymlink, SetAttributes


def test_each_commit_is_a_version_and_the_last_is_current(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")

    versions = [desk.save(file, text) for text in ("one", "two", "three")]

    assert desk.history(bucket, "f") == ["one", "two", "three"]
    node = desk.catalog.node(file.id)
    assert (node.version, node.size) == (versions[-1].id, 5)


def test_the_same_bytes_again_are_no_new_version(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")

    outcome = desk.commit(file, "one")

    assert outcome.change == 0
    assert outcome.version is not None
    assert outcome.version.id == desk.catalog.node(file.id).version
    assert desk.history(bucket, "f") == ["one"]


def test_the_same_bytes_with_another_time_change_only_the_time(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")

    outcome = desk.commit(file, "one", mtime_ns=42)

    assert outcome.change > 0
    assert desk.catalog.node(file.id).mtime_ns == 42
    assert desk.history(bucket, "f") == ["one"]


def test_later_commits_of_one_handle_supersede_its_earlier_ones(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "old")
    base = desk.catalog.node(file.id).version

    first = desk.save(file, "half", handle="h", base=base)
    last = desk.save(file, "whole", handle="h", base=first.id)

    assert desk.history(bucket, "f") == ["old", "whole"]
    assert last.base == base
    assert not last.conflict
    assert desk.catalog.version(first.id).size == 4  # a reader may have it open
    assert desk.catalog.usage().history_bytes == 3


def test_another_handle_does_not_supersede(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")

    desk.save(file, "one", handle="a")
    desk.save(file, "two", handle="b")
    desk.save(file, "three", handle="a")

    assert desk.history(bucket, "f") == ["one", "two", "three"]


def test_a_commit_over_an_old_base_is_a_conflict_and_both_are_kept(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    base = desk.save(file, "base")

    mine = desk.save(file, "mine", base=base.id)
    theirs = desk.save(file, "theirs", base=base.id)

    assert not mine.conflict
    assert theirs.conflict
    assert theirs.base == base.id
    assert desk.history(bucket, "f") == ["base", "mine", "theirs"]
    assert desk.catalog.node(file.id).version == theirs.id


def test_a_conditional_commit_over_an_old_base_is_refused(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    base = desk.save(file, "base")
    desk.save(file, "newer", base=base.id)

    with pytest.raises(BaseChanged):
        desk.commit(file, "mine", base=base.id, only_if_base=True)

    assert desk.history(bucket, "f") == ["base", "newer"]


def test_an_empty_save_is_a_version_without_a_blob(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")

    version = desk.save(file, "")

    assert version.size == 0
    assert desk.catalog.content(version.id).blob is None
    assert desk.history(bucket, "f") == [""]


def test_what_was_deleted_can_still_be_saved(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.unlink(bucket, "f")

    desk.save(file, "two")

    assert desk.names(bucket) == []
    assert desk.catalog.usage().live_bytes == 0
    assert desk.catalog.usage().history_bytes == 6


def test_identical_content_is_stored_once(desk: Desk) -> None:
    bucket = desk.bucket()
    one, two = desk.file(bucket, "one"), desk.file(bucket, "two")
    first = desk.catalog.apply(desk.actor, [desk.staged(one, "same")])
    second = desk.catalog.apply(desk.actor, [desk.staged(two, "same")])

    blobs = [desk.catalog.content(o.outcomes[0].version.id).blob for o in (first, second)]

    assert blobs[0] == blobs[1]
    assert first.adopted == second.adopted == {("local", blobs[0].key)}


def test_a_clone_has_the_content_and_a_history_of_its_own(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one", "two")
    first = desk.catalog.history(bucket.id, "f").versions[0]

    of_file = desk.made(Clone(source=file.id, parent=bucket.id, name="g"))
    desk.made(Clone(source=first.id, parent=bucket.id, name="h"))
    desk.save(of_file, "three")

    assert desk.history(bucket, "f") == ["one", "two"]
    assert desk.history(bucket, "g") == ["two", "three"]
    assert desk.history(bucket, "h") == ["one"]


def test_what_came_from_a_url_keeps_it_while_it_is_edited(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    version = desk.save(file, "one", origin="https://example.org/data")

    desk.save(file, "two", base=version.id)
    assert desk.catalog.node(file.id).origin == "https://example.org/data"

    desk.save(file, "three")
    assert desk.catalog.node(file.id).origin == ""


def test_attributes_make_no_version(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")

    desk.do(SetAttributes(node=file.id, mode=0o600, uid=7, mtime_ns=5))

    node = desk.catalog.node(file.id)
    assert (node.mode, node.uid, node.gid, node.mtime_ns) == (0o600, 7, None, 5)
    assert desk.history(bucket, "f") == ["one"]


def test_only_files_can_be_saved(desk: Desk) -> None:
    bucket = desk.bucket()
    link = desk.made(MakeSymlink(parent=bucket.id, name="l", target="f"))

    with pytest.raises(IsADirectory):
        desk.commit(bucket, "x")
    with pytest.raises(BadRequest):
        desk.commit(link, "x")
    with pytest.raises(NotFound):
        desk.commit(999_999, "x")
