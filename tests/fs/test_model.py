"""Random work on the mount, and the same on a local directory: they must agree, always.

And afterwards history must show every save: whatever was closed under a name is among the
saves of that name, in order.
"""

import errno
import itertools
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

COUNTER = itertools.count()

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


class Work(RuleBasedStateMachine):
    mount: Path

    @initialize()
    def start(self) -> None:
        self.there = self.mount / f"bucket{next(COUNTER)}"
        self.there.mkdir()
        self.here = Path(tempfile.mkdtemp())
        self.saved: dict[str, list[bytes]] = defaultdict(list)

    def teardown(self) -> None:
        if hasattr(self, "here"):
            shutil.rmtree(self.here)
            self.check_history()

    def both(self, action: Callable[[Path], object]) -> object:
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
    def link(self, old, new):
        self.both(lambda root: os.link(root / old, root / new))

    @rule(name=names, points_to=names)
    def symlink(self, name, points_to):
        self.both(lambda root: os.symlink(points_to, root / name))

    @precondition(lambda self: hasattr(self, "here"))
    @invariant()
    def they_agree(self):
        assert tree(self.there) == tree(self.here)

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


@pytest.mark.timeout(280)
def test_the_mount_behaves_as_a_local_directory(mount):
    class OnThisMount(Work):
        pass

    OnThisMount.mount = mount
    OnThisMount.TestCase.settings = settings(
        max_examples=int(os.environ.get("RENGAFS_EXAMPLES", "30")),
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    OnThisMount.TestCase("runTest").runTest()
