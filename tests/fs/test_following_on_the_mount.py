"""What a mount hears of others, while its feed is well and while it is not: real mounts."""

import os
import threading
from contextlib import contextmanager

import pytest
from support.mounts import Home
from support.proxies import Plan, proxied
from support.services import running_service
from support.talking import talking
from support.writing import eventually

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


def test_a_page_in_the_place_of_the_feed_is_passed_over(two):
    two.plan.method, two.plan.fault, two.plan.times = FEED, "page", 3
    with two.mounts() as (one, other):
        eventually(lambda: two.plan.hit == 3)
        (other / "f").write_bytes(b"one")
        eventually(lambda: (one / "f").exists())
        two.plan.fault = "none"
        (other / "f").write_bytes(b"two")
        eventually(lambda: (one / "f").read_bytes() == b"two")
