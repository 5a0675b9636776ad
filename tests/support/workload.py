"""What a tool does to files, the same for a seed: on a disk, and in memory beside it.

``python -m support.workload DIRECTORY NOTES SEED`` works until it is killed. To NOTES it adds
one byte for each call that was acknowledged: what is safe from then on. So whoever knows the
seed and the length of NOTES knows what must be there, and what alone may be there besides.
"""

import itertools
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PAGE = 4096
"""The kernel cuts long writes into requests at such offsets."""
TOKENS = (1, 20, 3000, 3000, 20_000, 200_000)
"""Lengths of what is written, in words of some bytes; the last is sent as a stream."""
LONG_PIECES = 18
"""Of 1 MiB each: a file that is sent while it is written."""


class Action(NamedTuple):
    """A system call; what it does not need is empty."""

    call: str
    name: str
    handle: int = 0
    other: str = ""
    """The new name of a rename."""
    at: int = 0
    """An offset, or a length."""
    data: bytes = b""
    flags: int = 0

    @property
    def is_acknowledged(self) -> bool:
        """Whether what was done until it is safe once it has returned."""
        return self.call in ("close", "fsync", "truncate", "rename", "unlink")


# --- what is done -------------------------------------------------------------------------


class _Tool:
    """Draws what to do next; knows lengths only."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._seed = seed
        self._sizes: dict[str, int] = {}
        self._handles = itertools.count(1)
        self._words = itertools.count(1)
        self._names = itertools.count(1)

    def actions(self) -> Iterator[Action]:
        kinds = [
            (self._save, 8),
            (self._append, 3),
            (self._overwrite, 4),
            (self._leave_hole, 2),
            (self._truncate, 2),
            (self._save_with_fsync, 2),
            (self._save_with_two_handles, 2),
            (self._save_by_temporary, 3),
            (self._make_and_rename, 2),
            (self._make_and_unlink, 1),
            (self._unlink, 1),
            (self._save_long, 0.3),
        ]
        doings, weights = zip(*kinds, strict=True)
        while True:
            (doing,) = self._dice.choices(doings, weights)
            yield from doing()

    def _data(self, most: int = TOKENS[-1]) -> bytes:
        word = b"%d.%d|" % (self._seed, next(self._words))
        return word * self._dice.choice([count for count in TOKENS if count <= most])

    def _existing(self) -> str:
        """Return a name that stays; it may have to be made."""
        return f"f{self._dice.randrange(8)}"

    def _write(self, name: str, handle: int, at: int, data: bytes) -> Iterator[Action]:
        yield Action("write", name, handle, at=at, data=data)
        self._sizes[name] = max(self._sizes[name], at + len(data))

    def _pieces(self, name: str, handle: int, at: int) -> Iterator[Action]:
        for _ in range(self._dice.choice([1, 1, 3])):
            data = self._data()
            yield from self._write(name, handle, at, data)
            at += len(data)

    def _open(self, name: str, flags: int) -> tuple[int, Action]:
        if flags & os.O_TRUNC or name not in self._sizes:
            self._sizes[name] = 0
        handle = next(self._handles)
        return handle, Action("open", name, handle, flags=flags | os.O_CREAT)

    def _save(self, name: str = "", flags: int = os.O_WRONLY | os.O_TRUNC) -> Iterator[Action]:
        name = name or self._existing()
        handle, opening = self._open(name, flags)
        yield opening
        yield from self._pieces(name, handle, 0)
        yield Action("close", name, handle)

    def _append(self) -> Iterator[Action]:
        name = self._existing()
        handle, opening = self._open(name, os.O_WRONLY | os.O_APPEND)
        yield opening
        yield from self._pieces(name, handle, self._sizes[name])
        yield Action("close", name, handle)

    def _overwrite(self) -> Iterator[Action]:
        name = self._existing()
        handle, opening = self._open(name, os.O_RDWR)
        yield opening
        for _ in range(2):
            at = self._dice.randint(0, self._sizes[name])
            yield from self._write(name, handle, at, self._data())
        yield Action("close", name, handle)

    def _leave_hole(self) -> Iterator[Action]:
        name = self._existing()
        handle, opening = self._open(name, os.O_RDWR)
        yield opening
        at = self._sizes[name] + self._dice.choice([1, 5000, 300_000])
        yield from self._write(name, handle, at, self._data(3000))
        yield Action("close", name, handle)

    def _truncate(self) -> Iterator[Action]:
        name = self._existing()
        if name not in self._sizes:
            return
        size = self._sizes[name]
        length = self._dice.choice([size // 2, size + 1, size + 70_000])
        if self._dice.random() < 0.5:
            yield Action("truncate", name, at=length)
        else:
            handle, opening = self._open(name, os.O_RDWR)
            yield opening
            yield Action("ftruncate", name, handle, at=length)
            yield Action("close", name, handle)
        self._sizes[name] = length

    def _save_with_fsync(self) -> Iterator[Action]:
        name = self._existing()
        handle, opening = self._open(name, os.O_WRONLY | os.O_TRUNC)
        yield opening
        yield from self._pieces(name, handle, 0)
        yield Action("fsync", name, handle)
        yield from self._pieces(name, handle, self._sizes[name])
        yield Action("close", name, handle)

    def _save_with_two_handles(self) -> Iterator[Action]:
        name = self._existing()
        one, opening = self._open(name, os.O_RDWR)
        yield opening
        other, opening = self._open(name, os.O_RDWR)
        yield opening
        yield from self._write(name, one, 0, self._data(3000))
        yield from self._write(name, other, self._sizes[name], self._data(3000))
        yield Action("close", name, one)
        yield from self._write(name, other, self._sizes[name], self._data(3000))
        yield Action("close", name, other)

    def _save_by_temporary(self) -> Iterator[Action]:
        name, temporary = self._existing(), f"t{next(self._names)}"
        yield from self._save(temporary, os.O_WRONLY | os.O_EXCL)
        yield Action("rename", temporary, other=name)
        self._sizes[name] = self._sizes.pop(temporary)

    def _make_and_rename(self) -> Iterator[Action]:
        number = next(self._names)
        yield from self._save(f"m{number}")
        yield Action("rename", f"m{number}", other=f"r{number}")

    def _make_and_unlink(self) -> Iterator[Action]:
        name = f"u{next(self._names)}"
        yield from self._save(name)
        yield Action("unlink", name)

    def _unlink(self) -> Iterator[Action]:
        name = self._existing()
        if name in self._sizes:
            del self._sizes[name]
            yield Action("unlink", name)

    def _save_long(self) -> Iterator[Action]:
        name = "long"
        handle, opening = self._open(name, os.O_WRONLY | os.O_TRUNC)
        yield opening
        for number in range(LONG_PIECES):
            word = b"%d.%d|" % (self._seed, next(self._words))
            piece = (word * (1 << 18))[: 1 << 20]
            yield from self._write(name, handle, number << 20, piece)
        yield Action("close", name, handle)


def actions(seed: int) -> Iterator[Action]:
    """Yield what is done, without end."""
    return _Tool(seed).actions()


# --- in memory ----------------------------------------------------------------------------


@dataclass
class Model:
    """What is there, and what history shows, if all is well."""

    files: dict[str, bytes] = field(default_factory=dict)
    saves: dict[str, list[bytes]] = field(default_factory=dict)
    """The saves of each name, oldest first."""
    _wrote: dict[int, bool] = field(default_factory=dict)
    """By handle: whether it has, since its last save."""
    _writer: dict[str, int] = field(default_factory=dict)
    """The handle that wrote last."""
    _dirty: set[str] = field(default_factory=set)
    _newest: dict[str, int] = field(default_factory=dict)
    """Whose the last save is: a later one of the same handle takes its place."""

    def copy(self) -> "Model":
        """Return one that goes its own way."""
        return Model(
            dict(self.files),
            {name: list(saves) for name, saves in self.saves.items()},
            dict(self._wrote),
            dict(self._writer),
            set(self._dirty),
            dict(self._newest),
        )

    def apply(self, action: Action) -> None:
        """Take in that an action was done."""
        name, handle = action.name, action.handle
        match action.call:
            case "open":
                before = self.files.setdefault(name, b"")
                if action.flags & os.O_TRUNC and before:
                    self._change(name, handle, b"")
            case "write":
                self._change(name, handle, written(self.files[name], action.at, action.data))
            case "ftruncate":
                self._change(name, handle, cut(self.files[name], action.at))
            case "truncate":
                self._change(name, 0, cut(self.files[name], action.at))
                self._save(name, 0)
            case "close" | "fsync":
                self._save(name, handle)
            case "rename":
                content = self.files.pop(name)
                if action.other in self.files:
                    self.saves.setdefault(action.other, []).append(content)
                    del self.saves[name]
                else:
                    self.saves.setdefault(action.other, []).extend(self.saves.pop(name))
                self.files[action.other] = content
                self._newest.pop(action.other, None)
            case "unlink":
                del self.files[name]
                self._newest.pop(name, None)

    def is_newest_of(self, name: str, handles: set[int]) -> bool:
        """Whether the last save of a name is one of these handles'."""
        return self._newest.get(name) in handles - {0}

    def _change(self, name: str, handle: int, content: bytes) -> None:
        self.files[name] = content
        self._dirty.add(name)
        self._wrote[handle] = True
        self._writer[name] = handle

    def _save(self, name: str, handle: int) -> None:
        if name in self._dirty:
            by = handle if self._wrote.get(handle) else self._writer[name]
            saves = self.saves.setdefault(name, [])
            if by and self._newest.get(name) == by:
                saves.pop()
            saves.append(self.files[name])
            self._newest[name] = by
            self._dirty.discard(name)
        self._wrote.pop(handle, None)


def written(content: bytes, at: int, data: bytes) -> bytes:
    """Return *content* with *data* at an offset."""
    return content[:at].ljust(at, b"\0") + data + content[at + len(data) :]


def cut(content: bytes, length: int) -> bytes:
    """Return *content*, cut or grown."""
    return content[:length].ljust(length, b"\0")


class Expected:
    """What must be there after so many acknowledgements, and what may be there besides."""

    def __init__(self, seed: int, acknowledged: int) -> None:
        stream = actions(seed)
        self.surely = Model()
        while acknowledged:
            action = next(stream)
            self.surely.apply(action)
            acknowledged -= action.is_acknowledged
        self._pending: list[Action] = []
        """Under way, up to the acknowledgement that nobody has got."""
        self.perhaps = self.surely.copy()
        while not self._pending or not self._pending[-1].is_acknowledged:
            self._pending.append(next(stream))
            self.perhaps.apply(self._pending[-1])

    @property
    def touched(self) -> set[str]:
        """The names of what was under way."""
        return {name for one in self._pending for name in (one.name, one.other)} - {""}

    def states(self) -> Iterator[dict[str, bytes]]:
        """Yield what the files may be: each prefix of what was under way."""
        model = self.surely.copy()
        yield dict(model.files)
        for action in self._pending:
            before = model.files.get(action.name, b"")
            if action.call == "write":
                stop = action.at + len(action.data)
                for end in range(action.at // PAGE * PAGE + PAGE, stop, PAGE):
                    part = written(before, action.at, action.data[: end - action.at])
                    yield {**model.files, action.name: part}
            model.apply(action)
            yield dict(model.files)

    def check(self, directory: Path) -> None:
        """Compare with what is there."""
        found = {path.name: path for path in directory.iterdir()}
        touched = self.touched
        there, wanted = set(found) - touched, set(self.surely.files) - touched
        assert there == wanted, f"lost {wanted - there}, nobody made {there - wanted}"
        for name, content in self.surely.files.items():
            if name not in touched:
                assert found[name].read_bytes() == content, f"{name} is not as it was closed"
        for name, saves in self.surely.saves.items():
            if name not in touched:
                shown = history(directory / name)
                assert shown == saves, f"{name}: {told(shown)} are not its saves, {told(saves)}"
        there = {name: found[name].read_bytes() for name in touched & set(found)}
        assert any(
            all(there.get(name) == state.get(name) for name in touched) for state in self.states()
        ), f"nobody ever wrote this: {told(list(there.values()))}, {self._pending}"
        for name in touched:
            self._check_history(name, history(directory / name))

    def _check_history(self, name: str, shown: list[bytes]) -> None:
        """Acknowledged saves, and at most such after them as were under way, none twice."""
        surely = self.surely.saves.get(name, [])
        candidates = [self.perhaps.saves.get(name, []), surely]
        if self.surely.is_newest_of(name, {one.handle for one in self._pending}):
            # Whose last save it is went on writing: what was saved of that takes its place.
            candidates.append(surely[:-1])
        for saves in candidates:
            more = shown[len(saves) :]
            if shown[: len(saves)] == saves and all(
                any(one == state.get(name) for state in self.states()) for one in more
            ):
                break
        else:
            raise AssertionError(f"{name}: {told(shown)} are not {told(saves)} and what followed")
        pairs = itertools.pairwise(shown)
        assert all(one != other for one, other in pairs), f"{name} was saved twice"


def history(file: Path) -> list[bytes]:
    """Return the contents of all saves of a name, oldest first; none if it never was."""
    directory = file.parent / ".versions" / file.name
    try:
        return [save.read_bytes() for save in sorted(directory.iterdir())]
    except FileNotFoundError:
        return []


def told(contents: list[bytes]) -> str:
    """Describe contents in a few words."""
    return ", ".join(f"{len(one)} bytes {one[:12]!r}…{one[-12:]!r}" for one in contents) or "none"


# --- on a disk ----------------------------------------------------------------------------


class Doer:
    """Does actions in a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._open: dict[int, int] = {}

    def do(self, action: Action) -> None:
        """Do one. Raises `OSError`."""
        path = os.path.join(self._directory, action.name)
        match action.call:
            case "open":
                self._open[action.handle] = os.open(path, action.flags, 0o644)
            case "write":
                self._write(action)
            case "ftruncate":
                os.ftruncate(self._open[action.handle], action.at)
            case "truncate":
                os.truncate(path, action.at)
            case "fsync":
                os.fsync(self._open[action.handle])
            case "close":
                os.close(self._open.pop(action.handle))
            case "rename":
                os.rename(path, os.path.join(self._directory, action.other))
            case "unlink":
                os.unlink(path)

    def _write(self, action: Action) -> None:
        at, left = action.at, memoryview(action.data)
        while left:
            count = os.pwrite(self._open[action.handle], left, at)
            at, left = at + count, left[count:]


def main() -> None:
    directory, notes, seed = sys.argv[1:]
    doer = Doer(directory)
    noted = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for action in actions(int(seed)):
        doer.do(action)
        if action.is_acknowledged:
            os.write(noted, b".")


if __name__ == "__main__":
    main()
