"""What the next mount makes of what another left: nothing that was acknowledged is thrown away."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress

import pytest
from support.disks import small_disk
from support.mounts import is_mounted
from support.services import running_service
from support.trouble import Trouble
from support.writing import SECONDS, Away, eventually, kill, process_of, report, saves, sync

from rengafs.fs.writes.draftfiles import read_about
from rengafs.fs.writes.writeback.journal import LOG

# The mount, with something that happens when a draft is sealed and not yet in the journal.
PROGRAM = """
import os
from rengafs.fs.writes.drafts import Draft
plain = Draft.seal

async def seal(*args):
    sealed = await plain(*args)
    if os.environ["ONCE_SEALED"] == "dies":
        os.kill(os.getpid(), 9)
    with open(os.environ["ONCE_SEALED"], "ab", buffering=0) as out:
        try:
            while True:
                out.write(bytes(4096))
        except OSError:
            pass
    return sealed

Draft.seal = seal
from rengafs.cli.main import main
main()
"""


def state_of(home):
    return home.path / ".local" / "state" / "rengafs"


def found(home, pattern):
    """What a mount keeps, though it may be removing something meanwhile."""
    while True:
        with suppress(FileNotFoundError):
            return list(state_of(home).rglob(pattern))


def leftovers(home):
    return [path for path in found(home, "data") if not path.parent.name.startswith(".")]


def is_replayed(home):
    """Whether all that a journal held is sent, and what nobody had saved was looked at."""
    drafts = [read_about(path.parent) for path in leftovers(home)]
    waits = any(about is not None and not about.why for about in drafts)
    return not waits and not found(home, "journal-*")


@contextmanager
def dying(home, *options):
    """A mount on ``dying`` that is killed at the end, if it lives by then."""
    path = home.path / "dying"
    path.mkdir()
    home.run("mount", *options, str(path))
    try:
        yield path
        kill(process_of(home, b"mount", path))
    finally:
        subprocess.run(["fusermount3", "-uzq", path], check=False)


@contextmanager
def mounted_by(home, once_sealed):
    """A mount of `PROGRAM`, which is killed at the end."""
    path = home.path / "dying"
    path.mkdir()
    command = [sys.executable, "-c", PROGRAM, "mount", "--write-back", "--foreground", str(path)]
    with (home.path / "dying.log").open("wb") as log:
        mounting = subprocess.Popen(
            command,
            env={**home.environment, "ONCE_SEALED": once_sealed},
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: is_mounted(path) and is_there(path))
        yield path
    finally:
        mounting.kill()
        mounting.wait(SECONDS)
        subprocess.run(["fusermount3", "-uzq", path], check=False)


def is_there(path):
    try:
        return path.is_dir()
    except OSError:
        return False


def test_a_mount_leaves_alone_what_another_is_about_to_send(home):
    """The first is held up by its network; the second finds the same drafts, and no entries."""
    contents = {name: os.urandom(3 << 20) for name in ("f", "g")}
    with running_service(listen="127.0.0.1:0") as service:
        token = home.path / "token"
        token.write_text(service.token)

        def options(address):
            return ["--endpoint", address, "--token-file", str(token), "--patience", "5"]

        with dying(home, "--write-back", *options(service.address)) as path:
            (path / "data").mkdir()
            for name in contents:
                (path / "data" / name).write_bytes(b"before")
            sync(path)
            os.kill(service.process.pid, signal.SIGSTOP)
            for name, content in contents.items():
                (path / "data" / name).write_bytes(content)
        os.kill(service.process.pid, signal.SIGCONT)
        with (
            Trouble(service.address, "/fs/apply", ("cut",)) as line,
            home.mounted("slow", *options(line.address)) as slow,
        ):
            assert line.met
            with home.mounted("quick", *options(service.address)) as quick:
                assert len(leftovers(home)) == 2
                assert (quick / "data" / "f").read_bytes() == b"before"
                line.end()
                for name, content in contents.items():
                    eventually(
                        lambda n=name, c=content: (quick / "data" / n).read_bytes() == c,
                    )
                    assert saves(quick / "data" / name) == [b"before", content]
            eventually(lambda: (slow / "data" / "f").read_bytes() == contents["f"])
            eventually(lambda: not found(home, "journal-*"))
            assert leftovers(home) == []


def test_what_was_sealed_but_not_yet_in_the_journal_is_saved(home):
    content = os.urandom(3 << 20)
    with home.mounted("keeper") as keeper:
        with mounted_by(home, "dies") as path:
            (path / "data").mkdir()
            (path / "data" / "f").write_bytes(b"before")
            sync(path)
            with suppress(OSError):
                (path / "data" / "f").write_bytes(content)
        with home.mounted("next") as after:
            eventually(lambda: (after / "data" / "f").read_bytes() == content)
        assert saves(keeper / "data" / "f") == [b"before", content]
        assert leftovers(home) == []


def test_what_was_sealed_when_the_journal_had_no_room_left_is_saved(home):
    """The name alone needs a page of the disk that is not there any more."""
    content = os.urandom(2 << 20)
    state_of(home).mkdir(parents=True)
    with small_disk(6) as disk:
        subprocess.run(["mount", "--bind", disk, state_of(home)], check=True)
        filler = disk / "filler"
        try:
            with home.mounted("keeper") as keeper:
                with mounted_by(home, str(filler)) as path:
                    (path / "data").mkdir()
                    directory = os.open(path / "data", os.O_RDONLY)
                    for _ in range(25):
                        os.mkdir("d" * 200, dir_fd=directory)
                        directory, outer = (
                            os.open("d" * 200, os.O_RDONLY, dir_fd=directory),
                            directory,
                        )
                        os.close(outer)
                    with open_at(directory, "f") as file:
                        file.write(b"before")
                    os.fsync(directory)
                    with (
                        pytest.raises(OSError, match=rf"Errno {errno.ENOSPC}"),
                        open_at(directory, "f") as file,
                    ):
                        file.write(content)
                    os.close(directory)
                    assert filler.exists()
                filler.unlink()
                assert len(leftovers(home)) == 1
                with home.mounted("next"):
                    eventually(lambda: leftovers(home) == [])
                named = subprocess.run(
                    ["find", keeper / "data", "-name", "f", "-size", "2048k"],
                    capture_output=True,
                    check=True,
                )
                assert named.stdout.endswith(b"/f\n")
        finally:
            subprocess.run(["umount", "-l", state_of(home)], check=True)


def open_at(directory, name):
    return open(name, "wb", opener=lambda name, flags: os.open(name, flags, dir_fd=directory))


def test_a_flipped_bit_of_the_journal_costs_the_one_save_that_it_hit(home):
    big = os.urandom(3 << 20)
    with home.mounted("keeper") as keeper, ExitStack() as service:
        with dying(home, "--write-back") as path:
            (path / "data").mkdir()
            for name in ("first", "hit", "big", "last"):
                (path / "data" / name).write_bytes(b"before")
            sync(path)
            service.enter_context(Away(home))
            (path / "data" / "first").write_bytes(b"first " * 100)
            (path / "data" / "hit").write_bytes(b"poor " * 100)
            (path / "data" / "big").write_bytes(big)
            (path / "data" / "last").write_bytes(b"last " * 100)
        service.close()
        (journal,) = state_of(home).rglob(LOG)
        damaged = bytearray(journal.read_bytes())
        damaged[damaged.index(b"poor poor")] ^= 4
        journal.write_bytes(damaged)
        with home.mounted("next"):
            eventually(lambda: is_replayed(home))
        data = keeper / "data"
        eventually(lambda: (data / "last").read_bytes() == b"last " * 100)
        eventually(lambda: (data / "first").read_bytes() == b"first " * 100)
        eventually(lambda: (data / "big").read_bytes() == big)
        assert (data / "hit").read_bytes() == b"before"
        (kept,) = state_of(home).rglob("damaged-*")
        assert b"oor poor" in kept.read_bytes()
        assert str(kept) in home.run("status").stdout
        assert leftovers(home) == []


def test_the_large_save_whose_entry_is_damaged_is_saved_as_nobody_has_saved_since(home):
    big = os.urandom(3 << 20)
    with home.mounted("keeper") as keeper, ExitStack() as service:
        with dying(home, "--write-back") as path:
            (path / "data").mkdir()
            for name in ("f", "g"):
                (path / "data" / name).write_bytes(b"before")
            sync(path)
            service.enter_context(Away(home))
            for name in ("f", "g"):
                (path / "data" / name).write_bytes(big)
        service.close()
        (keeper / "data" / "g").write_bytes(b"by somebody else")
        (journal,) = state_of(home).rglob(LOG)
        damaged = bytearray(journal.read_bytes())
        for draft in leftovers(home):
            damaged[damaged.index(draft.parent.name.encode())] ^= 1
        journal.write_bytes(damaged)
        with home.mounted("next"):
            eventually(lambda: is_replayed(home))
        eventually(lambda: (keeper / "data" / "f").read_bytes() == big)
        assert (keeper / "data" / "g").read_bytes() == b"by somebody else"
        (left,) = leftovers(home)
        assert left.read_bytes() == big
        assert str(left) in home.run("status").stdout


def test_conflicts_that_come_of_a_replay_are_told(home):
    with home.mounted("keeper") as keeper, ExitStack() as service:
        with dying(home, "--write-back") as path:
            (path / "data").mkdir()
            (path / "data" / "f").write_bytes(b"base")
            sync(path)
            service.enter_context(Away(home))
            with (path / "data" / "f").open("ab") as out:
                out.write(b" ours")
        service.close()
        (keeper / "data" / "f").write_bytes(b"theirs")
        with home.mounted("next") as after:
            eventually(lambda: report(after).get("conflicts"))
            (told,) = report(after)["conflicts"]
            assert told["name"] == "data/f"
            assert home.run("status").stdout.count("is of an older base") == 1
        assert home.run("status").stdout.count("is of an older base") == 1
        assert saves(keeper / "data" / "f") == [b"base", b"theirs", b"base ours"]


@pytest.mark.parametrize("options", [["--write-back"], []], ids=["write-back", "close-to-open"])
def test_a_small_file_that_was_open_is_saved_some_seconds_after_it_was_written(home, options):
    body = os.urandom(10_000)
    with home.mounted("keeper") as keeper:
        with dying(home, *options) as path:
            (path / "data").mkdir()
            (path / "data" / "old").write_bytes(b"before" * 1000)
            (path / "data" / "synced").write_bytes(b"before")
            sync(path)
            files = [open(path / "data" / name, "r+b", 0) for name in ("old", "synced")]  # noqa: SIM115
            files.append(open(path / "data" / "new", "wb", 0))  # noqa: SIM115
            for file in files:
                file.write(body)
            eventually(lambda: sorted(described(home)) == [10_000] * 3)
            os.fsync(files[1].fileno())
            eventually(lambda: sorted(described(home)) == [0, 10_000, 10_000])
        for file in files:
            with suppress(OSError):
                file.close()
        with home.mounted("next"):
            eventually(lambda: leftovers(home) == [])
        data = keeper / "data"
        assert saves(data / "old") == [b"before" * 1000, body]
        assert saves(data / "synced") == [b"before", body]
        assert saves(data / "new") == [body]


def described(home):
    """How many bytes each draft says that it has and the service has not."""
    sizes = []
    for path in leftovers(home):
        about = read_about(path.parent)
        sizes.append(-1 if about is None else sum(stop - start for start, stop in about.extents))
    return sizes
