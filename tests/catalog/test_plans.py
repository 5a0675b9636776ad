"""The present is not slowed by the past: which index SQLite takes for what is asked most."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from support.catalogs import Desk, open_desk

from rengafs.protocol.operations import Link, SetAttributes
from rengafs.protocol.records import Node


@pytest.mark.parametrize("reopened", [False, True])
def test_the_live_tree_is_read_through_the_index_of_the_living(
    tmp_path: Path, reopened: bool
) -> None:
    with open_desk(tmp_path) as desk:
        bucket = desk.bucket()
        for name in "abc":
            desk.file(bucket, name, name)
        if not reopened:
            assert_live_plans(desk, bucket.id)
    if reopened:
        with open_desk(tmp_path) as desk:
            assert_live_plans(desk, bucket.id)


def assert_live_plans(desk: Desk, directory: int) -> None:
    plans: list[str] = []

    def explain(_: Any, cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT") and "edges" in statement:
            own = cursor.connection.cursor()
            own.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in own.fetchall())

    engine = desk.catalog._database.engine
    event.listen(engine, "before_cursor_execute", explain)
    desk.catalog.entry(directory, "b")
    desk.catalog.entries(directory)
    desk.catalog.entries(directory, after="a")
    event.remove(engine, "before_cursor_execute", explain)

    of_edges = [plan for plan in plans if " edges " in plan]
    assert len(of_edges) == 4  # the cursor of the second page is looked up
    assert all("edges_live" in plan for plan in of_edges), of_edges


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[tuple[Desk, Callable[[], int]]]:
    """A desk, and how many instructions SQLite's machine has carried out for it, in hundreds."""
    steps = itertools.count()

    def watch(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.set_progress_handler(lambda: next(steps) * 0, 100)

    with open_desk(tmp_path) as desk:
        event.listen(desk.catalog._database.engine, "checkout", watch)
        yield desk, lambda: next(steps)


def save(desk: Desk, bucket: Node, number: int) -> None:
    desk.save(desk.catalog.entry(bucket.id, "f").node, f"save {number}")


def save_beside(desk: Desk, bucket: Node, number: int) -> None:
    temporary = desk.file(bucket, "f.tmp", f"save {number}")
    assert desk.rename(bucket, "f.tmp", "f").node
    assert temporary.id


def chmod(desk: Desk, bucket: Node, number: int) -> None:
    desk.do(SetAttributes(node=desk.catalog.entry(bucket.id, "f").node.id, mode=number % 0o1000))


def move(desk: Desk, bucket: Node, number: int) -> None:
    names = ("f", "g") if number % 2 else ("g", "f")
    desk.rename(bucket, *names)


def make_and_remove(desk: Desk, bucket: Node, number: int) -> None:
    desk.file(bucket, "lock", f"by {number}")
    desk.unlink(bucket, "lock")


def make_and_remove_directory(desk: Desk, bucket: Node, number: int) -> None:
    desk.directory(bucket, "build")
    desk.rmdir(bucket, "build")


def link(desk: Desk, bucket: Node, number: int) -> None:
    node = desk.catalog.entry(bucket.id, "f").node
    desk.do(Link(node=node.id, parent=bucket.id, name="l"))
    desk.unlink(bucket, "l")


@pytest.mark.parametrize(
    "work",
    [save, save_beside, chmod, move, make_and_remove, make_and_remove_directory, link],
)
def test_what_is_done_often_does_not_become_slower(
    counted: tuple[Desk, Callable[[], int]], work: Callable[[Desk, Node, int], None]
) -> None:
    desk, steps = counted
    bucket = desk.bucket()
    desk.file(bucket, "f", "first")

    def cost(first: int) -> int:
        before = steps()
        for number in range(first, first + 40):
            work(desk, bucket, number)
        return steps() - before

    early = cost(1)
    for number in range(41, 1501):
        work(desk, bucket, number)
    late = cost(1501)
    assert late < 2 * early + 40, (early, late)
