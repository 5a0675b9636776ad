"""Directories whose every name is known, kept right by own changes and ended by others'."""

from rengafs.fs.names.listings import FILL_NAMES, LOOKUPS_BEFORE, NAMES_FOR_LOOKUP, Listings
from rengafs.fs.names.touched import Touched
from rengafs.protocol.records import Kind, Node

DIRECTORY = 400


def node(number: int) -> Node:
    return Node(id=number, kind=Kind.FILE, mode=0o644)


def made(*names: bytes, **options) -> Listings:
    listings = Listings(Touched(), **options)
    rows = {name: node(1000 + index) for index, name in enumerate(names)}
    listings.keep(DIRECTORY, rows, listings.touched.mark())
    return listings


def test_own_changes_keep_a_listing_right():
    listings = made(b"a", b"b")

    listings.entered(DIRECTORY, b"c", node(2000))
    listings.left(DIRECTORY, b"a")

    assert set(listings.get(DIRECTORY).rows) == {b"b", b"c"}
    # A new name stands at the end here, and elsewhere in the service's order.
    assert listings.whole(DIRECTORY) is None


def test_a_name_that_goes_leaves_the_order_as_it_was():
    listings = made(b"a", b"b", b"c")
    listings.left(DIRECTORY, b"b")
    assert list(listings.whole(DIRECTORY).rows) == [b"a", b"c"]


def test_a_change_elsewhere_ends_a_listing():
    listings = made(b"a")
    listings.changed(DIRECTORY)
    assert listings.get(DIRECTORY) is None


def test_rows_that_were_fetched_before_a_change_are_not_kept():
    for change in ("entered", "left", "changed"):
        listings = Listings(Touched())
        mark = listings.touched.mark()
        match change:
            case "entered":
                listings.entered(DIRECTORY, b"new", node(2000))
            case "left":
                listings.left(DIRECTORY, b"a")
            case "changed":
                listings.changed(DIRECTORY)
        listings.keep(DIRECTORY, {b"a": node(1000)}, mark)
        assert listings.get(DIRECTORY) is None, change


def test_rows_that_changed_are_handed_out_only_where_something_newer_is_known():
    for newer in (False, True):
        listings = made(b"a", b"b", fresh=lambda _, newer=newer: newer)
        assert listings.whole(DIRECTORY) is not None
        listings.touched.note(1001)
        assert (listings.whole(DIRECTORY) is not None) == newer
        assert listings.get(DIRECTORY) is not None


def test_a_lost_feed_ends_all_listings():
    listings = made(b"a")
    listings.clear()
    assert listings.get(DIRECTORY) is None


def test_too_many_changes_end_a_listing():
    listings = Listings(Touched(remembered=5))
    listings.keep(DIRECTORY, {b"a": node(1000)}, 0)
    for number in range(10):
        listings.touched.note(number)
    assert listings.get(DIRECTORY) is None


def test_names_are_bounded_over_all_listings():
    listings = Listings(Touched(), most_names=100)
    for directory in range(400, 420):
        rows = {b"%d" % number: node(number) for number in range(20)}
        listings.keep(directory, rows, listings.touched.mark())

    kept = [directory for directory in range(400, 420) if listings.get(directory)]
    assert kept == [417, 418, 419]
    listings.keep(500, {b"%d" % number: node(number) for number in range(101)}, 0)
    assert listings.get(500) is None


def test_a_directory_is_listed_after_some_lookups_and_a_busy_one_after_more():
    listings = made(b"a")

    asked = [listings.worth_filling(DIRECTORY) for _ in range(LOOKUPS_BEFORE)]
    assert asked == [0] * (LOOKUPS_BEFORE - 1) + [NAMES_FOR_LOOKUP * LOOKUPS_BEFORE]

    listings.changed(DIRECTORY)  # it was listed, and somebody changed it
    asked = [listings.worth_filling(DIRECTORY) for _ in range(2 * LOOKUPS_BEFORE)]
    assert asked[:-1] == [0] * (2 * LOOKUPS_BEFORE - 1)
    assert asked[-1]


def test_a_directory_of_too_many_names_is_asked_for_less_and_less():
    listings = Listings(Touched())
    tries = []
    for count in range(1, 5000):
        limit = listings.worth_filling(DIRECTORY)
        if limit:
            tries.append((count, limit))
            listings.too_many(DIRECTORY, limit)

    assert [limit for _, limit in tries[:2]] == [NAMES_FOR_LOOKUP * LOOKUPS_BEFORE, 8000]
    assert all(limit <= FILL_NAMES for _, limit in tries)
    assert len(tries) <= 4
