"""Whatever two clients do: as of every change, the tree is the one that a model remembers."""

import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.catalogs import Desk, open_desk

from rengafs.protocol.errors import RengafsError
from rengafs.protocol.operations import (
    MakeDirectory,
    MakeFile,
    Operation,
    Outcome,
    RemoveDirectory,
    Rename,
    Restore,
    Unlink,
)
from rengafs.protocol.records import Kind, Node

# Few names, so that files and directories collide.
PATHS = st.sampled_from(["a", "b", "c", "a/a", "a/b", "b/a", "b/a/c"])
CONTENTS = st.sampled_from(["", "x", "yy", "zzz"])
CLIENTS = st.sampled_from(["one", "other"])

Tree = dict[str, str | None]
"""Path to sha256; None for a directory."""


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def below(tree: Tree, path: str) -> Tree:
    """Return what is at and below *path*."""
    return {key: what for key, what in tree.items() if f"{key}/".startswith(f"{path}/")}


class TwoClients(RuleBasedStateMachine):
    """The model is a plain dict of paths; the catalog says only whether it did what it was told."""

    @initialize()
    def begin(self) -> None:
        self._place = TemporaryDirectory()
        self._open = open_desk(Path(self._place.name))
        self.desk: Desk = self._open.__enter__()
        self.bucket = self.desk.bucket()
        self.tree: Tree = {}
        self.bases: dict[tuple[str, int], int | None] = {}
        self.remembered: dict[int, Tree] = {self.desk.catalog.last_change(): {}}

    def teardown(self) -> None:
        if not hasattr(self, "_open"):
            return
        try:
            for change, tree in self.remembered.items():
                assert self._as_of(change) == tree, f"as of change {change}"
        finally:
            self._open.__exit__(None, None, None)
            self._place.cleanup()

    @rule(path=PATHS, client=CLIENTS)
    def make_directory(self, path: str, client: str) -> None:
        parent, name = self._parent(path)
        if parent and self._done(client, MakeDirectory(parent=parent.id, name=name)):
            self.tree[path] = None
        self._remember()

    @rule(path=PATHS, client=CLIENTS, content=CONTENTS)
    def save(self, path: str, client: str, content: str) -> None:
        """Each client edits what it saw last, so the two conflict now and then."""
        parent, name = self._parent(path)
        if parent is None:
            return
        made = self._done(client, MakeFile(parent=parent.id, name=name, exclusive=False))
        if made is None or made.node is None:
            return
        self.tree.setdefault(path, sha256(""))
        self._remember()
        base = self.bases.get((client, made.node.id))
        self._as(client)
        version = self.desk.save(made.node, content, base=base)
        self.bases[client, made.node.id] = version.id
        self.tree[path] = sha256(content)
        self._remember()

    @rule(path=PATHS, client=CLIENTS)
    def unlink(self, path: str, client: str) -> None:
        parent, name = self._parent(path)
        if parent and self._done(client, Unlink(parent=parent.id, name=name)):
            del self.tree[path]
        self._remember()

    @rule(path=PATHS, client=CLIENTS)
    def remove_directory(self, path: str, client: str) -> None:
        parent, name = self._parent(path)
        if parent and self._done(client, RemoveDirectory(parent=parent.id, name=name)):
            del self.tree[path]
        self._remember()

    @rule(path=PATHS, new_path=PATHS, client=CLIENTS)
    def rename(self, path: str, new_path: str, client: str) -> None:
        (parent, name), (new_parent, new_name) = self._parent(path), self._parent(new_path)
        if parent is None or new_parent is None:
            return
        operation = Rename(parent=parent.id, name=name, new_parent=new_parent.id, new_name=new_name)
        if self._done(client, operation) and path != new_path:
            moved = below(self.tree, path)
            for key in [*moved, *below(self.tree, new_path)]:
                self.tree.pop(key, None)
            self.tree |= {new_path + key[len(path) :]: what for key, what in moved.items()}
        self._remember()

    @rule(path=PATHS, client=CLIENTS, data=st.data())
    def restore(self, path: str, client: str, data: st.DataObject) -> None:
        change = data.draw(st.sampled_from(sorted(self.remembered)))
        if self._done(client, Restore(path=f"data/{path}", at=change)):
            then = self.remembered[change]
            parts = path.split("/")
            for depth in range(1, len(parts)):
                self.tree["/".join(parts[:depth])] = None
            self.tree |= below(then, path)
        self._remember()

    @rule(path=PATHS, client=CLIENTS)
    def undelete(self, path: str, client: str) -> None:
        try:
            change = self.desk.catalog.last_there(f"data/{path}").change
        except RengafsError:
            return
        if change in self.remembered and self._done(
            client, Restore(path=f"data/{path}", at=change)
        ):
            then = self.remembered[change]
            parts = path.split("/")
            for depth in range(1, len(parts)):
                self.tree["/".join(parts[:depth])] = None
            self.tree |= below(then, path)
        self._remember()

    @invariant()
    def the_present_is_as_the_model_says(self) -> None:
        if hasattr(self, "desk"):
            assert self._as_of(None) == self.tree

    def _remember(self) -> None:
        self.remembered[self.desk.catalog.last_change()] = dict(self.tree)

    def _as(self, client: str) -> None:
        self.desk.actor = replace(self.desk.actor, client=client)

    def _done(self, client: str, operation: Operation) -> Outcome | None:
        self._as(client)
        try:
            return self.desk.do(operation)
        except RengafsError:
            return None

    def _parent(self, path: str) -> tuple[Node | None, str]:
        directory, _, name = path.rpartition("/")
        try:
            return self.desk.catalog.path(f"data/{directory}").node, name
        except RengafsError:
            return None, name

    def _as_of(self, change: int | None) -> Tree:
        found: Tree = {}
        self._walk(self.bucket.id, "", change, found)
        return found

    def _walk(self, directory: int, path: str, change: int | None, found: Tree) -> None:
        for entry in self.desk.catalog.entries(directory, at=change).entries:
            child = f"{path}{entry.name}"
            if entry.node.kind is Kind.FILE:
                found[child] = entry.node.sha256 or sha256("")
            else:
                found[child] = None
                self._walk(entry.node.id, f"{child}/", change, found)


TestTwoClients = TwoClients.TestCase
TestTwoClients.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
