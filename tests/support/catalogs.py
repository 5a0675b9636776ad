"""A catalog, spoken to in one line a step: for tests of its rules."""

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rengafs.catalog.applying import Staged
from rengafs.catalog.catalog import Catalog, open_catalog
from rengafs.catalog.values import Actor, Blob
from rengafs.protocol.errors import from_problem
from rengafs.protocol.operations import (
    Commit,
    MakeBucket,
    MakeDirectory,
    MakeFile,
    Operation,
    Outcome,
    RemoveDirectory,
    Rename,
    Unlink,
)
from rengafs.protocol.records import Node, Version


class Clock:
    """A clock that goes on by a millisecond each time it is asked."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


class Desk:
    """A catalog, and short words for what tests do with it."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self.catalog = catalog
        self.clock = clock
        self.actor = Actor(1, "ada", everywhere=True)
        self._keys = itertools.count()
        self.contents: dict[str, str] = {}
        """Content by its sha256, to read histories by."""

    def apply(self, *operations: Operation | Staged, atomic: bool = False) -> list[Outcome]:
        staged = [item if isinstance(item, Staged) else Staged(item) for item in operations]
        return self.catalog.apply(self.actor, staged, atomic=atomic).outcomes

    def do(self, operation: Operation | Staged) -> Outcome:
        """Carry out one operation; raise its error."""
        outcome = self.apply(operation)[0]
        if outcome.problem is not None:
            raise from_problem(outcome.problem)
        return outcome

    def made(self, operation: Operation | Staged) -> Node:
        outcome = self.do(operation)
        assert outcome.node is not None
        return outcome.node

    def bucket(self, name: str = "data") -> Node:
        return self.made(MakeBucket(name=name))

    def directory(self, parent: Node, name: str) -> Node:
        return self.made(MakeDirectory(parent=parent.id, name=name))

    def file(self, parent: Node, name: str, *saves: str) -> Node:
        node = self.made(MakeFile(parent=parent.id, name=name))
        for content in saves:
            self.save(node, content)
        return node

    def save(self, node: Node | int, content: str, **options: object) -> Version:
        outcome = self.commit(node, content, **options)
        assert outcome.version is not None
        return outcome.version

    def commit(self, node: Node | int, content: str, **options: object) -> Outcome:
        return self.do(self.staged(node, content, **options))

    def staged(self, node: Node | int, content: str, **options: object) -> Staged:
        data = content.encode()
        sha256 = hashlib.sha256(data).hexdigest()
        self.contents[sha256] = content
        number = node if isinstance(node, int) else node.id
        commit = Commit(node=number, length=len(data), **options)  # type: ignore[arg-type]
        key = f"key{next(self._keys)}"
        return Staged(commit, Blob("local", key, len(data), sha256) if data else None)

    def rename(self, parent: Node, name: str, new_name: str, **options: object) -> Outcome:
        return self.do(
            Rename(
                parent=parent.id,
                name=name,
                new_parent=options.pop("into", parent).id,  # type: ignore[attr-defined]
                new_name=new_name,
                **options,  # type: ignore[arg-type]
            )
        )

    def unlink(self, parent: Node, name: str) -> Outcome:
        return self.do(Unlink(parent=parent.id, name=name))

    def rmdir(self, parent: Node | int, name: str) -> Outcome:
        number = parent if isinstance(parent, int) else parent.id
        return self.do(RemoveDirectory(parent=number, name=name))

    def names(self, directory: Node | int, at: int | None = None) -> list[str]:
        number = directory if isinstance(directory, int) else directory.id
        return [entry.name for entry in self.catalog.entries(number, at=at).entries]

    def history(self, directory: Node, name: str) -> list[str]:
        """Return the contents of the saves under a name, oldest first."""
        versions = self.catalog.history(directory.id, name).versions
        return [self.contents.get(version.sha256, "") for version in versions]

    def past(self, directory: Node) -> list[str]:
        return [past.name for past in self.catalog.past_names(directory.id).names]


@contextmanager
def open_desk(directory: Path, url: str = "", **options: object) -> Iterator[Desk]:
    """Give a desk with an empty catalog of its own: in *directory*, unless *url* says where."""
    clock = Clock()
    url = url or f"sqlite:///{directory / 'catalog.sqlite'}"
    catalog = open_catalog(url, clock_ns=clock, **options)  # type: ignore[arg-type]
    try:
        yield Desk(catalog, clock)
    finally:
        catalog.close()
