"""The history rule of renames, and what rename(2) refuses."""

import pytest
from support.catalogs import Desk

from rengafs.protocol.errors import (
    AlreadyExists,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    WouldLoop,
)
from rengafs.protocol.operations import Link, MakeSymlink, SetAttributes, SetXattr
from rengafs.protocol.records import ROOT, Node


def rename_bucket(desk: Desk, name: str, new_name: str) -> None:
    desk.rename(Node(id=ROOT, kind="directory", mode=0), name, new_name)  # type: ignore[arg-type]


def test_a_temporary_renamed_over_a_file_is_its_next_version(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    before = desk.catalog.node(file.id).version
    temporary = desk.file(bucket, "f.tmp", "two")

    outcome = desk.rename(bucket, "f.tmp", "f")

    assert outcome.node is not None
    assert outcome.node.id == file.id
    assert outcome.replaced == outcome.moved == temporary.id
    assert outcome.version is not None
    assert outcome.version.base == before
    assert desk.names(bucket) == ["f"]
    assert desk.history(bucket, "f") == ["one", "two"]
    assert desk.past(bucket) == ["f"]  # the temporary leaves nothing listed
    assert desk.catalog.node(temporary.id).links == 0
    assert desk.catalog.usage().live_bytes == 3
    assert desk.catalog.usage().history_bytes == 3


def test_the_file_takes_mode_time_and_xattrs_of_what_replaces_it(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.do(SetXattr(node=file.id, name="user.old", value=b"x"))
    temporary = desk.file(bucket, "t", "two")
    desk.do(SetAttributes(node=temporary.id, mode=0o600, mtime_ns=77))
    desk.do(SetXattr(node=temporary.id, name="user.new", value=b"y"))

    desk.rename(bucket, "t", "f")

    node = desk.catalog.node(file.id)
    assert (node.mode, node.mtime_ns, node.xattrs) == (0o600, 77, {"user.new": b"y"})


def test_identical_bytes_renamed_over_a_file_are_no_version(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    before = desk.catalog.node(file.id).version
    desk.file(bucket, "t", "one")

    outcome = desk.rename(bucket, "t", "f")

    assert outcome.version is None
    assert desk.catalog.node(file.id).version == before
    assert desk.history(bucket, "f") == ["one"]
    assert desk.past(bucket) == ["f"]


def test_a_file_with_a_history_keeps_it_when_it_is_renamed_over_another(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "a", "a1", "a2")
    desk.file(bucket, "b", "b1")

    desk.rename(bucket, "a", "b")

    assert desk.history(bucket, "b") == ["b1", "a2"]
    assert desk.history(bucket, "a") == ["a1", "a2"]
    assert desk.past(bucket) == ["a", "b"]


def test_a_file_that_had_another_name_keeps_its_version(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "draft", "text")
    desk.file(bucket, "f", "old")

    desk.rename(bucket, "draft", "copy")
    desk.rename(bucket, "copy", "f")

    assert desk.history(bucket, "draft") == ["text"]
    assert desk.history(bucket, "f") == ["old", "text"]


def test_an_empty_file_renamed_over_one_with_content_is_an_empty_version(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.file(bucket, "empty")

    desk.rename(bucket, "empty", "f")

    assert desk.catalog.node(file.id).size == 0
    assert desk.history(bucket, "f") == ["one", ""]


def test_saving_by_backup_and_new_file_leaves_one_list_of_saves(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "f", "one")
    for text in ("two", "three"):  # vim, emacs
        desk.rename(bucket, "f", "f~")
        desk.file(bucket, "f", text)
        desk.unlink(bucket, "f~")

    assert desk.history(bucket, "f") == ["one", "two", "three"]
    assert desk.names(bucket) == ["f"]
    assert desk.past(bucket) == ["f"]


def test_a_kept_backup_still_leaves_one_list_of_saves(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "f", "one")
    for text in ("two", "three"):  # emacs keeps f~; renaming over it moves an edge
        desk.rename(bucket, "f", "f~")
        desk.file(bucket, "f", text)

    assert desk.history(bucket, "f") == ["one", "two", "three"]
    assert desk.names(bucket) == ["f", "f~"]


def test_a_file_saved_long_before_is_no_temporary(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "f.bak", "one")
    desk.file(bucket, "f", "two")
    desk.clock.now_ns += 3600 * 10**9

    desk.rename(bucket, "f", "f.bak")
    desk.file(bucket, "f", "three")

    assert desk.history(bucket, "f") == ["two", "three"]
    assert desk.history(bucket, "f.bak") == ["one", "two"]


def test_a_rename_alone_makes_no_version_and_the_history_follows(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "a", "one")

    desk.rename(bucket, "a", "b")
    desk.save(file, "two")

    assert desk.history(bucket, "a") == ["one"]
    assert desk.history(bucket, "b") == ["one", "two"]


def test_hard_links_are_replaced_as_posix_says(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.do(Link(node=file.id, parent=bucket.id, name="other"))
    new = desk.file(bucket, "t", "two")

    outcome = desk.rename(bucket, "t", "f")

    assert outcome.node is not None
    assert outcome.node.id == new.id
    assert outcome.replaced == file.id  # by this name; it has another yet
    assert desk.catalog.entry(bucket.id, "other").node.id == file.id
    assert desk.catalog.node(file.id).links == 1
    assert desk.history(bucket, "f") == ["one", "two"]


def test_two_names_of_one_node_both_stay(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.do(Link(node=file.id, parent=bucket.id, name="g"))

    assert desk.rename(bucket, "f", "g").change == 0

    assert desk.names(bucket) == ["f", "g"]


def test_a_symlink_replaces_a_file_as_a_whole(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    link = desk.made(MakeSymlink(parent=bucket.id, name="l", target="x"))

    outcome = desk.rename(bucket, "l", "f")

    assert outcome.replaced == file.id
    assert desk.catalog.entry(bucket.id, "f").node.id == link.id
    assert desk.history(bucket, "f") == ["one"]


def test_exchange_swaps_the_names(desk: Desk) -> None:
    bucket = desk.bucket()
    inside = desk.directory(bucket, "d")
    one = desk.file(bucket, "one", "1")
    two = desk.file(inside, "two", "2")

    desk.rename(bucket, "one", "two", into=inside, how="exchange")

    assert desk.catalog.entry(bucket.id, "one").node.id == two.id
    assert desk.catalog.entry(inside.id, "two").node.id == one.id
    assert desk.history(bucket, "one") == ["1", "2"]


def test_a_directory_moves_with_all_that_is_in_it_in_one_change(desk: Desk) -> None:
    here, there = desk.bucket("here"), desk.bucket("there")
    top = desk.directory(here, "d")
    deep = desk.directory(top, "e")
    desk.file(deep, "f", "one")

    outcome = desk.rename(here, "d", "moved", into=there)

    entry = desk.catalog.path("there/moved/e/f")
    assert desk.names(here) == []
    files = desk.catalog.explore_files(there.id)
    assert [vertex.id for vertex in files] == [entry.node.id]
    assert len(desk.catalog.changes_after(outcome.change - 1)) == 1
    desk.do(Link(node=entry.node.id, parent=there.id, name="link"))  # it is of this bucket


def test_refusals(desk: Desk) -> None:
    bucket = desk.bucket()
    directory = desk.directory(bucket, "d")
    inner = desk.directory(directory, "e")
    desk.file(bucket, "f", "one")
    desk.directory(bucket, "empty")

    with pytest.raises(NotFound):
        desk.rename(bucket, "nothing", "x")
    with pytest.raises(AlreadyExists):
        desk.rename(bucket, "f", "d", how="noreplace")
    with pytest.raises(NotEmpty):
        desk.rename(bucket, "empty", "d")
    with pytest.raises(IsADirectory):
        desk.rename(bucket, "f", "empty")
    with pytest.raises(NotADirectory):
        desk.rename(bucket, "empty", "f")
    with pytest.raises(WouldLoop):
        desk.rename(bucket, "d", "x", into=inner)
    with pytest.raises(WouldLoop):
        desk.rename(bucket, "d", "e", into=directory, how="exchange")
    with pytest.raises(NotFound):
        desk.rename(bucket, "f", "x", how="exchange")
    with pytest.raises(NotPermitted):
        desk.rename(bucket, "d", "x", into=desk.catalog.node(ROOT))
    assert desk.names(bucket) == ["d", "empty", "f"]


def test_a_directory_replaces_an_empty_one(desk: Desk) -> None:
    bucket = desk.bucket()
    full = desk.directory(bucket, "full")
    desk.file(full, "f")
    empty = desk.directory(bucket, "empty")

    outcome = desk.rename(bucket, "full", "empty")

    assert outcome.replaced == empty.id
    assert desk.catalog.entry(bucket.id, "empty").node.id == full.id


def test_a_bucket_is_renamed_at_the_top(desk: Desk) -> None:
    bucket = desk.bucket("old")
    desk.file(bucket, "f", "one")

    rename_bucket(desk, "old", "new")

    assert desk.names(ROOT) == ["new"]
    assert desk.catalog.path("new/f").node.size == 3
