"""Small blobs in the catalog: where their bytes are at each step until they are settled."""

import hashlib

from support.catalogs import Desk

from rengafs.catalog.applying import Staged
from rengafs.catalog.parking import TAKEN_MS
from rengafs.catalog.values import Blob
from rengafs.protocol.operations import Commit, SetRetention
from rengafs.protocol.records import Node

DAY_NS = 86_400 * 10**9


def save(desk: Desk, node: Node, text: str, key: str) -> int:
    """Save a text that is to be parked; return its version."""
    data = text.encode()
    blob = Blob("local", f"={key}", len(data), hashlib.sha256(data).hexdigest(), data=data)
    outcome = desk.do(Staged(Commit(node=node.id, length=len(data)), blob))
    assert outcome.version is not None
    return outcome.version.id


def key_of(desk: Desk, version: int) -> str:
    blob = desk.catalog.content(version).blob
    assert blob is not None
    return blob.key


def test_a_parked_blob_is_there_with_its_version_and_settles(desk: Desk) -> None:
    version = save(desk, desk.file(desk.bucket(), "f"), "text", "K")
    assert key_of(desk, version) == "=K"
    assert desk.catalog.parked_data("local", "=K") == b"text"
    assert desk.catalog.parked_waiting() == (1, 4)

    taken = desk.catalog.take_parked("local", 0)
    assert [(one.key, one.data) for one in taken] == [("=K", b"text")]
    assert desk.catalog.settle_parked(taken) == []

    assert key_of(desk, version) == "K"
    assert desk.catalog.parked_data("local", "=K") is None
    assert desk.catalog.parked_waiting() == (0, 0)


def test_the_same_content_is_parked_once(desk: Desk) -> None:
    bucket = desk.bucket()
    one = save(desk, desk.file(bucket, "one"), "text", "K1")
    two = save(desk, desk.file(bucket, "two"), "text", "K2")
    assert key_of(desk, one) == key_of(desk, two) == "=K1"
    assert desk.catalog.parked_waiting() == (1, 4)


def test_what_is_young_or_of_another_backend_is_not_taken(desk: Desk) -> None:
    save(desk, desk.file(desk.bucket(), "f"), "text", "K")
    assert desk.catalog.take_parked("local", 60_000) == []
    assert desk.catalog.take_parked("other", 0) == []
    desk.clock.now_ns += 61 * 10**9
    assert len(desk.catalog.take_parked("local", 60_000)) == 1


def test_what_is_taken_is_not_taken_twice_until_its_taker_is_given_up(desk: Desk) -> None:
    save(desk, desk.file(desk.bucket(), "f"), "text", "K")
    first = desk.catalog.take_parked("local", 0)
    assert len(first) == 1
    assert desk.catalog.take_parked("local", 0) == []
    desk.clock.now_ns += TAKEN_MS * 1_000_000
    second = desk.catalog.take_parked("local", 0)
    assert second == first
    # Both have put it, under the same key: it is needed, whoever comes first.
    assert desk.catalog.settle_parked(second) == []
    assert desk.catalog.settle_parked(first) == []


def test_what_could_not_be_put_is_taken_again_at_once(desk: Desk) -> None:
    save(desk, desk.file(desk.bucket(), "f"), "text", "K")
    taken = desk.catalog.take_parked("local", 0)
    desk.catalog.release_parked([one.id for one in taken])
    assert desk.catalog.take_parked("local", 0) == taken


def test_what_is_pruned_while_it_is_put_is_not_needed_in_the_store(desk: Desk) -> None:
    bucket = desk.bucket()
    file = desk.file(bucket, "f")
    save(desk, file, "old", "K1")
    kept = save(desk, file, "new", "K2")
    desk.do(SetRetention(bucket=bucket.id, rule="all for 1 day, then nothing"))
    desk.clock.now_ns += 10 * DAY_NS
    taken = desk.catalog.take_parked("local", 0)
    assert len(taken) == 2

    done = desk.catalog.begin_prune(bucket.id, 0)
    while not done.finished:
        desk.catalog.prune_piece(desk.actor, done)
    assert [blob.key for blob in done.take_freed()] == ["=K1"]
    assert desk.catalog.parked_waiting() == (1, 3)

    assert desk.catalog.settle_parked(taken) == ["K1"]
    assert key_of(desk, kept) == "K2"
    assert desk.catalog.parked_waiting() == (0, 0)


def test_what_is_moved_while_it_is_put_is_not_needed_in_the_store(desk: Desk) -> None:
    bucket = desk.bucket()
    version = save(desk, desk.file(bucket, "f"), "text", "K")
    [taken] = desk.catalog.take_parked("local", 0)
    copy = Blob("other", "copy", 4, hashlib.sha256(b"text").hexdigest())
    assert desk.catalog.relocate(bucket.id, taken.id, copy) == (True, True)

    assert desk.catalog.settle_parked([taken]) == ["K"]
    assert key_of(desk, version) == "copy"
    assert desk.catalog.parked_waiting() == (0, 0)


def test_a_lost_blob_is_healed_by_a_parked_one(desk: Desk) -> None:
    file = desk.file(desk.bucket(), "f")
    version = save(desk, file, "text", "K1")
    [known] = desk.catalog.blobs(0, 10)
    desk.catalog.repair({known.id: "!=K1"})
    save(desk, desk.file(desk.bucket("other"), "g"), "text", "K2")
    assert key_of(desk, version) == "=K2"
    assert desk.catalog.parked_data("local", "=K2") == b"text"
    taken = desk.catalog.take_parked("local", 0)
    assert desk.catalog.settle_parked(taken) == []
    assert key_of(desk, version) == "K2"


def test_the_sweeper_is_told_of_objects_that_are_about_to_be_settled(desk: Desk) -> None:
    save(desk, desk.file(desk.bucket(), "f"), "text", "K")
    assert desk.catalog.known_keys("local", ["K", "other"]) == {"K"}
