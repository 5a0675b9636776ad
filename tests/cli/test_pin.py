"""``rengafs pin``: kept whole, current, spared by prune, and readable without the service."""

import errno
import json
import os
import subprocess

import pytest
from support.aging import age

BIG = bytes(range(256)) * (5 << 11)
"""Two and a half blocks of the cache."""
SECONDS = 240


class Far:
    """A service over TCP that ends and begins again on its port, and a mount of it."""

    def __init__(self, home) -> None:
        self.home = home
        self.data = home.root / "served"
        self.token = home.root / "token"
        self.address = ""
        self.process = None

    def begin(self) -> None:
        """Start the service; again on the port that it had."""
        listen = self.address.removeprefix("http://") or "127.0.0.1:0"
        self.process = self.home.start("serve", "--listen", listen, "--data", self.data)
        line = self.process.stdout.readline()
        assert line.startswith("rengafs: serving at http://"), self.process.communicate()
        self.address = line.split()[-1]
        if not self.token.exists():
            made = good(self.home, "token", "create", "ann", "--data", self.data)
            self.token.write_text(made.strip())

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=SECONDS)
            self.process = None

    def mount(self, *options: object):
        where = ("--endpoint", self.address, "--token-file", self.token, "--patience", 5)
        return self.home.run("mount", *where, *options, self.home.mountpoint)

    def umount(self) -> None:
        good(self.home, "umount", self.home.mountpoint)


def good(home, *arguments: object) -> str:
    done = home.run(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.stderr}{home.log('mount')}"
    return done.stdout


def data(home, *arguments: object):
    return json.loads(good(home, *arguments, "--json"))


@pytest.fixture
def far(home):
    """A service elsewhere, mounted, with a bucket of some files."""
    place = Far(home)
    place.begin()
    try:
        assert place.mount().returncode == 0
        folder = home.mountpoint / "data" / "kept"
        (folder / "sub").mkdir(parents=True)
        for number in range(5):
            (folder / f"f{number}").write_bytes(b"%d" % number * 3000)
        (folder / "sub" / "big").write_bytes(BIG)
        (folder / "link").symlink_to("f1")
        (home.mountpoint / "data" / "other").write_bytes(b"not pinned")
        yield place
        if str(home.mountpoint) in home.mounts():
            place.umount()
    finally:
        place.end()


def test_what_is_pinned_is_read_when_the_service_has_gone_and_by_a_mount_without_it(
    home, far, until
):
    kept = home.mountpoint / "data" / "kept"
    (told,) = data(home, "pin", kept)
    assert (told["state"], told["files"], told["bytes"]) == ("kept", 6, 15_000 + len(BIG))
    assert data(home, "cache", "status")["pinned_bytes"] >= len(BIG)
    cleared = data(home, "cache", "clear")
    assert cleared["bytes"] < len(BIG)
    far.umount()
    far.end()

    done = far.mount()
    assert done.returncode == 0, done.stderr
    assert "its service is away" in done.stderr
    assert os.listdir(home.mountpoint) == ["data"]
    assert os.listdir(home.mountpoint / "data") == ["kept"]
    names = {"f0", "f1", "f2", "f3", "f4", "link", "sub"}
    assert set(os.listdir(kept)) == names
    assert (kept / "sub" / "big").read_bytes() == BIG
    assert (kept / "link").read_bytes() == b"1" * 3000
    listed = subprocess.run(["ls", "-lR", kept], capture_output=True, text=True, check=True)
    assert "big" in listed.stdout
    assert not (kept / "absent").exists()
    assert failure(lambda: (home.mountpoint / "data" / "other").stat()) == errno.EIO
    assert failure(lambda: (kept / "f1").write_bytes(b"new")) == errno.EROFS
    assert failure(lambda: (kept / "new").mkdir()) == errno.EROFS
    assert failure(lambda: (kept / "f1").unlink()) == errno.EROFS
    assert away(home)
    assert "away since" in good(home, "status")
    assert "service is away" in home.log("mount")

    far.begin()
    until(lambda: not away(home), "the service is back")
    assert (home.mountpoint / "data" / "other").read_bytes() == b"not pinned"
    (kept / "f1").write_bytes(b"new")
    assert (kept / "link").read_bytes() == b"new"
    far.end()
    # A mount that loses its service reads on, by name too.
    until(lambda: away(home), "the service is away")
    assert (kept / "sub" / "big").read_bytes() == BIG
    assert (kept / "f2").read_bytes() == b"2" * 3000
    far.begin()
    until(lambda: not away(home), "the service is back")


def away(home) -> bool:
    """Whether the mount says that its service is away."""
    mounts = data(home, "status")["mounts"]
    (ours,) = [one for one in mounts if one["mountpoint"] == str(home.mountpoint)]
    return ours["away_ms"] > 0


def failure(act) -> int:
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is what is compared
        act()
    return raised.value.errno


def test_a_pin_is_kept_current_and_one_of_a_moment_or_save_as_it_was(home, far, until):
    kept = home.mountpoint / "data" / "kept"
    good(home, "label", home.mountpoint / "data", "paper")
    (kept / "f1").write_bytes(b"second")
    (kept / "f1").write_bytes(b"third")
    second = sorted((kept / ".versions" / "f1").iterdir())[1]
    told = data(home, "pin", kept, second, f"{kept}@paper")
    assert [(one["files"], one["state"]) for one in told] == [(6, "kept"), (1, "kept"), (6, "kept")]
    assert (told[2]["path"], told[2]["when"]) == ("data/kept", "paper")
    other = home.root / "other"
    other.mkdir()
    where = ("--endpoint", far.address, "--token-file", far.token)
    good(home, "mount", *where, "--cache-dir", home.root / "elsewhere", other)
    try:
        folder = other / "data" / "kept"
        (folder / "f1").write_bytes(b"newer")
        (folder / "f2").unlink()
        (folder / "sub" / "big").rename(folder / "moved")
        (folder / "made").mkdir()
        (folder / "made" / "f9").write_bytes(b"9" * 70_000)
        expected = 3 * 3000 + 5 + len(BIG) + 70_000
        until(lambda: data(home, "pin")[0]["bytes"] == expected, "the pin is current")
    finally:
        good(home, "umount", other)
    far.umount()
    far.end()

    assert far.mount().returncode == 0
    assert (kept / "f1").read_bytes() == b"newer"
    assert (kept / "moved").read_bytes() == BIG
    assert (kept / "made" / "f9").read_bytes() == b"9" * 70_000
    assert not (kept / "f2").exists()
    assert not (kept / "sub" / "big").exists()
    assert second.read_bytes() == b"second"
    assert os.listdir(kept / ".versions" / "f1") == [second.name]
    past = home.mountpoint / "data" / ".versions" / "@paper" / "kept"
    assert (past / "f1").read_bytes() == b"1" * 3000
    assert (past / "sub" / "big").read_bytes() == BIG


def test_prune_spares_a_pin_and_says_why_until_it_is_let_go(home, bucket, until):
    file = bucket / "report.csv"
    for text in ("one", "two", "three"):
        file.write_text(text)
    first, *_ = sorted((bucket / ".versions" / "report.csv").iterdir())
    good(home, "bucket", "retention", bucket, "all for 1 day")
    (told,) = data(home, "pin", first)
    assert (told["state"], told["in_place"]) == ("kept", True)
    # The lease outlives the mount.
    good(home, "umount", home.mountpoint)
    age(home.data, 3)
    good(home, "mount", home.mountpoint)
    aged = sorted((bucket / ".versions" / "report.csv").iterdir())

    (planned,) = data(home, "prune", "--dry-run", bucket)
    shown = good(home, "prune", "--dry-run", bucket)
    good(home, "prune", bucket)

    (spared,) = planned["spared"]
    assert (spared["path"], planned["versions"]) == ("data/report.csv", 1)
    assert spared["why"].startswith("pinned by ")
    assert "would keep data/report.csv of" in shown
    assert "pinned by" in shown
    assert aged[0].read_text() == "one"
    until(lambda: not aged[1].exists(), "pruned")  # the kernel knows it for a second more

    assert len(data(home, "unpin", first)) == 1
    assert good(home, "pin") == "nothing is pinned\n"
    good(home, "umount", home.mountpoint)  # which had it open a moment ago
    good(home, "mount", home.mountpoint)
    (done,) = data(home, "prune", bucket)
    assert done["versions"] == 1
    assert not aged[0].exists()


def test_eviction_spares_what_is_pinned_and_what_does_not_fit_is_refused(home, far, refused):
    far.umount()
    assert far.mount("--cache-size", "6M").returncode == 0
    kept = home.mountpoint / "data" / "kept"
    good(home, "pin", kept)
    filler = home.mountpoint / "data" / "filler"
    filler.mkdir()
    for number in range(12):
        (filler / f"f{number}").write_bytes(os.urandom(1 << 20))
    done = home.run("pin", filler)
    assert done.returncode == 10
    assert "larger --cache-size" in refused(done)
    assert [one["path"] for one in data(home, "pin")] == ["data/kept"]
    # Who warms more than there is room for is told how much did not stay.
    done = home.run("warm", filler)
    assert "did not stay in the cache; mount with a larger --cache-size" in refused(done)
    assert 0 < int(done.stdout.split()[0]) < 12
    status = data(home, "cache", "status")
    assert len(BIG) <= status["pinned_bytes"] < 4 << 20
    assert status["bytes"] <= 7 << 20
    far.umount()
    far.end()

    assert far.mount().returncode == 0
    assert (kept / "sub" / "big").read_bytes() == BIG
    far.umount()
    assert "prune spares" in home.run("unpin", "data/kept").stderr
    good(home, "cache", "clear")
    done = far.mount()  # and with nothing pinned or cached, there is nothing to show
    assert done.returncode == 3
    refused(done)


def test_what_was_read_and_is_cached_is_shown_by_a_mount_without_its_service(home, far, until):
    kept = home.mountpoint / "data" / "kept"
    far.umount()
    assert far.mount().returncode == 0
    assert (kept / "sub" / "big").read_bytes() == BIG
    assert (kept / "f1").read_bytes() == b"1" * 3000
    (kept / "f2").read_bytes()
    (kept / "f2").rename(kept / "elsewhere")
    (kept / "f3").read_bytes()
    (kept / "f3").write_bytes(b"newer")
    with (kept / "f4").open("rb") as half:
        half.read(1)
    far.umount()
    far.end()

    done = far.mount()
    assert done.returncode == 0, done.stderr
    assert "what is pinned or cached" in done.stderr
    assert os.listdir(home.mountpoint) == ["data"]
    shown = set(os.listdir(kept))
    assert {"f1", "sub"} <= shown
    assert not {"f2", "f0", "link"} & shown
    assert (kept / "sub" / "big").read_bytes() == BIG
    assert (kept / "f1").read_bytes() == b"1" * 3000
    # What was not read may exist: of that nothing can be said.
    assert failure(lambda: (kept / "f0").stat()) == errno.EIO
    assert failure(lambda: (kept / "f1").write_bytes(b"new")) == errno.EROFS
    assert away(home)

    far.begin()
    until(lambda: not away(home), "the service is back")
    assert (kept / "elsewhere").read_bytes() == b"2" * 3000
    assert (kept / "f3").read_bytes() == b"newer"


def test_wrong_use_of_pins_is_one_line(home, bucket, refused):
    (bucket / "f").write_text("x")
    for arguments, code, text in (
        (("pin", bucket / "none"), 1, "no "),
        (("pin", home.mountpoint), 2, "top can't be pinned"),
        (("pin", bucket / ".versions" / "f"), 2, "is a history"),
        (("pin", "/etc"), 8, "no mount"),
        (("unpin", bucket / "f"), 1, "is not pinned"),
    ):
        done = home.run(*arguments)
        assert text in refused(done), (arguments, done.stderr)
        assert done.returncode == code, (arguments, done.stderr)
