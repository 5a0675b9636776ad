"""Any operations, in any order: the tree, its past, its sums and its feed agree with a model."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.catalogs import Desk, open_desk
from support.postgresql import PostgreSQL

from rengafs.protocol.operations import (
    Link,
    MakeDirectory,
    MakeFile,
    RemoveDirectory,
    Rename,
    Unlink,
)
from rengafs.protocol.records import Kind

NAMES = st.sampled_from(["a", "b", "b~"])
CONTENTS = st.sampled_from(["", "x", "yy", "zzz"])

Tree = dict[str, tuple[str, int | str]]
"""Path to ("dir", id) or ("file", content)."""


class CatalogModel(RuleBasedStateMachine):
    """Directories are known by id; the model keeps (parent, name) to node, and contents."""

    @initialize()
    def begin(self) -> None:
        self._place = TemporaryDirectory()
        self._open = self._opened(Path(self._place.name))
        self.desk: Desk = self._open.__enter__()
        bucket = self.desk.bucket()
        self.bucket = bucket.id
        self.edges: dict[tuple[int, str], int] = {}
        self.directories = [bucket.id]
        self.contents: dict[int, str | None] = {}
        self.saves: dict[tuple[int, str], list[str]] = {}
        self.snapshots: dict[int, dict[tuple[int, str], tuple[int, int]]] = {}
        self.versions: dict[int, str] = {}

    def _opened(self, directory: Path) -> AbstractContextManager[Desk]:
        return open_desk(directory)

    def teardown(self) -> None:
        if hasattr(self, "_open"):
            self._open.__exit__(None, None, None)
            self._place.cleanup()

    # --- steps ------------------------------------------------------------------------

    @rule(data=st.data(), name=NAMES)
    def make_directory(self, data: st.DataObject, name: str) -> None:
        parent = data.draw(st.sampled_from(self.directories))
        outcome = self.desk.apply(MakeDirectory(parent=parent, name=name))[0]
        if (parent, name) in self.edges or not self._live(parent):
            assert outcome.problem is not None
            return
        assert outcome.node is not None
        self.edges[parent, name] = outcome.node.id
        self.directories.append(outcome.node.id)

    @rule(data=st.data(), name=NAMES)
    def make_file(self, data: st.DataObject, name: str) -> None:
        parent = data.draw(st.sampled_from(self.directories))
        outcome = self.desk.apply(MakeFile(parent=parent, name=name))[0]
        if (parent, name) in self.edges or not self._live(parent):
            assert outcome.problem is not None
            return
        assert outcome.node is not None
        self.edges[parent, name] = outcome.node.id
        self.contents[outcome.node.id] = None

    @precondition(lambda self: self.contents)
    @rule(data=st.data(), content=CONTENTS, handle=st.sampled_from(["", "h"]))
    def save(self, data: st.DataObject, content: str, handle: str) -> None:
        file = data.draw(st.sampled_from(sorted(self.contents)))
        outcome = self.desk.commit(file, content, handle=handle)
        assert outcome.version is not None
        assert (outcome.change == 0) == (self.contents[file] == content)
        self.contents[file] = content
        self.versions[outcome.version.id] = content

    @precondition(lambda self: self.edges)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        parent, name = data.draw(st.sampled_from(sorted(self.edges)))
        node = self.edges[parent, name]
        if node in self.contents:
            assert self.desk.apply(Unlink(parent=parent, name=name))[0].problem is None
            del self.edges[parent, name]
            return
        outcome = self.desk.apply(RemoveDirectory(parent=parent, name=name))[0]
        if any(above == node for above, _ in self.edges):
            assert outcome.problem is not None
            assert outcome.problem.code == "not_empty"
        else:
            assert outcome.problem is None
            del self.edges[parent, name]

    @precondition(lambda self: self.contents)
    @rule(data=st.data(), name=NAMES)
    def link(self, data: st.DataObject, name: str) -> None:
        parent = data.draw(st.sampled_from(self.directories))
        file = data.draw(st.sampled_from(sorted(self.contents)))
        outcome = self.desk.apply(Link(node=file, parent=parent, name=name))[0]
        dead = file not in self.edges.values() or not self._live(parent)
        if (parent, name) in self.edges or dead:
            assert outcome.problem is not None
        else:
            assert outcome.problem is None
            self.edges[parent, name] = file

    @precondition(lambda self: self.edges)
    @rule(
        data=st.data(),
        new_name=NAMES,
        how=st.sampled_from(["replace", "replace", "noreplace", "exchange"]),
    )
    def rename(self, data: st.DataObject, new_name: str, how: str) -> None:
        parent, name = data.draw(st.sampled_from(sorted(self.edges)))
        into = data.draw(st.sampled_from(self.directories))
        operation = Rename(
            parent=parent,
            name=name,
            new_parent=into,
            new_name=new_name,
            how=how,  # type: ignore[arg-type]
        )
        source, target = self.edges[parent, name], self.edges.get((into, new_name))
        before = dict(self.contents)
        outcome = self.desk.apply(operation)[0]
        if outcome.problem is not None:
            assert not self._renames(source, target, into, how) or how != "replace"
            return
        if source == target:
            return
        if how == "exchange":
            assert target is not None
            self.edges[parent, name], self.edges[into, new_name] = target, source
            return
        del self.edges[parent, name]
        assert outcome.node is not None
        self.edges[into, new_name] = outcome.node.id
        if outcome.node.id != source:  # the history rule: the target stays, with new content
            assert outcome.node.id == target
            old, new = before[outcome.node.id], before[source]
            changed = (old or "") != (new or "")
            self.contents[outcome.node.id] = (new or "") if changed else old
            if changed:
                assert outcome.version is not None
                self.versions[outcome.version.id] = new or ""

    def _renames(self, source: int, target: int | None, into: int, how: str) -> bool:
        """Whether a rename of kind ``replace`` has to succeed."""
        if not self._live(into) or (source not in self.contents and self._below(into, source)):
            return False
        if target is None or target == source:
            return True
        if (source in self.contents) != (target in self.contents):
            return False
        return target in self.contents or not any(above == target for above, _ in self.edges)

    def _live(self, directory: int) -> bool:
        return directory == self.bucket or directory in self.edges.values()

    def _below(self, directory: int, top: int) -> bool:
        while directory != self.bucket:
            if directory == top:
                return True
            directory = next(parent for (parent, _), n in self.edges.items() if n == directory)
        return False

    # --- what holds after each --------------------------------------------------------

    @invariant()
    def the_tree_is_the_models(self) -> None:
        if not hasattr(self, "desk"):
            return
        now = self._listed(None)
        assert {key: node for key, (node, _) in now.items()} == self.edges
        for node, size in now.values():
            if node in self.contents:
                assert size == len(self.contents[node] or "")
        self.snapshots[self.desk.catalog.last_change()] = now

    @invariant()
    def the_past_stays_as_it_was(self) -> None:
        if not hasattr(self, "desk"):
            return
        for change in list(self.snapshots)[-4:]:
            assert self._listed(change) == self.snapshots[change]

    @invariant()
    def the_sums_are_right(self) -> None:
        if not hasattr(self, "desk"):
            return
        usage = self.desk.catalog.usage()
        live = {node for node in self.edges.values() if node in self.contents}
        assert usage.files == len(live)
        assert usage.live_bytes == sum(len(self.contents[node] or "") for node in live)
        assert usage.history_bytes >= 0

    @invariant()
    def the_current_content_is_the_last_of_its_names_history(self) -> None:
        if not hasattr(self, "desk"):
            return
        for (parent, name), node in self.edges.items():
            content = self.contents.get(node)
            if content is None:
                continue
            current = self.desk.catalog.node(node).version
            listed = self.desk.catalog.history(parent, name).versions
            assert current in [version.id for version in listed]
            for version in listed:
                if version.id in self.versions:
                    assert len(self.versions[version.id]) == version.size

    @invariant()
    def the_feed_replays_to_the_tree(self) -> None:
        if not hasattr(self, "desk"):
            return
        tree: dict[tuple[int, str], int] = {}
        since = 0
        while changes := self.desk.catalog.changes_after(since):
            since = changes[-1].number
            for event in (event for change in changes for event in change.events):
                if event.what == "entered":
                    tree[event.parent, event.name] = event.node
                elif event.what == "left":
                    del tree[event.parent, event.name]
        tree.pop((1, "data"))
        assert tree == self.edges

    def _listed(self, at: int | None) -> dict[tuple[int, str], tuple[int, int]]:
        found: dict[tuple[int, str], tuple[int, int]] = {}
        waiting = [self.bucket]
        while waiting:
            directory = waiting.pop()
            for entry in self.desk.catalog.entries(directory, at=at).entries:
                found[directory, entry.name] = entry.node.id, entry.node.size
                if entry.node.kind is Kind.DIRECTORY:
                    waiting.append(entry.node.id)
        return found


CatalogModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestCatalog = CatalogModel.TestCase


def test_on_postgresql_it_is_the_same(postgresql: PostgreSQL) -> None:
    class OnPostgreSQL(CatalogModel):
        @contextmanager
        def _opened(self, directory: Path) -> Iterator[Desk]:
            with postgresql.catalog() as url, open_desk(directory, url) as desk:
                yield desk

    run_state_machine_as_test(
        OnPostgreSQL, settings=settings(max_examples=10, stateful_step_count=25, deadline=None)
    )
