"""Random work on a volume, and the same on a local directory: they must agree, always.

First on a volume without a kernel, then on mounts: one alphabet, one model.

And afterwards history must show every save: whatever was closed under a name is among the
saves of that name, in order. With a second mount of the same buckets, each step is made
through one of them, and the other must come to show the same.

A run ends after a fixed time. A failure is not reduced, which may take minutes, unless
RENGAFS_SHRINK is set; RENGAFS_EXAMPLES and RENGAFS_SECONDS ask for more.
"""

import errno
import itertools
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.services import running_service
from support.trees import OnDisk, Tree
from support.volumes import OnVolume, running_volume

COUNTER = itertools.count()
SECONDS = float(os.environ.get("RENGAFS_SECONDS", "35"))
FEED_SECONDS = 120
"""For a change to show on the other mount. It takes a fraction of a second, if nothing is wrong."""
NOREPLACE, EXCHANGE = 1, 2

# Few names, so that they collide: files and directories alike.
names = st.sampled_from(["a", "b", "d/a", "d/b", "d", "e", "d/e"])
data = st.binary(max_size=40) | st.sampled_from([b"x" * 5000, b"\0" * 3000])
sizes = st.integers(0, 6000)


def outcome(action: Callable[[], object]) -> object:
    """Return what *action* returns, or the name of the errno that it fails with."""
    try:
        return action()
    except OSError as error:
        return errno.errorcode[error.errno]


def save(tree: Tree, name: str, flags: int, *writes: tuple[bytes, int]) -> None:
    """Open a file, write, and close it; with a sync between two writes."""
    handle = tree.open(name, os.O_RDWR | flags)
    try:
        for number, (content, offset) in enumerate(writes):
            if number:
                tree.sync(handle)
            if content:
                tree.write(handle, content, offset)
    finally:
        tree.close(handle)


Place = Callable[[str], Tree]
"""Makes the bucket of a run, by its name, or finds it."""


class Work(RuleBasedStateMachine):
    places: tuple[Place, ...]
    until: float
    """Time after which no run does any work."""

    @initialize()
    def start(self) -> None:
        # hypothesis wants runs to draw alike: one that begins too late works here alone.
        self.is_over = time.monotonic() > self.until
        self.at = 0
        self.trees: list[Tree] = []
        if not self.is_over:
            bucket = f"bucket{next(COUNTER)}"
            self.trees = [place(bucket) for place in self.places]
        self.here = OnDisk(Path(tempfile.mkdtemp()))
        self.saved: dict[str, list[bytes]] = defaultdict(list)
        self.kept: dict[Tree, int] = {}
        """A file that is open during several steps: tree → handle."""
        self.kept_any = False

    def teardown(self) -> None:
        if hasattr(self, "here"):
            for tree, handle in self.kept.items():
                tree.close(handle)
            self.here_at_the_end = self.here.everything()
            shutil.rmtree(self.here.root)
            # With a file open for long, what counts as one save depends on when it is closed.
            if not self.kept_any and not self.is_over:
                self.check_history()

    @property
    def there(self) -> Tree:
        return self.trees[self.at]

    @precondition(lambda self: len(self.places) > 1)
    @rule()
    def go_to_the_other_mount(self):
        if self.is_over:
            return
        self.at = (self.at + 1) % len(self.places)
        expected = self.here.everything()
        waiting_since = time.monotonic()
        while self.shows() != expected and time.monotonic() - waiting_since < FEED_SECONDS:
            time.sleep(0.01)
        # That they agree now is the invariant.

    def shows(self) -> object:
        """Return what is there; or the errno, where it changes while one looks."""
        return outcome(self.there.everything)

    def both(self, action: Callable[[Tree], object]) -> object:
        expected = outcome(lambda: action(self.here))
        assert self.is_over or outcome(lambda: action(self.there)) == expected
        return expected

    def save(self, name: str, action: Callable[[Tree], object]) -> None:
        before = self.content(name)
        if not isinstance(self.both(action), str):
            after = self.content(name)
            # A new file that nothing was ever written to has nothing to show.
            if after is not None and after != (before or b""):
                self.saved[name].append(after)

    def content(self, name: str) -> bytes | None:
        path = self.here.root / name
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None

    @rule(name=names, content=data)
    def write(self, name, content):
        new = os.O_CREAT | os.O_TRUNC
        self.save(name, lambda tree: save(tree, name, new, (content, 0)))

    @rule(name=names, content=data)
    def append(self, name, content):
        at_the_end = os.O_CREAT | os.O_APPEND
        self.save(name, lambda tree: save(tree, name, at_the_end, (content, 0)))

    @rule(name=names, content=data)
    def write_what_is_not_there_yet(self, name, content):
        new = os.O_CREAT | os.O_EXCL
        self.save(name, lambda tree: save(tree, name, new, (content, 0)))

    @rule(name=names, content=data, offset=sizes)
    def overwrite(self, name, content, offset):
        self.save(name, lambda tree: save(tree, name, 0, (content, offset)))

    @rule(name=names, size=sizes)
    def truncate(self, name, size):
        self.save(name, lambda tree: tree.truncate(name, size))

    @rule(name=names, content=data, middle=data)
    def save_with_fsync_between(self, name, content, middle):
        new = os.O_CREAT | os.O_TRUNC
        writes = (middle, 0), (content, len(middle))
        self.save(name, lambda tree: save(tree, name, new, *writes))

    @rule(name=names, content=data)
    def save_by_temporary(self, name, content):
        def action(tree: Tree) -> None:
            temporary = name + ".tmp"
            save(tree, temporary, os.O_CREAT | os.O_TRUNC, (content, 0))
            try:
                tree.rename(temporary, name)
            except OSError:
                tree.unlink(temporary)
                raise

        self.save(name, action)

    @rule(name=names, content=data)
    def write_to_what_is_unlinked_while_open(self, name, content):
        def action(tree: Tree) -> bytes:
            handle = tree.open(name, os.O_RDWR)
            try:
                tree.unlink(name)
                tree.write(handle, content, 0)
                return tree.read(handle)
            finally:
                tree.close(handle)

        self.both(action)

    @precondition(lambda self: len(self.places) == 1 and not self.kept)
    @rule(name=names)
    def open_and_keep(self, name):
        def action(tree: Tree) -> None:
            self.kept[tree] = tree.open(name, os.O_RDWR | os.O_CREAT)

        self.both(action)
        self.kept_any = True

    @precondition(lambda self: self.kept)
    @rule(content=data, offset=sizes)
    def write_to_what_is_kept(self, content, offset):
        self.both(lambda tree: tree.write(self.kept[tree], content, offset))

    @precondition(lambda self: self.kept)
    @rule(size=sizes)
    def truncate_what_is_kept(self, size):
        self.both(lambda tree: tree.truncate_open(self.kept[tree], size))

    @precondition(lambda self: self.kept)
    @rule()
    def sync_what_is_kept(self):
        self.both(lambda tree: tree.sync(self.kept[tree]))

    @precondition(lambda self: self.kept)
    @rule(mode=st.sampled_from([0o600, 0o644]))
    def chmod_what_is_kept(self, mode):
        self.both(lambda tree: tree.chmod_open(self.kept[tree], mode))

    @precondition(lambda self: self.kept)
    @rule()
    def read_what_is_kept(self):
        self.both(lambda tree: (tree.read(self.kept[tree]), tree.status(self.kept[tree])))

    @precondition(lambda self: self.kept)
    @rule()
    def close_what_is_kept(self):
        self.both(lambda tree: tree.close(self.kept.pop(tree)))

    @rule(name=names, mode=st.sampled_from([0o600, 0o644, 0o755]))
    def chmod(self, name, mode):
        self.both(lambda tree: tree.chmod(name, mode))

    @rule(name=names, seconds=st.integers(0, 2**31))
    def utime(self, name, seconds):
        self.both(lambda tree: tree.set_time(name, seconds))

    @rule(name=names)
    def unlink(self, name):
        self.both(lambda tree: tree.unlink(name))

    @rule(name=names)
    def mkdir(self, name):
        self.both(lambda tree: tree.mkdir(name))

    @rule(name=names)
    def rmdir(self, name):
        self.both(lambda tree: tree.rmdir(name))

    @rule(old=names, new=names)
    def rename(self, old, new):
        replaces = self.content(new) is not None and old != new
        moved = self.content(old)
        self.save(new, lambda tree: tree.rename(old, new))
        if replaces and self.content(old) is None and moved in self.saved[old]:
            # It went on as the newest save of *new*; as a temporary, it leaves nothing.
            self.saved[old].remove(moved)

    @rule(old=names, new=names)
    def rename_unless_it_is_there(self, old, new):
        self.save(new, lambda tree: tree.rename(old, new, NOREPLACE))

    @rule(one=names, other=names)
    def exchange(self, one, other):
        self.both(lambda tree: tree.rename(one, other, EXCHANGE))

    @rule(old=names, new=names)
    def link(self, old, new):
        self.both(lambda tree: tree.link(old, new))

    @rule(name=names, points_to=names)
    def symlink(self, name, points_to):
        self.both(lambda tree: tree.symlink(points_to, name))

    @precondition(lambda self: hasattr(self, "here"))
    @invariant()
    def they_agree(self):
        assert self.is_over or self.there.everything() == self.here.everything()

    def check_history(self) -> None:
        """Every save of a name is shown under it."""
        shown = self.here_at_the_end
        for name, contents in self.saved.items():
            parent = str(Path(name).parent)
            if not contents or shown.get(parent, "directory") != "directory":
                continue
            if parent != "." and parent not in shown:
                continue
            saves = self.there.saves(name)
            for content in contents:
                assert content in saves, f"{name}: {content[:20]!r} was saved and is not shown"


def on_mount(mount: Path) -> Place:
    """Work in buckets of a mount."""

    def place(bucket: str) -> Tree:
        (mount / bucket).mkdir(exist_ok=True)
        return OnDisk(mount / bucket)

    return place


def work_on(*mounts: Path, seconds: float = SECONDS) -> None:
    """Do random work on *mounts* for a limited time."""
    work_in(*(on_mount(mount) for mount in mounts), seconds=seconds)


def work_in(*places: Place, seconds: float = SECONDS) -> None:
    """Do random work in *places* for a limited time."""

    class InThesePlaces(Work):
        pass

    InThesePlaces.places = places
    InThesePlaces.until = time.monotonic() + seconds
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    if "RENGAFS_SHRINK" in os.environ:
        phases.append(Phase.shrink)
    InThesePlaces.TestCase.settings = settings(
        max_examples=int(os.environ.get("RENGAFS_EXAMPLES", "30")),
        stateful_step_count=25,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    InThesePlaces.TestCase("runTest").runTest()


@pytest.mark.timeout(SECONDS + 240)
def test_a_volume_without_a_kernel_behaves_as_a_local_directory(tmp_path):
    with (
        running_service() as service,
        running_volume(service.endpoint, tmp_path) as call,
    ):
        work_in(lambda bucket: OnVolume(call, bucket), seconds=SECONDS / 2)


@pytest.mark.timeout(SECONDS + 240)
def test_the_mount_behaves_as_a_local_directory(mount):
    work_on(mount)


@pytest.mark.timeout(SECONDS + 240)
def test_two_mounts_of_the_same_buckets_show_the_same(mount, shared_home):
    with shared_home.mounted("second") as second:
        work_on(mount, second)


@pytest.mark.timeout(SECONDS + 240)
def test_two_mounts_that_write_back_behave_as_one_local_directory(home):
    with home.mounted("one", "--write-back") as one, home.mounted("two", "--write-back") as two:
        work_on(one, seconds=SECONDS / 3)
        work_on(one, two, seconds=SECONDS / 3)
