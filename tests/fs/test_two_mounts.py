"""Two mounts of one service append, replace and rename in one directory, at the same time.

Who comes first is chance, so no model says what is there at the end; but what was saved whole is
a version as it was saved, what was appended is in one, behind whole lines of others, and all
mounts come to show the same.
"""

import os
import random
import threading
from contextlib import suppress

import pytest
from support.scale import scaled
from support.workload import history
from support.writing import eventually, sync

NAMES = ["a", "b", "c", "d"]
MODES = pytest.mark.parametrize(
    "options", [["--write-back"], []], ids=["write-back", "close-to-open"]
)


def line_of(author, number):
    """Return what an author writes at a time."""
    return b"%d.%d:" % (author, number) + b"x" * (number * 37 % 5000) + b"\n"


class Author(threading.Thread):
    """Works in a directory of one mount, and notes what was acknowledged."""

    def __init__(self, directory, number):
        super().__init__()
        self._directory = directory
        self._number = number
        self._dice = random.Random(number)
        self.appended = []
        self.replaced = []
        self.failure = None

    def run(self):
        try:
            for number in range(scaled(60, 3000)):
                line = line_of(self._number, number)
                doing = self._dice.choice([self._append, self._append, self._replace, self._rename])
                doing(self._dice.choice(NAMES), line, number)
        except OSError as error:
            self.failure = error

    def _append(self, name, line, _number):
        out = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(out, line)
        finally:
            os.close(out)
        self.appended.append(line)

    def _replace(self, name, line, number):
        temporary = self._directory / f"{name}.{self._number}.{number}.new"
        with temporary.open("wb") as out:
            out.write(line)
        temporary.rename(self._directory / name)
        self.replaced.append(line)

    def _rename(self, name, _line, number):
        with suppress(FileNotFoundError):  # the other has just renamed it
            (self._directory / name).rename(self._directory / f"{name}.{self._number}.{number}")


def shown(directory):
    """Return what is there; None where it changes while one looks."""
    try:
        return {file.name: file.read_bytes() for file in directory.iterdir()}
    except FileNotFoundError:
        return None


@pytest.mark.timeout(scaled(600, 7200))
@MODES
def test_what_two_mounts_do_at_once_is_kept_and_is_seen_by_both(home, options):
    with home.mounted("one", *options) as one, home.mounted("two", *options) as two:
        (one / "data").mkdir()
        eventually((two / "data").is_dir)
        authors = [Author(path / "data", number) for number, path in enumerate([one, two])]
        for author in authors:
            author.start()
        for author in authors:
            author.join()
        assert [author.failure for author in authors] == [None, None]
        sync(one)
        sync(two)
        with home.mounted("three") as three:
            there = shown(three / "data")
            eventually(lambda: shown(one / "data") == there)
            eventually(lambda: shown(two / "data") == there)
            saved = {save for name in [*NAMES, *there] for save in history(three / "data" / name)}
        assert set(there.values()) <= saved | {b""}, "this was never saved"
        lines = {line for author in authors for line in author.appended + author.replaced}
        torn = [save for save in saved if not set(save.splitlines(keepends=True)) <= lines]
        assert torn == [], "a line was written into another"
        for author in authors:
            assert set(author.replaced) <= saved, "a save is lost"
            for line in author.appended:
                assert any(line in content for content in saved), "an append is lost"


def test_lines_that_two_mounts_append_to_one_file_are_never_written_into_each_other(home):
    count = scaled(40, 1000)
    with home.mounted("one") as one, home.mounted("two") as two:
        (one / "data").mkdir()
        eventually((two / "data").is_dir)

        def append(path, author):
            for number in range(count):
                out = os.open(path / "data" / "f", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                try:
                    os.write(out, line_of(author, number))
                finally:
                    os.close(out)
                # Read by way of the page cache, which must not keep what was behind the end.
                text = (path / "data" / "f").read_bytes()
                torn.extend(set(text.splitlines(keepends=True)) - lines)

        torn = []
        lines = {line_of(author, number) for author in (0, 1) for number in range(count)}
        authors = [
            threading.Thread(target=append, args=(path, author))
            for author, path in enumerate([one, two])
        ]
        for author in authors:
            author.start()
        for author in authors:
            author.join()
        assert torn == []
        saves = history(one / "data" / "f")
        assert len(saves) == 2 * count
        assert {line for save in saves for line in save.splitlines(keepends=True)} == lines
