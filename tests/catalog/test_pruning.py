"""Retention: what a prune takes from history, and what it never takes."""

from dataclasses import replace

import pytest
from support.catalogs import Desk

from rengafs.catalog import pruning
from rengafs.catalog.calls import keeping
from rengafs.catalog.values import Actor
from rengafs.protocol.errors import BadRequest, NotFound, RengafsError
from rengafs.protocol.errors import Pruned as PrunedError
from rengafs.protocol.keeping import Pruned
from rengafs.protocol.operations import (
    Clone,
    DropLabel,
    PutLabel,
    Restore,
    SetRetention,
)
from rengafs.protocol.records import ROOT, Node

DAY = 86_400


def pass_days(desk: Desk, days: float) -> None:
    desk.clock.now_ns += int(days * DAY * 10**9)


def to_noon(desk: Desk) -> None:
    """Go on to the next noon, UTC."""
    day = DAY * 10**9
    desk.clock.now_ns += (day // 2 - desk.clock.now_ns) % day


def keep(desk: Desk, bucket: Node, rule: str) -> None:
    desk.do(SetRetention(bucket=bucket.id, rule=rule))


def prune(desk: Desk, bucket: Node) -> Pruned:
    """Prune as the service does; whatever was planned is what is done."""
    planned = desk.catalog.plan_prune(bucket.id, 1000)
    under_way = desk.catalog.begin_prune(bucket.id, 1000)
    freed = []
    while not under_way.finished:
        desk.catalog.prune_piece(desk.actor, under_way)
        freed += under_way.take_freed()
    done = under_way.report()
    told = ("versions", "size", "freed_bytes", "held", "listed", "rule")
    assert [getattr(planned, name) for name in told] == [getattr(done, name) for name in told]
    assert sum(blob.size for blob in freed) == done.freed_bytes
    assert desk.catalog.sums_agree()
    return done


def stored(desk: Desk) -> list[str]:
    """Return the contents that the backends still have to hold."""
    return sorted(desk.contents[known.blob.sha256] for known in desk.catalog.blobs(0, 1000))


def readable(desk: Desk, number: int | None) -> bool:
    assert number is not None
    try:
        desk.catalog.content(number)
    except PrunedError:
        return False
    return True


def test_without_a_rule_everything_stays(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one", "two")
    desk.unlink(bucket, "f")
    pass_days(desk, 10_000)

    done = prune(desk, bucket)

    assert (done.rule, done.versions) == ("all", 0)
    assert desk.history(bucket, "f") == ["one", "two"]
    assert desk.catalog.node(file.id).version is not None


def test_what_is_older_goes_and_what_is_current_stays(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one", "two", "three")
    first = desk.catalog.history(bucket.id, "f").versions[0]
    pass_days(desk, 31)
    before = desk.catalog.usage()
    keep(desk, bucket, "all for 30 days")

    done = prune(desk, bucket)

    assert (done.versions, done.size, done.freed_bytes) == (2, 6, 6)
    assert (done.listed[0].path, done.listed[0].version) == ("data/f", first.id)
    assert desk.history(bucket, "f") == ["three"]
    assert stored(desk) == ["three"]
    with pytest.raises(PrunedError, match="retention"):
        desk.catalog.content(first.id)
    with pytest.raises(PrunedError):
        desk.catalog.version(first.id)
    after = desk.catalog.usage()
    assert (after.live_bytes, after.history_bytes) == (before.live_bytes, 0)
    assert len(desk.catalog.explore_versions(file.id)) == 1
    assert prune(desk, bucket).versions == 0


def test_the_last_of_each_day_stays_where_it_is_kept_daily(desk: Desk) -> None:
    bucket = desk.bucket()
    to_noon(desk)
    file = desk.file(bucket, "f", "mon 1", "mon 2")
    pass_days(desk, 1)
    desk.save(file, "tue 1")
    desk.save(file, "tue 2")
    monday_night = desk.catalog.moment(desk.clock.now_ns // 10**6 - DAY * 500).change
    pass_days(desk, 40)
    keep(desk, bucket, "all for 30 days, daily for a year")

    done = prune(desk, bucket)

    assert desk.history(bucket, "f") == ["mon 2", "tue 2"]
    assert done.versions == 2
    entry = desk.catalog.entry(bucket.id, "f", monday_night)
    assert readable(desk, entry.node.version)
    pass_days(desk, 400)
    prune(desk, bucket)
    assert desk.history(bucket, "f") == ["tue 2"]


def test_a_deleted_file_goes_with_its_time(desk: Desk) -> None:
    bucket = desk.bucket()
    to_noon(desk)
    desk.file(bucket, "brief", "never at a day's end")
    desk.unlink(bucket, "brief")
    desk.file(bucket, "night", "over night")
    pass_days(desk, 1)
    desk.unlink(bucket, "night")
    pass_days(desk, 10)
    keep(desk, bucket, "daily")

    prune(desk, bucket)

    assert desk.past(bucket) == ["night"]
    assert desk.history(bucket, "night") == ["over night"]
    last = desk.catalog.last_there("data/brief").change
    with pytest.raises(PrunedError):
        desk.do(Restore(path="data/brief", at=last))
    assert desk.names(bucket) == []
    desk.do(Restore(path="data/night", at=desk.catalog.last_there("data/night").change))
    assert desk.names(bucket) == ["night"]


def test_what_was_current_within_a_day_stays_whatever_the_rule(desk: Desk) -> None:
    bucket = desk.bucket()
    to_noon(desk)
    file = desk.file(bucket, "f", "one")
    pass_days(desk, 0.1)
    desk.save(file, "two")
    keep(desk, bucket, "yearly for 2 years")
    pass_days(desk, 0.9)

    assert prune(desk, bucket).versions == 0
    pass_days(desk, 0.2)
    assert prune(desk, bucket).versions == 1


def test_a_label_keeps_what_it_shows(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one", "paper")
    desk.do(PutLabel(bucket=bucket.id, name="paper-v1"))
    gone = desk.file(bucket, "gone", "also in the paper")
    desk.do(PutLabel(bucket=bucket.id, name="paper-v2"))
    desk.unlink(bucket, "gone")
    desk.save(file, "later")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")

    prune(desk, bucket)

    assert desk.history(bucket, "f") == ["paper", "later"]
    assert desk.history(bucket, "gone") == ["also in the paper"]
    desk.do(DropLabel(bucket=bucket.id, name="paper-v2"))
    prune(desk, bucket)
    assert desk.history(bucket, "f") == ["paper", "later"]
    assert not readable(desk, desk.catalog.node(gone.id).version)
    desk.do(DropLabel(bucket=bucket.id, name="paper-v1"))
    prune(desk, bucket)
    assert desk.history(bucket, "f") == ["later"]


def test_a_label_of_the_bucket_where_it_was_keeps_what_moved_away(desk: Desk) -> None:
    source, middle, target = desk.bucket("source"), desk.bucket("middle"), desk.bucket("target")
    directory = desk.directory(source, "d")
    file = desk.file(directory, "f", "one", "labelled", "unlabelled")
    at = desk.catalog.history(directory.id, "f").versions[1].created_ms
    desk.do(PutLabel(bucket=source.id, name="v1", at_ms=at))
    desk.rename(source, "d", "d", into=middle)
    desk.rename(middle, "d", "d", into=target)
    desk.save(file, "now")
    pass_days(desk, 100)
    keep(desk, target, "all for 1 day")

    done = prune(desk, target)

    assert done.versions == 2
    assert desk.history(directory, "f") == ["labelled", "now"]


def test_what_is_held_stays_until_it_is_let_go(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one", "two", "three")
    one, two, _ = desk.catalog.history(bucket.id, "f").versions
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")

    assert desk.catalog.hold(desk.actor, "mount", [one.id, two.id, 12345], DAY) == 2
    assert desk.catalog.hold(desk.actor, "other mount", [two.id], 3 * DAY) == 1
    done = prune(desk, bucket)
    assert (done.versions, done.held) == (0, 2)

    desk.catalog.hold(desk.actor, "mount", [], DAY)
    assert prune(desk, bucket).held == 1
    assert (readable(desk, one.id), readable(desk, two.id)) == (False, True)

    pass_days(desk, 4)
    assert prune(desk, bucket).versions == 1
    assert desk.history(bucket, "f") == ["three"]
    assert file.id


def test_nobody_holds_what_they_may_not_see(desk: Desk) -> None:
    bucket = desk.bucket()
    version = desk.save(desk.file(bucket, "f"), "secret")
    stranger = Actor(77, "eve")

    assert desk.catalog.hold(stranger, "mount", [version.id], DAY) == 0


def test_a_blob_goes_with_the_last_that_needs_it(desk: Desk) -> None:
    bucket, other = desk.bucket(), desk.bucket("other")
    file = desk.file(bucket, "f", "shared", "own")
    shared = desk.catalog.history(bucket.id, "f").versions[0]
    clone = desk.made(Clone(source=shared.id, parent=other.id, name="copy"))
    desk.save(file, "now")
    desk.save(clone, "now")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")

    done = prune(desk, bucket)

    assert (done.versions, done.size, done.freed_bytes) == (2, 9, 3)
    assert stored(desk) == ["now", "shared"]
    assert desk.history(other, "copy") == ["shared", "now"]
    keep(desk, other, "all for 1 day")
    assert prune(desk, other).freed_bytes == 6
    assert stored(desk) == ["now"]


def test_the_same_content_saved_again_is_stored_again(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one", "two")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")
    prune(desk, bucket)

    again = desk.save(file, "one")

    assert readable(desk, again.id)
    assert stored(desk) == ["one", "two"]


def test_a_restored_version_is_current_and_so_stays(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f", "one")
    at = desk.catalog.last_change()
    desk.save(file, "two")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")
    under_way = desk.catalog.begin_prune(bucket.id, 0)
    desk.do(Restore(path="data/f", at=at))

    while not under_way.finished:
        desk.catalog.prune_piece(desk.actor, under_way)

    assert desk.catalog.sums_agree()
    assert readable(desk, desk.catalog.node(file.id).version)
    assert stored(desk) == ["one", "two"]  # "two" was current within the day


def test_a_prune_goes_on_where_an_earlier_one_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PIECE", 1)
    monkeypatch.setattr(pruning, "FILES_AT_ONCE", 1)
    bucket = desk.bucket()
    for name in "abc":
        desk.file(bucket, name, f"{name} one", f"{name} two", f"{name} three")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")

    taken, after = [], 0
    while after is not None:
        piece = desk.catalog.begin_prune(bucket.id, 10, after)
        desk.catalog.prune_piece(desk.actor, piece)
        taken.append([told.path for told in piece.report().listed])
        after = piece.report().after

    assert taken == [["data/a"] * 2, ["data/b"] * 2, ["data/c"] * 2, []]
    assert stored(desk) == ["a three", "b three", "c three"]
    assert desk.catalog.sums_agree()


def test_a_restore_that_needs_what_went_does_nothing(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "a", "kept")
    file = desk.file(bucket, "f", "one")
    at = desk.catalog.last_change()
    desk.save(file, "two")
    desk.unlink(bucket, "a")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")
    desk.catalog.hold(desk.actor, "m", [desk.catalog.node(desk.file(bucket, "x").id).id], DAY)
    prune(desk, bucket)
    last = desk.catalog.last_change()

    with pytest.raises(PrunedError):
        desk.do(Restore(path="data", at=at))

    assert desk.catalog.last_change() == last
    for version in desk.catalog.changes_after(0):
        assert version.number <= last


def test_a_pruned_version_is_cloned_no_more(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "f", "one", "two")
    one = desk.catalog.history(bucket.id, "f").versions[0]
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")
    prune(desk, bucket)

    with pytest.raises(PrunedError):
        desk.do(Clone(source=one.id, parent=bucket.id, name="copy"))


def test_the_log_still_tells_what_was_saved_and_that_it_went(desk: Desk) -> None:
    bucket = desk.bucket()
    desk.file(bucket, "f", "one", "two")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")
    prune(desk, bucket)

    file_log = desk.catalog.log("data/f").entries
    bucket_log = desk.catalog.log("data").entries

    saves = [(entry.what, entry.size, entry.pruned) for entry in file_log if entry.version]
    assert saves == [("saved", 3, 0), ("saved", 3, 1)]
    assert [(entry.what, entry.pruned, entry.label) for entry in bucket_log[:2]] == [
        ("pruned", 1, ""),
        ("retention", 0, "all for 1 day"),
    ]


def test_what_is_superseded_or_discarded_gives_its_bytes_back_too(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    desk.save(file, "first fsync", handle="h")
    desk.save(file, "closed", handle="h")
    desk.file(bucket, "f~", "dropping")
    desk.unlink(bucket, "f~")
    assert stored(desk) == ["closed", "dropping", "first fsync"]
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")

    done = prune(desk, bucket)

    assert stored(desk) == ["closed"]
    assert done.freed_bytes == len("first fsyncdropping")
    assert [entry.what for entry in desk.catalog.log("data/f").entries] == ["saved", "made"]


def test_a_rule_is_set_told_and_taken_away(desk: Desk) -> None:
    bucket = desk.bucket()
    assert desk.catalog.retention(bucket.id).rule == "all"
    change = desk.do(SetRetention(bucket=bucket.id, rule="keep all for a week, daily")).change
    assert change
    told = desk.catalog.retention(bucket.id)
    assert (told.rule, told.author) == ("all for 1 week, daily", "ada")
    assert desk.do(SetRetention(bucket=bucket.id, rule="all for 1 week, daily")).change == 0
    keep(desk, bucket, "all")
    assert desk.catalog.retention(bucket.id).author == ""

    for number, error in ((ROOT, BadRequest), (desk.file(bucket, "f").id, RengafsError)):
        with pytest.raises(error):
            desk.do(SetRetention(bucket=number, rule="all"))
    with pytest.raises(BadRequest):
        keep(desk, bucket, "some")
    with pytest.raises(NotFound):
        desk.catalog.retention(12345)


def test_usage_tells_history_apart_and_shared_content_once(desk: Desk) -> None:
    one, other = desk.bucket("one"), desk.bucket("other")
    desk.file(one, "f", "12345", "123")
    desk.file(other, "g", "12345")
    desk.file(other, "h", "12345")
    gone = desk.bucket("gone")
    desk.file(gone, "f", "1234567")
    desk.unlink(gone, "f")
    desk.rmdir(ROOT, "gone")
    desk.rmdir(ROOT, desk.bucket("empty") and "empty")

    usages = desk.catalog.usages(None)
    told = {
        usage.name: (usage.files, usage.live_bytes, usage.history_bytes, usage.stored_bytes)
        for usage in usages.buckets
    }

    assert told == {"one": (1, 3, 5, 8), "other": (2, 10, 0, 5), "gone": (0, 0, 7, 7)}
    assert usages.stored_bytes == {"local": 15}
    assert [usage.deleted for usage in usages.buckets] == [False, False, True]
    assert [usage.name for usage in desk.catalog.usages(None, other.id).buckets] == ["other"]
    assert desk.catalog.usages(77).buckets == []


def test_what_another_program_stored_is_not_pruned(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    staged = desk.staged(file, "theirs")
    assert staged.stored is not None
    desk.do(replace(staged, stored=replace(staged.stored, key="@container/f?version=&etag=e")))
    desk.save(file, "ours")
    desk.save(file, "now")
    pass_days(desk, 100)
    keep(desk, bucket, "all for 1 day")

    assert prune(desk, bucket).versions == 1
    assert desk.history(bucket, "f") == ["theirs", "now"]
