"""Names, directories and views of the past."""

import pytest
from support.catalogs import Desk

from rengafs.protocol.endpoints import CreateBucket, CreateFile
from rengafs.protocol.errors import (
    AlreadyExists,
    BadRequest,
    CrossesBuckets,
    InvalidName,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    UnknownBackend,
)
from rengafs.protocol.names import to_wire
from rengafs.protocol.operations import (
    Link,
    MakeBucket,
    MakeDirectory,
    MakeFile,
    MakeSpecial,
    MakeSymlink,
    RemoveXattr,
    Rename,
    SetAttributes,
    SetXattr,
)
from rengafs.protocol.records import FIRST_ID, ROOT, Kind


def test_a_new_catalog_has_an_empty_root(desk: Desk) -> None:
    root = desk.catalog.node(ROOT)

    assert root.kind is Kind.DIRECTORY
    assert desk.names(ROOT) == []
    assert desk.catalog.last_change() == 0
    assert desk.bucket().id >= FIRST_ID


def test_a_listing_is_paged_and_sorted_by_name_bytes(desk: Desk) -> None:
    bucket = desk.bucket()
    wanted = ["B", "a", "b", "é", "z" * 200]
    for name in reversed(wanted):
        desk.file(bucket, name)

    found, after = [], ""
    while True:
        page = desk.catalog.entries(bucket.id, after=after, limit=2)
        found += [entry.name for entry in page.entries]
        after = page.next
        if not after:
            break

    assert found == sorted(wanted, key=str.encode)


def test_a_page_goes_on_behind_a_name_that_left(desk: Desk) -> None:
    bucket = desk.bucket()
    for name in "abcd":
        desk.file(bucket, name)
    page = desk.catalog.entries(bucket.id, limit=2)

    desk.unlink(bucket, "b")

    rest = desk.catalog.entries(bucket.id, after=page.next)
    assert [entry.name for entry in rest.entries] == ["c", "d"]


def test_doubles_are_paged_each_once(desk: Desk) -> None:
    bucket = desk.bucket()
    ids = [
        desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name="x"))
        for _ in range(3)
    ]
    desk.file(bucket, "x.txt")

    found, after = [], ""
    while True:
        page = desk.catalog.entries(bucket.id, after=after, limit=1)
        found += [entry.name for entry in page.entries]
        after = page.next
        if not after:
            break

    assert found == ["x", f"x~{ids[1]}", f"x~{ids[2]}", "x.txt"]


def test_two_of_one_name_are_both_reachable(desk: Desk) -> None:
    bucket = desk.bucket()
    elder, younger = (
        desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name="x"))
        for _ in range(2)
    )
    desk.save(elder, "old")
    desk.save(younger, "new")

    assert desk.catalog.entry(bucket.id, "x").node.id == elder
    assert desk.catalog.entry(bucket.id, f"x~{younger}").node.id == younger
    assert desk.history(bucket, "x") == ["old"]
    assert desk.history(bucket, f"x~{younger}") == ["new"]
    assert desk.past(bucket) == ["x", f"x~{younger}"]


def test_the_younger_takes_the_name_when_the_elder_leaves_and_the_feed_says_so(
    desk: Desk,
) -> None:
    bucket = desk.bucket()
    elder, younger = (
        desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name="x"))
        for _ in range(2)
    )

    change = desk.unlink(bucket, "x").change

    assert desk.names(bucket) == ["x"]
    assert desk.catalog.entry(bucket.id, "x").node.id == younger
    events = desk.catalog.changes_after(change - 1)[0].events
    assert [(event.what, event.node, event.name) for event in events] == [
        ("left", elder, "x"),
        ("left", younger, f"x~{younger}"),
        ("entered", younger, "x"),
        ("gone", elder, ""),
    ]


def test_a_file_and_a_directory_of_one_name_are_both_reachable(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name="a"))

    inner = desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name="a/b"))

    shown = desk.names(bucket)
    assert desk.catalog.entry(bucket.id, "a").node.id == file
    assert shown[1].startswith("a~")
    assert desk.catalog.path(f"data/{shown[1]}/b").node.id == inner


def test_directories_are_made_on_demand_once(desk: Desk) -> None:
    bucket = desk.bucket()
    for name in ("a/b/c", "a/b/d", "a/e"):
        desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name=name))

    assert desk.names(bucket) == ["a"]
    assert desk.catalog.path("data/a/b/d").node.kind is Kind.FILE


@pytest.mark.parametrize(
    "name", ["http://example.org//data", "..", "a/../b", ".versions", "x" * 300, "a\0b", "/"]
)
def test_names_that_no_path_carries_are_shown_escaped_and_found(desk: Desk, name: str) -> None:
    bucket = desk.bucket()
    number = desk.catalog.create_file(desk.actor, CreateFile(bucket_id=bucket.id, file_name=name))

    (shown,) = desk.names(bucket)

    assert "/" not in shown
    assert len(shown.encode()) <= 255
    assert desk.catalog.entry(bucket.id, shown).node.id == number
    vertex = desk.catalog.explore_file(number)
    assert vertex.properties[0].values[0].value == name


def test_names_that_are_not_utf8_survive(desk: Desk) -> None:
    bucket = desk.bucket()
    name = to_wire(b"caf\xe9")
    file = desk.file(bucket, name)

    assert desk.names(bucket) == [name]
    assert desk.catalog.entry(bucket.id, name).node.id == file.id


def test_buckets_of_one_name_or_a_strange_one_are_reachable(desk: Desk) -> None:
    for name in ("b", "b", ".hidden"):
        desk.catalog.create_bucket(desk.actor, CreateBucket(name=name))

    names = desk.names(ROOT)

    assert names[0] == "%~.hidden"
    assert names[1] == "b"
    assert names[2].startswith("b~")
    for name in names:
        assert desk.catalog.path(name).node.kind is Kind.BUCKET


def test_what_cannot_be_made_is_refused(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    number = bucket.id

    for operation, error in [
        (MakeBucket(name="data"), AlreadyExists),
        (MakeBucket(name=".x"), NotPermitted),
        (MakeBucket(name="y", backend="tape"), UnknownBackend),
        (MakeFile(parent=ROOT, name="x"), NotPermitted),
        (MakeDirectory(parent=ROOT, name="x"), NotPermitted),
        (MakeFile(parent=number, name="f"), AlreadyExists),
        (MakeFile(parent=number, name="a/b"), InvalidName),
        (MakeFile(parent=number, name=".versions"), InvalidName),
        (MakeFile(parent=number, name="%~a%2Fb"), InvalidName),
        (MakeFile(parent=number, name=""), InvalidName),
        (MakeFile(parent=number, name="x" * 256), NameTooLong),
        (MakeFile(parent=file.id, name="x"), NotADirectory),
        (MakeFile(parent=99_999, name="x"), NotFound),
        (MakeSymlink(parent=number, name="l", target=""), BadRequest),
        (MakeSymlink(parent=number, name="l", target="x" * 4096), NameTooLong),
        (MakeSpecial(parent=number, name="s", kind=Kind.FILE), BadRequest),
        (Link(node=number, parent=number, name="l"), NotPermitted),
    ]:
        with pytest.raises(error):
            desk.do(operation)
    assert desk.names(number) == ["f"]


def test_a_file_that_is_there_is_found_unless_excluded(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.directory(bucket, "d")

    outcome = desk.do(MakeFile(parent=bucket.id, name="f", exclusive=False))

    assert outcome.change == 0
    assert outcome.node == desk.catalog.node(file.id)
    with pytest.raises(IsADirectory):
        desk.do(MakeFile(parent=bucket.id, name="d", exclusive=False))


def test_special_nodes_keep_what_they_are(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.do(MakeSymlink(parent=bucket.id, name="l", target="../x"))
    desk.do(MakeSpecial(parent=bucket.id, name="d", kind=Kind.BLOCK, device=2049, mode=0o660))

    link = desk.catalog.entry(bucket.id, "l").node
    device = desk.catalog.entry(bucket.id, "d").node

    assert (link.kind, link.target, link.size) == (Kind.SYMLINK, "../x", 4)
    assert (device.kind, device.device, device.mode) == (Kind.BLOCK, 2049, 0o660)


def test_a_directory_counts_two_links_and_one_for_each_subdirectory(desk: Desk) -> None:
    bucket, other = desk.bucket(), desk.bucket("other")
    desk.file(bucket, "f", "one")
    desk.directory(bucket, "a")
    replaced = desk.directory(bucket, "b")

    def links() -> tuple[int, ...]:
        return tuple(desk.catalog.node(of).links for of in (ROOT, bucket.id, other.id))

    assert links() == (4, 4, 2)
    desk.rename(bucket, "a", "b")
    assert links() == (4, 3, 2)
    assert desk.catalog.node(replaced.id).links == 0
    desk.do(Rename(parent=bucket.id, name="b", new_parent=other.id, new_name="b"))
    assert links() == (4, 2, 3)
    desk.rmdir(other, "b")
    desk.rmdir(ROOT, "other")
    assert links() == (3, 2, 0)


def test_links_count_and_the_last_takes_the_file(desk: Desk) -> None:
    bucket, other = desk.bucket(), desk.bucket("other")
    file = desk.file(bucket, "f", "one")
    desk.do(Link(node=file.id, parent=bucket.id, name="g"))

    with pytest.raises(CrossesBuckets):
        desk.do(Link(node=file.id, parent=other.id, name="g"))
    assert desk.catalog.node(file.id).links == 2
    assert [v.id for v in desk.catalog.explore_files(bucket.id)] == [file.id]

    desk.unlink(bucket, "f")
    assert desk.catalog.node(file.id).links == 1
    assert desk.catalog.usage().files == 1

    desk.unlink(bucket, "g")
    assert desk.catalog.node(file.id).links == 0
    assert desk.catalog.usage().files == 0
    with pytest.raises(NotFound):
        desk.do(Link(node=file.id, parent=bucket.id, name="h"))


def test_only_what_is_empty_is_removed_as_a_directory(desk: Desk) -> None:
    bucket = desk.bucket()
    directory = desk.directory(bucket, "d")
    desk.file(directory, "f")

    with pytest.raises(NotEmpty):
        desk.rmdir(bucket, "d")
    with pytest.raises(NotEmpty):
        desk.rmdir(ROOT, "data")
    with pytest.raises(NotADirectory):
        desk.rmdir(directory, "f")
    with pytest.raises(IsADirectory):
        desk.unlink(bucket, "d")

    desk.unlink(directory, "f")
    desk.rmdir(bucket, "d")
    desk.rmdir(ROOT, "data")

    assert desk.names(ROOT) == []
    with pytest.raises(NotFound):
        desk.file(directory, "late")


def test_the_past_is_seen_as_it_was(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    desk.do(SetAttributes(node=file.id, mode=0o600))
    then = desk.catalog.last_change()
    desk.save(file, "three")
    desk.do(SetAttributes(node=file.id, mode=0o777))
    desk.rename(bucket, "f", "g")
    desk.file(bucket, "new")
    gone = desk.catalog.last_change()
    desk.unlink(bucket, "g")

    was = desk.catalog.entry(bucket.id, "f", then).node

    assert desk.names(bucket, then) == ["f"]
    assert (was.size, was.mode, was.links) == (3, 0o600, 1)
    assert desk.names(bucket, gone) == ["g", "new"]
    assert desk.catalog.path("data/g", gone).node.size == 5
    assert desk.names(ROOT, 0) == []
    assert desk.names(bucket) == ["new"]


def test_a_change_there_is_not_is_refused(desk: Desk) -> None:
    bucket = desk.bucket()
    for at in (-1, 2, 10**6):
        with pytest.raises(BadRequest):
            desk.names(bucket, at)


def test_deleted_files_and_directories_stay_among_past_names(desk: Desk) -> None:
    bucket = desk.bucket()
    directory = desk.directory(bucket, "d")
    desk.file(directory, "deep", "x")
    desk.file(bucket, "saved", "one")
    desk.file(bucket, "never-saved")
    for name in ("saved", "never-saved"):
        desk.unlink(bucket, name)
    desk.unlink(directory, "deep")
    desk.rmdir(bucket, "d")

    past = desk.catalog.past_names(bucket.id).names

    assert [(name.name, name.live, name.kind) for name in past] == [
        ("d", False, Kind.DIRECTORY),
        ("saved", False, Kind.FILE),
    ]
    assert all(name.until_ms for name in past)
    assert desk.past(directory) == ["deep"]
    assert desk.history(bucket, "saved") == ["one"]


def test_past_names_are_paged(desk: Desk) -> None:
    bucket = desk.bucket()
    for name in "abcde":
        desk.file(bucket, name, name)
        if name in "bd":
            desk.unlink(bucket, name)

    found, after = [], ""
    while True:
        page = desk.catalog.past_names(bucket.id, after=after, limit=2)
        found += [name.name for name in page.names]
        after = page.next
        if not after:
            break

    assert found == list("abcde")


def test_histories_are_paged(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "f", *"abcde")

    found, after = [], ""
    while True:
        page = desk.catalog.history(bucket.id, "f", after=after, limit=2)
        found += [desk.contents[version.sha256] for version in page.versions]
        after = page.next
        if not after:
            break

    assert found == list("abcde")


def test_a_name_that_never_was_has_no_history(desk: Desk) -> None:
    bucket = desk.bucket()

    with pytest.raises(NotFound):
        desk.history(bucket, "nothing")


def test_droppings_take_what_was_saved_under_them_and_nothing_else(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, ".f.swp", "swap")
    desk.file(bucket, "f", "one")
    desk.rename(bucket, "f", "f~")
    before = desk.catalog.usage()
    swap = desk.catalog.entry(bucket.id, ".f.swp").node.id

    desk.unlink(bucket, ".f.swp")
    desk.unlink(bucket, "f~")

    assert desk.past(bucket) == ["f"]
    assert desk.history(bucket, "f") == ["one"]
    assert desk.catalog.explore_versions(swap) == []
    after = desk.catalog.usage()
    assert before.live_bytes == 7
    assert (after.live_bytes, after.history_bytes, after.files) == (0, 3, 0)


def test_xattrs_are_kept_and_checked(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.do(SetXattr(node=bucket.id, name="user.a", value=b"\0\xff"))

    assert desk.catalog.node(bucket.id).xattrs == {"user.a": b"\0\xff"}
    for operation, code in [
        (SetXattr(node=bucket.id, name="user.a", value=b"", how="create"), "already_exists"),
        (SetXattr(node=bucket.id, name="user.b", value=b"", how="replace"), "no_such_attribute"),
        (SetXattr(node=bucket.id, name="user.b", value=bytes(70_000)), "no_space"),
        (SetXattr(node=bucket.id, name="x" * 256, value=b""), "name_too_long"),
        (RemoveXattr(node=bucket.id, name="user.b"), "no_such_attribute"),
    ]:
        problem = desk.apply(operation)[0].problem
        assert problem is not None
        assert problem.code == code
    desk.do(RemoveXattr(node=bucket.id, name="user.a"))
    assert desk.catalog.node(bucket.id).xattrs == {}


def test_a_directory_shows_when_its_entries_changed(desk: Desk) -> None:
    bucket = desk.bucket()
    before = desk.catalog.node(bucket.id).mtime_ns

    desk.file(bucket, "f")

    assert desk.catalog.node(bucket.id).mtime_ns > before
