"""The table of inodes: numbers that stay, though nodes take each other's places."""

from collections.abc import Iterator
from itertools import count

import pytest

from rengafs.fs.names import inodes as module
from rengafs.fs.names.inodes import Inode, Inodes
from rengafs.protocol.records import ROOT, Kind, Node


def node(number: int) -> Node:
    times = dict.fromkeys(("mtime_ns", "ctime_ns", "atime_ns", "created_ns"), 1)
    return Node(id=number, kind=Kind.FILE, mode=0o644, size=0, links=1, **times)


@pytest.fixture
def table() -> Inodes:
    return Inodes(node(ROOT))


def replaced(table: Inodes, temporary: int, target: int) -> Inode:
    moved = table.add(node(temporary))
    table.replaced(moved, node(target))
    return moved


def test_a_file_keeps_its_number_when_the_kernel_has_forgotten_it(table: Inodes) -> None:
    moved = replaced(table, 101, 100)
    assert table.of_node(100) is moved
    table.forget(101, 1)
    assert table.find(101) is None
    assert table.number_of(100) == 101
    assert table.add(node(100)).number == 101


def test_a_temporary_that_comes_back_gets_a_number_of_its_own(table: Inodes) -> None:
    moved = replaced(table, 101, 100)
    back = table.add(node(101))
    assert back is not moved
    assert (moved.node.id, back.node.id) == (100, 101)
    assert table.number_of(101) == back.number != 101
    assert table.add(node(101)) is back
    assert table.of_node(101) is back


def test_a_file_that_goes_on_elsewhere_leaves_its_old_place(table: Inodes) -> None:
    moved = replaced(table, 101, 100)
    table.replaced(moved, node(200))
    assert table.number_of(200) == 101
    assert table.number_of(100) == 100
    table.replaced(moved, node(101))
    assert table.number_of(101) == 101
    assert table.number_of(200) == 200


def test_only_so_many_are_kept(table: Inodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_NUMBERS", 3)
    numbers: Iterator[int] = count(1000)
    pairs = [(next(numbers), next(numbers)) for _ in range(5)]
    for target, temporary in pairs:
        replaced(table, temporary, target)
    used_again = pairs[0]
    for _, temporary in pairs:
        table.forget(temporary, 1)
        table.add(node(used_again[0]))
    assert [table.number_of(target) == temporary for target, temporary in pairs] == [
        True,  # the kernel knows it
        False,
        True,
        True,
        True,
    ]
