"""Lists of operations: order, atomicity, receipts; and the feed that tells of them."""

import threading
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, select, update
from support.catalogs import Desk, open_desk

from rengafs.catalog.catalog import open_catalog
from rengafs.catalog.schema import metadata, receipts
from rengafs.protocol.errors import BadRequest, NotAuthenticated, NotFound, TokenExpired
from rengafs.protocol.operations import MakeDirectory, MakeFile, Rename, SetAttributes
from rengafs.protocol.records import ROOT


def test_the_first_failure_ends_the_list_and_undoes_only_itself(desk: Desk) -> None:
    bucket = desk.bucket()

    outcomes = desk.apply(
        MakeFile(parent=bucket.id, name="a"),
        MakeFile(parent=bucket.id, name="a"),
        MakeFile(parent=bucket.id, name="b"),
    )

    codes = [outcome.problem.code if outcome.problem else "" for outcome in outcomes]
    assert codes == ["", "already_exists", "skipped"]
    assert desk.names(bucket) == ["a"]
    assert desk.catalog.last_change() == outcomes[0].change
    assert desk.catalog.usage().files == 1


def test_each_operation_is_a_change_of_its_own(desk: Desk) -> None:
    bucket = desk.bucket()

    outcomes = desk.apply(*[MakeFile(parent=bucket.id, name=name) for name in "abc"])

    assert [outcome.change for outcome in outcomes] == [2, 3, 4]


def test_an_atomic_list_is_one_change(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")

    outcomes = desk.apply(
        desk.staged(file, "one"),
        SetAttributes(node=file.id, mode=0o600),
        Rename(parent=bucket.id, name="f", new_parent=bucket.id, new_name="g"),
        atomic=True,
    )

    assert {outcome.change for outcome in outcomes} == {3}
    (change,) = desk.catalog.changes_after(2)
    assert change.action == "apply"
    assert [event.what for event in change.events] == ["saved", "attributes", "left", "entered"]
    assert desk.history(bucket, "g") == ["one"]


def test_an_atomic_list_fails_as_a_whole(desk: Desk) -> None:
    bucket = desk.bucket()

    outcomes = desk.apply(
        MakeFile(parent=bucket.id, name="a"),
        MakeDirectory(parent=bucket.id, name="a"),
        MakeFile(parent=bucket.id, name="b"),
        atomic=True,
    )

    codes = [outcome.problem.code if outcome.problem else "" for outcome in outcomes]
    assert codes == ["skipped", "already_exists", "skipped"]
    assert desk.names(bucket) == []
    assert desk.catalog.last_change() == 1


@pytest.mark.parametrize("atomic", [False, True])
def test_a_repeated_operation_answers_what_it_answered_first(desk: Desk, atomic: bool) -> None:
    bucket = desk.bucket()
    operation = MakeFile(parent=bucket.id, name="a", key="k1")

    first = desk.apply(operation, atomic=atomic)
    desk.rename(bucket, "a", "b")
    second = desk.apply(operation, atomic=atomic)

    assert first == second
    assert desk.names(bucket) == ["b"]


def test_another_users_key_is_another_key(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.apply(MakeFile(parent=bucket.id, name="a", key="k"))
    desk.actor = type(desk.actor)(2, "bob", everywhere=True)

    assert desk.apply(MakeFile(parent=bucket.id, name="b", key="k"))[0].problem is None

    assert desk.names(bucket) == ["a", "b"]


def test_a_failed_operation_leaves_no_receipt(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "a")
    operation = MakeFile(parent=bucket.id, name="a", key="k")
    assert desk.apply(operation)[0].problem is not None

    desk.unlink(bucket, "a")

    assert desk.apply(operation)[0].problem is None


DAY_NS = 24 * 3600 * 10**9


def later(desk: Desk, days: int) -> None:
    """Have days go by, and the catalog look after its receipts."""
    desk.clock.now_ns += days * DAY_NS
    desk.catalog._swept = float("-inf")


@pytest.mark.parametrize("several", [False, True])
def test_a_save_that_is_repeated_after_weeks_overtakes_nobody(desk: Desk, several: bool) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    base = desk.save(file, "base").id
    late = desk.staged(file, "mine", base=base, key="k1")
    first = desk.do(late)
    assert first.version is not None
    desk.save(file, "theirs", base=first.version.id)
    later(desk, 89)
    desk.file(bucket, "other")

    more = [desk.staged(file, "mine", base=base, key="k1")] if several else []
    again = desk.apply(late, *more)[0]

    assert again.version == first.version
    assert desk.history(bucket, "f") == ["base", "mine", "theirs"]


def test_a_receipt_is_small(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    desk.do(desk.staged(file, "mine", key="k1"))

    with desk.catalog._database.read() as connection:
        (size,) = connection.execute(
            select(func.length(receipts.c.outcome)).where(receipts.c.key == "k1")
        ).one()

    assert size < 80


def test_a_receipt_of_an_earlier_release_is_understood(desk: Desk) -> None:
    bucket = desk.bucket()
    first = desk.do(MakeFile(parent=bucket.id, name="a", key="k"))
    with desk.catalog._write(desk.actor) as w:
        w.connection.execute(update(receipts).values(outcome=msgspec.json.encode(first)))

    assert desk.do(MakeFile(parent=bucket.id, name="a", key="k")) == first


def test_receipts_are_forgotten_in_the_end(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        bucket = desk.bucket()
        operation = MakeFile(parent=bucket.id, name="a", key="k")
        desk.apply(operation)
        desk.clock.now_ns += 91 * DAY_NS
        desk.catalog._swept = float("-inf")
        desk.unlink(bucket, "a")

        assert desk.apply(operation)[0].change == desk.catalog.last_change()


def test_the_feed_alone_is_enough_to_rebuild_the_tree(desk: Desk) -> None:
    bucket = desk.bucket()
    directory = desk.directory(bucket, "d")
    desk.file(bucket, "f", "one")
    desk.file(bucket, "t", "two")
    desk.rename(bucket, "t", "f")
    desk.rename(bucket, "f", "g", into=directory)
    desk.file(bucket, "gone", "x")
    desk.unlink(bucket, "gone")

    tree: dict[tuple[int, str], int] = {}
    saved: dict[int, int] = {}
    changes = desk.catalog.changes_after(0)
    for event in (event for change in changes for event in change.events):
        if event.what == "entered":
            tree[event.parent, event.name] = event.node
        elif event.what == "left":
            del tree[event.parent, event.name]
        elif event.what == "saved":
            saved[event.node] = event.version

    assert [change.number for change in changes] == list(range(1, len(changes) + 1))
    assert [change.at_ms for change in changes] == sorted(change.at_ms for change in changes)
    for parent in {ROOT, *(node for _, node in tree.items())} & {ROOT, bucket.id, directory.id}:
        listed = desk.catalog.entries(parent).entries
        assert {entry.name: entry.node.id for entry in listed} == {
            name: node for (above, name), node in tree.items() if above == parent
        }
        for entry in listed:
            assert entry.node.version == saved.get(entry.node.id)


def test_the_feed_does_not_begin_in_the_future(desk: Desk) -> None:
    with pytest.raises(BadRequest):
        desk.catalog.changes_after(1)


def test_a_moment_names_the_last_change_until_then(desk: Desk) -> None:
    desk.bucket("a")
    first = desk.catalog.changes_after(0)[0]
    desk.bucket("b")

    assert desk.catalog.moment(first.at_ms - 1).change == 0
    assert desk.catalog.moment(first.at_ms).change == 1
    assert desk.catalog.moment(10**15).change == 2


def test_history_does_not_run_backwards_with_the_clock(desk: Desk) -> None:
    desk.bucket("a")
    desk.clock.now_ns -= 3600 * 10**9
    desk.bucket("b")

    moments = [change.at_ms for change in desk.catalog.changes_after(0)]

    assert moments == sorted(moments)


def test_tokens_are_found_until_they_expire_or_are_revoked(desk: Desk) -> None:
    desk.catalog.add_token("ada", "t1")
    desk.catalog.add_token("ada", "t2", read_only=True)
    desk.catalog.add_token("bob", "t3", expires_ms=desk.clock.now_ns // 10**6 + 50)

    assert desk.catalog.holder("t1").user == desk.catalog.holder("t2").user
    assert desk.catalog.holder("t2").read_only
    assert desk.catalog.holder("t3").name == "bob"
    desk.clock.now_ns += 10**9
    with pytest.raises(TokenExpired):
        desk.catalog.holder("t3")
    assert desk.catalog.revoke_tokens("ada") == 2
    with pytest.raises(NotAuthenticated):
        desk.catalog.holder("t1")
    with pytest.raises(NotFound):
        desk.catalog.revoke_tokens("nobody")
    assert [listing.name for listing in desk.catalog.list_tokens()] == ["ada", "ada", "bob"]


def test_migrations_make_the_schema_that_the_code_uses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.sqlite'}"
    open_catalog(url).close()

    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_processes_that_start_together_make_one_catalog(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'c.sqlite'}"
    found: list[str] = []

    def begin() -> None:
        catalog = open_catalog(url)
        found.append(catalog.identity.catalog)
        catalog.close()

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 6
    assert len(set(found)) == 1


def test_a_catalog_survives_being_closed(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        bucket = desk.bucket()
        desk.file(bucket, "f", "one")
        identity = desk.catalog.identity
        contents = desk.contents

    with open_desk(tmp_path) as desk:
        desk.contents = contents
        assert desk.catalog.identity == identity
        assert desk.history(bucket, "f") == ["one"]
