"""What a mount hears of others, while its feed is well and while it is not: real mounts."""

import os
import re
import shutil
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from support.mounts import Home, is_mounted
from support.proxies import Plan, proxied
from support.services import running_service
from support.talking import talking
from support.writing import eventually, process_of

pytestmark = pytest.mark.fuse

FEED, CHANGE = r"GET \S*/feed", r"POST \S*/fs/apply"
SECONDS = 120


class Two:
    """A service, and mounts of it by two users; one by way of a proxy that *plan* tells."""

    def __init__(self, service, root):
        self.service, self.root = service, root
        self.plan = Plan()
        self.homes = {}

    @contextmanager
    def mounts(self):
        with (
            proxied(self.service.address, self.plan) as address,
            self._mounted("one", address) as one,
            self._mounted("other", self.service.address) as other,
        ):
            (other / "data").mkdir()
            eventually(lambda: (one / "data").exists())
            yield one / "data", other / "data"

    @contextmanager
    def _mounted(self, name, address):
        home = Home(self.root / name)
        home.path.mkdir(exist_ok=True)
        self.homes[name] = home
        (home.path / "token").write_text(self.service.token)
        where = ("--endpoint", address, "--token-file", str(home.path / "token"))
        with home.mounted("m", *where) as path:
            yield path


@pytest.fixture
def two(tmp_path):
    with running_service(listen="127.0.0.1:0") as service, talking(service):
        yield Two(service, tmp_path)


def test_each_kind_of_change_shows_elsewhere(two):
    with two.mounts() as (one, other):
        (other / "f").write_bytes(b"-1")
        eventually((one / "f").exists)
        for number in range(10):
            text, name = b"%d" % number, f"new-{number}"
            assert not (one / name).exists()
            (other / "f").write_bytes(text)
            (other / name).touch()
            eventually(lambda text=text: (one / "f").read_bytes() == text)
            eventually((one / name).exists)
            (other / name).rename(other / "moved")
            eventually(lambda name=name: (one / "moved").exists() and not (one / name).exists())
            (other / "moved").unlink()
            eventually(lambda: not (one / "moved").exists())


def test_a_change_that_waits_for_the_service_holds_up_no_news_of_other_directories(two):
    with two.mounts() as (one, other):
        for name in ("slow", "quick"):
            (other / name).mkdir()
            (other / name / "f").write_bytes(b"old")
        eventually(lambda: (one / "quick" / "f").exists() and (one / "slow" / "f").exists())
        assert not (one / "quick" / "new").exists()
        two.plan.method, two.plan.delay_seconds = CHANGE, SECONDS
        two.plan.fault = "delay"
        waiting = threading.Thread(target=(one / "slow" / "f").unlink)
        waiting.start()
        eventually(lambda: two.plan.hit == 1)

        (other / "slow" / "new").touch()  # whose name can't be told before the unlink is over
        (other / "quick" / "f").write_bytes(b"newer")
        (other / "quick" / "new").touch()

        eventually(lambda: (one / "quick" / "new").exists())
        eventually(lambda: (one / "quick" / "f").read_bytes() == b"newer")
        assert waiting.is_alive()
        two.plan.over.set()
        waiting.join(SECONDS)
        assert os.listdir(one / "slow") == ["new"]


def test_what_was_not_there_is_asked_for_again_while_the_feed_is_lost(two):
    """The feed is cut off for good; requests are answered."""
    two.plan.method, two.plan.times = FEED, 10**6
    with two.mounts() as (one, other):
        (other / "first").touch()
        eventually((one / "first").exists)
        assert not (one / "later").exists()
        two.plan.fault = "refuse"
        two.plan.sever()
        eventually(lambda: "the feed is lost" in two.homes["one"].logs())
        (other / "later").write_bytes(b"here")
        (other / "gone").touch()
        eventually(lambda: (one / "later").exists(), seconds=20)
        eventually(lambda: (one / "gone").exists(), seconds=20)
        (other / "gone").unlink()
        (other / "later").rename(other / "moved")
        eventually(lambda: not (one / "gone").exists(), seconds=20)
        eventually(lambda: sorted(os.listdir(one)) == ["first", "moved"], seconds=20)


def test_a_delete_and_a_rename_while_the_feed_is_lost_are_taken_in_when_it_is_back(two):
    two.plan.method, two.plan.times = FEED, 10**6
    with two.mounts() as (one, other):
        for name in ("deleted", "moved", "stays", "replaced", "winner"):
            (other / name).write_bytes(name.encode())
        for name in ("leaves", "turns"):
            (other / name).mkdir()
        (other / "turns" / "inside").write_bytes(b"inside")
        eventually(lambda: len(os.listdir(one)) == 7)
        # All of it is known to the kernel, absent names too, and what is deleted is open.
        for name in ("moved", "stays", "replaced", "winner"):
            assert (one / name).read_bytes() == name.encode()
        assert (one / "turns" / "inside").read_bytes() == b"inside"
        assert os.listdir(one / "leaves") == []
        assert not (one / "target").exists()
        assert not (one / "turned").exists()
        with (one / "deleted").open("rb", buffering=0) as still:
            two.plan.fault = "refuse"
            two.plan.sever()
            eventually(lambda: "the feed is lost" in two.homes["one"].logs())
            (other / "deleted").unlink()
            (other / "moved").rename(other / "target")
            (other / "winner").rename(other / "replaced")
            (other / "leaves").rmdir()
            (other / "turns").rename(other / "turned")
            two.plan.fault = "none"

            expected = ["replaced", "stays", "target", "turned"]
            eventually(lambda: sorted(os.listdir(one)) == expected)
            for name in ("deleted", "moved", "winner", "leaves", "turns"):
                eventually(lambda name=name: not (one / name).exists())
            assert not (one / "turns" / "inside").exists()
            assert (one / "target").read_bytes() == b"moved"
            assert (one / "replaced").read_bytes() == b"winner"
            assert (one / "turned" / "inside").read_bytes() == b"inside"
            assert (one / "stays").read_bytes() == b"stays"
            assert still.read() == b"deleted"

        # The feed lives: what is changed now needs no second to be believed no more.
        (other / "target").rename(other / "moved")
        eventually(lambda: (one / "moved").exists() and not (one / "target").exists())


def test_a_service_that_is_an_older_copy_of_itself_is_shown_as_it_is(tmp_path):
    data, copy = tmp_path / "service", tmp_path / "copy"
    with running_service(data, listen="127.0.0.1:0") as service, talking(service) as talk:
        listen, token = service.address.removeprefix("http://"), service.token
        bucket = talk.bucket()
        saved = talk.file(bucket, "saved", b"before")
        talk.file(bucket, "deleted", b"deleted")
        talk.file(bucket, "moved", b"moved")
    shutil.copytree(data, copy)
    home = Home(tmp_path / "home")
    home.path.mkdir(exist_ok=True)
    (home.path / "token").write_text(token)
    where = ("--endpoint", f"http://{listen}", "--token-file", str(home.path / "token"))

    def change(service, text):
        """Save twice, the same way each time; return the numbers of the versions."""
        with talking(service) as talk:
            first = talk.save(saved, text)
            return first.id, talk.save(talk.file(bucket, "new"), text[::-1]).id

    with (
        ExitStack() as running,
        _no_process_left(home),
    ):
        service = running.enter_context(running_service(data, listen=listen, token=token))
        lost = change(service, b"lost")
        with home.mounted("m", *where) as path, ExitStack() as opened:
            (shown,) = path.iterdir()
            assert (shown / "saved").read_bytes() == b"lost"
            assert (shown / "new").read_bytes() == b"tsol"
            (shown / "deleted").unlink()
            (shown / "moved").rename(shown / "target")
            assert sorted(os.listdir(shown)) == ["new", "saved", "target"]
            assert not (shown / "moved").exists()
            gone = opened.enter_context((shown / "new").open("rb", buffering=0))
            stays = opened.enter_context((shown / "target").open("rb", buffering=0))

            service.stop()
            running.close()
            shutil.rmtree(data)
            shutil.copytree(copy, data)
            # It outlives the mount, which has something to tell it at its end.
            again = running_service(data, listen=listen, token=token)
            restored = running.enter_context(again)
            eventually(lambda: "the feed does not know change" in home.logs())
            before = {"saved": b"before", "deleted": b"deleted", "moved": b"moved"}
            eventually(lambda: sorted(os.listdir(shown)) == sorted(before))
            for name in ("new", "target"):
                eventually(lambda name=name: not (shown / name).exists())
            for name, text in before.items():
                eventually((shown / name).exists)
                eventually(lambda n=name, t=text: (shown / n).stat().st_size == len(t))
                assert (shown / name).read_bytes() == text

            # The numbers of lost versions are given again, to others.
            assert change(restored, b"made") == lost
            eventually(lambda: (shown / "new").exists())
            eventually(lambda: (shown / "saved").stat().st_size == 4)
            assert (shown / "saved").read_bytes() == b"made"
            eventually(lambda: (shown / "new").stat().st_size == 4)
            assert (shown / "new").read_bytes() == b"edam"
            assert _uncached(stays) == b"moved"
            with pytest.raises(OSError, match=r"\[Errno 5\]"):
                _uncached(gone)


def _uncached(file):
    """Read a file, not from what the kernel has of it."""
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(file.fileno(), 100, 0)


@contextmanager
def _no_process_left(home):
    try:
        yield
        eventually(lambda: home.processes() == [])
    finally:
        home.kill_all()


@pytest.mark.parametrize("how", ["umount", "signal"])
def test_unmounting_in_a_storm_of_invalidations_ends_cleanly(two, how):
    """Another mount changes hundreds of files, all of which this kernel knows."""
    names = [f"f{number:03}" for number in range(300)]
    over = threading.Event()
    saved = Counter()

    def change(other, some):
        while not over.is_set():
            for name in some:
                (other / f"{name}~").write_bytes(b"%d" % saved[name])
                (other / f"{name}~").rename(other / name)
                saved[name] += 1

    with two.mounts() as (one, other), ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: (other / name).touch(), names))
        home = two.homes["one"]
        eventually(lambda: len(os.listdir(one)) == len(names))
        changing = [pool.submit(change, other, names[at::3]) for at in range(3)]
        try:
            # All this while the kernel is told to forget what it has just learnt.
            eventually(lambda: len(saved) > len(names) // 3)
            before = saved.total()
            for entry in os.scandir(one):
                with suppress(FileNotFoundError):  # a temporary name
                    entry.stat()
            for name in names[:30]:
                (one / name).read_bytes()
            if how == "umount":
                home.run("umount", str(one.parent))
            else:
                os.kill(process_of(home, b"mount", one.parent), signal.SIGTERM)
            eventually(lambda: not is_mounted(one.parent))
            eventually(lambda: home.processes() == [])
            during = saved.total() - before
        finally:
            over.set()
        for each in changing:
            each.result(SECONDS)
        assert during, "nothing was changed meanwhile"
        assert not re.search("WARNING|ERROR|CRITICAL|Traceback", home.logs())


def test_a_page_in_the_place_of_the_feed_is_passed_over(two):
    two.plan.method, two.plan.fault, two.plan.times = FEED, "page", 3
    with two.mounts() as (one, other):
        eventually(lambda: two.plan.hit == 3)
        (other / "f").write_bytes(b"one")
        eventually(lambda: (one / "f").exists())
        two.plan.fault = "none"
        (other / "f").write_bytes(b"two")
        eventually(lambda: (one / "f").read_bytes() == b"two")
