"""Which files will be opened next: told from those that were."""

import random
import tracemalloc

import pytest

from rengafs.fs.names.listings import Listing
from rengafs.fs.reads.neighbours import (
    FILES_FOR_OPEN,
    FIRST_BATCH,
    MOST_BYTES,
    MOST_FILES,
    MOST_SCATTERED_BYTES,
    OPENS,
    SMALL_BYTES,
    Neighbours,
)
from rengafs.protocol.records import Kind, Node

SIZE = 4096


def listing_of(count: int, *, size=lambda _: SIZE, number=lambda index: 10_000 + index) -> Listing:
    rows = {
        b"f%05d" % index: Node(
            id=number(index), kind=Kind.FILE, mode=0, size=size(index), version=50_000 + index
        )
        for index in range(count)
    }
    return Listing(rows, 0)


def play(listing: Listing, names) -> tuple[list[list[int]], int]:
    """Open the files of *names*; return the batches, and how many opens were expected."""
    neighbours = Neighbours()
    batches, fetched, hits = [], set(), 0
    for name in names:
        hits += listing.rows[name].version in fetched
        batch = [node.version for node in neighbours.opened(name, listing)]
        if batch:
            batches.append(batch)
        fetched.update(batch)
    return batches, hits


def test_a_run_is_fetched_in_batches_that_grow():
    listing = listing_of(5000)
    batches, hits = play(listing, listing.rows)

    assert hits >= 4998
    assert [len(batch) for batch in batches[:3]] == [FIRST_BATCH, 2 * FIRST_BATCH, 4 * FIRST_BATCH]
    assert max(map(len, batches)) == MOST_FILES
    assert len(batches) <= 20
    together = [version for batch in batches for version in batch]
    assert len(together) == len(set(together))


def test_one_open_begins_nothing():
    listing = listing_of(100)
    assert play(listing, [b"f00007"]) == ([], 0)


def test_files_that_are_opened_here_and_there_are_not_followed():
    listing = listing_of(10_000)
    names = random.Random(1).sample(list(listing.rows), 10_000 // FILES_FOR_OPEN)
    batches, _ = play(listing, names)
    assert sum(map(len, batches)) <= 20


@pytest.mark.parametrize("count", [30, 500, 5000])
def test_a_shuffled_loop_gets_the_directory_in_batches(count):
    listing = listing_of(count)
    names = list(listing.rows)
    random.Random(2).shuffle(names)

    batches, hits = play(listing, names)

    assert hits >= count - OPENS - count // FILES_FOR_OPEN - len(batches)
    assert len(batches) <= 5 + count // 250
    # Some twice: neighbours that are opened by chance look like a run.
    assert sum(map(len, batches)) <= count + 5 * FIRST_BATCH


def test_one_file_opened_again_and_again_fetches_nothing():
    listing = listing_of(100)
    assert play(listing, [b"f00007", b"f00050"] * 50) == ([], 0)


def test_what_is_fetched_for_opens_in_any_order_is_bounded():
    listing = listing_of(5000, size=lambda _: SMALL_BYTES)
    names = list(listing.rows)
    random.Random(2).shuffle(names)
    batches, _ = play(listing, names)
    assert sum(map(len, batches)) * SMALL_BYTES <= 2 * MOST_SCATTERED_BYTES
    assert max(map(len, batches)) * SMALL_BYTES <= MOST_BYTES


def test_a_run_is_forgotten_with_the_listing():
    neighbours = Neighbours()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5):
            listing = listing_of(10_000)
            for name in list(listing.rows)[:10]:
                neighbours.opened(name, listing)
            del listing, name
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1 << 20


def test_a_file_that_is_made_meanwhile_belongs_to_the_run():
    listing = listing_of(100)
    neighbours = Neighbours()
    names = list(listing.rows)
    fetched = []
    for number, name in enumerate(names):
        fetched += neighbours.opened(name, listing)
        new = b"new%d" % number
        node = Node(id=20_000 + number, kind=Kind.FILE, mode=0, size=SIZE, version=60_000 + number)
        listing.rows[new] = node
        if number == 0:
            neighbours.opened(new, listing)
    assert {listing.rows[name].version for name in names[5:]} <= {node.version for node in fetched}


def test_a_run_that_ends_fetches_no_more():
    listing = listing_of(1000)
    neighbours = Neighbours()
    names = list(listing.rows)
    for name in names[:10]:
        neighbours.opened(name, listing)
    assert neighbours.opened(names[900], listing) == []
    assert neighbours.opened(names[300], listing) == []


def test_the_order_in_which_files_were_made_is_recognised():
    order = list(range(500))
    random.Random(2).shuffle(order)
    listing = listing_of(500, number=lambda index: 10_000 + order[index])
    names = sorted(listing.rows, key=lambda name: listing.rows[name].id)

    _, hits = play(listing, names)

    assert hits >= 490


def test_large_and_empty_files_are_left_out_and_do_not_end_a_run():
    listing = listing_of(300, size=lambda index: (SIZE, 0, SMALL_BYTES + 1)[index % 3])
    small = [name for name, node in listing.rows.items() if node.size == SIZE]
    batches, hits = play(listing, small)
    assert hits >= len(small) - 2
    assert all((version - 50_000) % 3 == 0 for batch in batches for version in batch)


def test_a_batch_is_bounded_in_bytes():
    listing = listing_of(1000, size=lambda _: SMALL_BYTES)
    batches, _ = play(listing, listing.rows)
    assert max(len(batch) * SMALL_BYTES for batch in batches) <= MOST_BYTES


def test_readers_side_by_side_are_one_run():
    listing = listing_of(400)
    names = list(listing.rows)
    mixed = [name for at in range(0, 400, 4) for name in reversed(names[at : at + 4])]
    _, hits = play(listing, mixed)
    assert hits >= 300
