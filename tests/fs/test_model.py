"""Random work on the mount, and the same on a local directory: they must agree, always.

And afterwards history must show every save: whatever was closed under a name is among the
saves of that name, in order. With a second mount of the same buckets, each step is made
through one of them, and the other must come to show the same.

A run ends after a fixed time. A failure is not reduced, which may take minutes, unless
RENGAFS_SHRINK is set; RENGAFS_EXAMPLES and RENGAFS_SECONDS ask for more.
"""

import ctypes
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

COUNTER = itertools.count()
SECONDS = float(os.environ.get("RENGAFS_SECONDS", "35"))
FEED_SECONDS = 20
"""For a change to show on the other mount. It takes a fraction of a second, if nothing is wrong."""
NOREPLACE, EXCHANGE = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)

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


def tree(root: Path) -> dict[str, object]:
    """Return everything that is to be seen below *root*."""
    found: dict[str, object] = {}
    for directory, subdirectories, files in os.walk(root):
        relative = Path(directory).relative_to(root)
        for name in subdirectories:
            found[str(relative / name)] = "directory"
        for name in files:
            path = Path(directory) / name
            if path.is_symlink():
                found[str(relative / name)] = os.readlink(path)
            else:
                status = path.stat()
                found[str(relative / name)] = (
                    path.read_bytes(),
                    status.st_size,
                    status.st_mode,
                    status.st_nlink,
                )
    return found


def rename_with(old: Path, new: Path, flags: int) -> None:
    """Call renameat2(2)."""
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Work(RuleBasedStateMachine):
    mounts: tuple[Path, ...]
    until: float
    """Time after which no run does any work."""

    @initialize()
    def start(self) -> None:
        # hypothesis wants runs to draw alike: one that begins too late goes through the motions.
        self.is_over = time.monotonic() > self.until
        self.bucket = f"bucket{next(COUNTER)}"
        self.at = 0
        if not self.is_over:
            self.there.mkdir()
        self.here = Path(tempfile.mkdtemp())
        self.saved: dict[str, list[bytes]] = defaultdict(list)
        self.kept: dict[Path, int] = {}
        """A file that is open during several steps: root → descriptor."""
        self.kept_any = False

    def teardown(self) -> None:
        if hasattr(self, "here"):
            for descriptor in self.kept.values():
                os.close(descriptor)
            shutil.rmtree(self.here)
            # With a file open for long, what counts as one save depends on when it is closed.
            if not self.kept_any:
                self.check_history()

    @property
    def there(self) -> Path:
        return self.mounts[self.at] / self.bucket

    @precondition(lambda self: len(self.mounts) > 1)
    @rule()
    def go_to_the_other_mount(self):
        if self.is_over:
            return
        self.at = (self.at + 1) % len(self.mounts)
        expected = tree(self.here)
        waiting_since = time.monotonic()
        while self.shows() != expected and time.monotonic() - waiting_since < FEED_SECONDS:
            time.sleep(0.01)
        # That they agree now is the invariant.

    def shows(self) -> object:
        """Return what is there; or the errno, where it changes while one looks."""
        return outcome(lambda: tree(self.there))

    def both(self, action: Callable[[Path], object]) -> object:
        if self.is_over:
            return "over"
        expected = outcome(lambda: action(self.here))
        assert outcome(lambda: action(self.there)) == expected
        return expected

    def save(self, name: str, action: Callable[[Path], object]) -> None:
        before = self.content(name)
        if not isinstance(self.both(action), str):
            after = self.content(name)
            # A new file that nothing was ever written to has nothing to show.
            if after is not None and after != (before or b""):
                self.saved[name].append(after)

    def content(self, name: str) -> bytes | None:
        path = self.here / name
        return path.read_bytes() if path.is_file() and not path.is_symlink() else None

    @rule(name=names, content=data)
    def write(self, name, content):
        def action(root: Path) -> None:
            (root / name).write_bytes(content)

        self.save(name, action)

    @rule(name=names, content=data)
    def append(self, name, content):
        def action(root: Path) -> None:
            with (root / name).open("ab") as out:
                out.write(content)

        self.save(name, action)

    @rule(name=names, content=data, offset=sizes)
    def overwrite(self, name, content, offset):
        def action(root: Path) -> None:
            with (root / name).open("r+b") as out:
                out.seek(offset)
                out.write(content)

        self.save(name, action)

    @rule(name=names, size=sizes)
    def truncate(self, name, size):
        self.save(name, lambda root: os.truncate(root / name, size))

    @rule(name=names, content=data, middle=data)
    def save_with_fsync_between(self, name, content, middle):
        def action(root: Path) -> None:
            with (root / name).open("wb") as out:
                out.write(middle)
                out.flush()
                os.fsync(out.fileno())
                out.write(content)

        self.save(name, action)

    @rule(name=names, content=data)
    def save_by_temporary(self, name, content):
        def action(root: Path) -> None:
            temporary = root / (name + ".tmp")
            temporary.write_bytes(content)
            try:
                temporary.rename(root / name)
            except OSError:
                temporary.unlink()
                raise

        self.save(name, action)

    @rule(name=names, content=data)
    def write_to_what_is_unlinked_while_open(self, name, content):
        def action(root: Path) -> bytes:
            with (root / name).open("r+b") as both:
                (root / name).unlink()
                both.write(content)
                both.seek(0)
                return both.read()

        self.both(action)

    @precondition(lambda self: len(self.mounts) == 1 and not self.kept)
    @rule(name=names)
    def open_and_keep(self, name):
        def action(root: Path) -> None:
            self.kept[root] = os.open(root / name, os.O_RDWR | os.O_CREAT, 0o644)

        self.both(action)
        self.kept_any = True

    @precondition(lambda self: self.kept)
    @rule(content=data, offset=sizes)
    def write_to_what_is_kept(self, content, offset):
        self.both(lambda root: os.pwrite(self.kept[root], content, offset))

    @precondition(lambda self: self.kept)
    @rule(size=sizes)
    def truncate_what_is_kept(self, size):
        self.both(lambda root: os.ftruncate(self.kept[root], size))

    @precondition(lambda self: self.kept)
    @rule()
    def sync_what_is_kept(self):
        self.both(lambda root: os.fsync(self.kept[root]))

    @precondition(lambda self: self.kept)
    @rule(mode=st.sampled_from([0o600, 0o644]))
    def chmod_what_is_kept(self, mode):
        self.both(lambda root: os.fchmod(self.kept[root], mode))

    @precondition(lambda self: self.kept)
    @rule()
    def read_what_is_kept(self):
        def action(root: Path) -> object:
            status = os.fstat(self.kept[root])
            content = os.pread(self.kept[root], 20_000, 0)
            return content, status.st_size, status.st_mode, status.st_nlink

        self.both(action)

    @precondition(lambda self: self.kept)
    @rule()
    def close_what_is_kept(self):
        self.both(lambda root: os.close(self.kept.pop(root)))

    @rule(name=names, mode=st.sampled_from([0o600, 0o644, 0o755]))
    def chmod(self, name, mode):
        self.both(lambda root: (root / name).chmod(mode))

    @rule(name=names, seconds=st.integers(0, 2**31))
    def utime(self, name, seconds):
        def action(root: Path) -> float:
            os.utime(root / name, (seconds, seconds))
            return (root / name).stat().st_mtime

        self.both(action)

    @rule(name=names)
    def unlink(self, name):
        self.both(lambda root: (root / name).unlink())

    @rule(name=names)
    def mkdir(self, name):
        self.both(lambda root: (root / name).mkdir())

    @rule(name=names)
    def rmdir(self, name):
        self.both(lambda root: (root / name).rmdir())

    @rule(old=names, new=names)
    def rename(self, old, new):
        def action(root: Path) -> None:
            os.rename(root / old, root / new)

        replaces = self.content(new) is not None and old != new
        moved = self.content(old)
        self.save(new, action)
        if replaces and self.content(old) is None and moved in self.saved[old]:
            # It went on as the newest save of *new*; as a temporary, it leaves nothing.
            self.saved[old].remove(moved)

    @rule(old=names, new=names)
    def rename_unless_it_is_there(self, old, new):
        self.save(new, lambda root: rename_with(root / old, root / new, NOREPLACE))

    @rule(one=names, other=names)
    def exchange(self, one, other):
        self.both(lambda root: rename_with(root / one, root / other, EXCHANGE))

    @rule(old=names, new=names)
    def link(self, old, new):
        self.both(lambda root: os.link(root / old, root / new))

    @rule(name=names, points_to=names)
    def symlink(self, name, points_to):
        self.both(lambda root: os.symlink(points_to, root / name))

    @precondition(lambda self: hasattr(self, "here"))
    @invariant()
    def they_agree(self):
        assert self.is_over or tree(self.there) == tree(self.here)

    def check_history(self) -> None:
        """Every save of a name is shown under it."""
        for name, contents in self.saved.items():
            parent = (self.there / name).parent
            if not contents or not parent.is_dir() or parent.is_symlink():
                continue
            history = parent / ".versions" / Path(name).name
            shown = [save.read_bytes() for save in sorted(history.iterdir())]
            for content in contents:
                assert content in shown, f"{name}: {content[:20]!r} was saved and is not shown"


def work_on(*mounts: Path) -> None:
    """Do random work on *mounts* for a limited time."""

    class OnTheseMounts(Work):
        pass

    OnTheseMounts.mounts = mounts
    OnTheseMounts.until = time.monotonic() + SECONDS
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    if "RENGAFS_SHRINK" in os.environ:
        phases.append(Phase.shrink)
    OnTheseMounts.TestCase.settings = settings(
        max_examples=int(os.environ.get("RENGAFS_EXAMPLES", "30")),
        stateful_step_count=25,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    OnTheseMounts.TestCase("runTest").runTest()


@pytest.mark.timeout(SECONDS + 240)
def test_the_mount_behaves_as_a_local_directory(mount):
    work_on(mount)


@pytest.mark.timeout(SECONDS + 240)
def test_two_mounts_of_the_same_buckets_show_the_same(mount, shared_home):
    with shared_home.mounted("second") as second:
        work_on(mount, second)
