"""`Pages`: pages of a listing are asked for before they are wanted, a bounded number, in order."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from rengafs.fs.names.directories import PAGES_AHEAD, Pages
from rengafs.protocol.errors import Unavailable
from rengafs.protocol.records import Entry, Kind, Node, Page

NAMES = [f"f{number:02}" for number in range(20)]


class Listing:
    """Answers pages of two names; tells at once where a page ends, and the rest when let."""

    def __init__(self, *, tells=True):
        self.asked = []
        self.tells = tells
        self.may_answer = trio.Event()
        self.may_answer.set()
        self.failing = set()

    async def page(self, directory, after, limit, *, at=None, going_on=None):
        self.asked.append(after)
        if after in self.failing:
            self.failing.remove(after)
            raise Unavailable("not now")
        names = [name for name in NAMES if name > after]
        following = names[1] if len(names) > 2 else ""
        if self.tells and going_on is not None:
            going_on(following)
        await self.may_answer.wait()
        entries = [
            Entry(name=name, node=Node(id=int(name[1:]) + 2, kind=Kind.FILE, mode=0))
            for name in names[:2]
        ]
        return Page(entries=entries, change=0, next=following)


@asynccontextmanager
async def pages_of(listing):
    async with trio.open_nursery() as nursery:
        pages = Pages(listing, 1, None, nursery)
        yield pages
        pages.forget()


async def read_all(pages):
    found, after = [], ""
    while True:
        page, _ = await pages.get(after, 0)
        found += [entry.name for entry in page.entries]
        after = page.next
        if not after:
            return found


@pytest.mark.parametrize("tells", [True, False])
async def test_all_pages_come_in_order_and_each_is_asked_for_once(tells):
    listing = Listing(tells=tells)
    async with pages_of(listing) as pages:
        assert await read_all(pages) == NAMES
    assert listing.asked == ["", *NAMES[1:-1:2]]


async def test_where_a_page_ends_is_enough_to_ask_for_the_next_but_for_no_more_than_allowed():
    listing = Listing()
    async with pages_of(listing) as pages:
        await pages.get("", 0)
        listing.may_answer = trio.Event()
        await trio.testing.wait_all_tasks_blocked()
        assert listing.asked == ["", *NAMES[1::2][:PAGES_AHEAD]]  # and none is here yet

        listing.may_answer.set()
        await pages.get(NAMES[1], 0)
        await trio.testing.wait_all_tasks_blocked()
        assert listing.asked == ["", *NAMES[1::2][: PAGES_AHEAD + 1]]


async def test_who_goes_elsewhere_or_hears_of_a_change_has_nothing_of_what_was_asked_for():
    listing = Listing()
    async with pages_of(listing) as pages:
        await pages.get("", 0)
        listing.may_answer = trio.Event()
        await trio.testing.wait_all_tasks_blocked()
        listing.asked.clear()
        pages.forget()
        await trio.testing.wait_all_tasks_blocked()
        listing.may_answer.set()

        page, _ = await pages.get("f09", 0)
        assert [entry.name for entry in page.entries] == ["f10", "f11"]
        await trio.testing.wait_all_tasks_blocked()
        assert listing.asked == ["f09", "f11", "f13"]


async def test_a_page_that_could_not_be_had_is_asked_for_again_by_who_wants_it():
    listing = Listing()
    listing.failing = {"f01", "f07"}
    async with pages_of(listing) as pages:
        assert await read_all(pages) == NAMES
    assert listing.asked.count("f01") == listing.asked.count("f07") == 2


async def test_a_change_while_a_page_is_awaited_makes_it_be_asked_for_again():
    listing = Listing()
    async with pages_of(listing) as pages:
        await pages.get("", 0)
        await trio.testing.wait_all_tasks_blocked()
        listing.may_answer = trio.Event()
        got = []

        async def get():
            await pages.get(NAMES[1], 0)
            got.append(await pages.get(NAMES[3], 7))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(get)
            await trio.testing.wait_all_tasks_blocked()
            pages.forget()
            listing.may_answer.set()
        ((page, _),) = got
        assert [entry.name for entry in page.entries] == NAMES[4:6]
