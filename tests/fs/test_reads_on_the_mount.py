"""What reading costs in requests, and that it is right while others write: real mounts."""

import hashlib
import os
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support.links import delayed
from support.mounts import Home
from support.scale import scaled
from support.services import RunningService, running_service
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol.operations import Commit, MakeDirectory, MakeFile
from rengafs.protocol.records import ROOT, Node

SECONDS = 120
MIB = 1 << 20
ZEROS = bytes(MIB)


class Place:
    """A service, a bucket of it, and mounts."""

    def __init__(self, service: RunningService, talk: Talk, root: Path) -> None:
        self.service, self.talk, self.root = service, talk, root
        self.bucket = talk.bucket()
        page = talk.run(calls.entries(ROOT))
        self.name = next(entry.name for entry in page.entries if entry.node.id == self.bucket.id)
        self.homes: list[Home] = []

    @contextmanager
    def mount(self, *options: str, address: str = "") -> Iterator[Path]:
        """Give the bucket on a mount of a user of its own."""
        home = Home(self.root / f"home{len(self.homes)}")
        home.path.mkdir(exist_ok=True)
        self.homes.append(home)
        token = home.path / "token"
        token.write_text(self.service.token)
        where = ("--endpoint", address or self.service.address, "--token-file", str(token))
        with home.mounted("m", *where, *options) as path:
            yield path / self.name

    def folder(self, name: str, files: dict[str, bytes]) -> Node:
        """Make a directory with files, not through a mount."""
        folder = self.talk.do(MakeDirectory(parent=self.bucket.id, name=name)).node
        names = list(files)
        for start in range(0, len(names), 500):
            some = names[start : start + 500]
            made = self.talk.run(
                calls.apply([MakeFile(parent=folder.id, name=name) for name in some], atomic=True)
            )
            saves = [
                (_whole(outcome.node.id, files[name]), files[name])
                for outcome, name in zip(made, some, strict=True)
                if files[name]
            ]
            if saves:
                self.talk.run(calls.apply(saves))
        return folder

    def asked(self) -> Counter[str]:
        """Return how often each kind of request was answered so far."""
        found: Counter[str] = Counter()
        for line in self.service.log.read_text().splitlines():
            if match := re.search(r"path=/api/storage/fs/(\S+)", line):
                found[re.sub(r"\d+", "N", match[1])] += 1
        return found

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Give what is asked while the block runs."""
        before = self.asked()
        counter: Counter[str] = Counter()
        yield counter
        after = None
        while after != (after := self.asked()):
            time.sleep(0.2)  # the service logs a request when it has answered
        counter.update(after - before)


def _whole(node: int, data: bytes) -> Commit:
    size = len(data)
    return Commit(node=node, length=size, whole=True, extents=[(0, size)], payload=size)


@contextmanager
def place_at(root: Path, listen: str) -> Iterator[Place]:
    with (
        running_service(listen=listen) as service,
        talking(service, patience_seconds=scaled(30, 1800)) as talk,
    ):
        place = Place(service, talk, root)
        try:
            yield place
        finally:
            for home in place.homes:
                home.kill_all()


@pytest.fixture(scope="module")
def far(tmp_path_factory) -> Iterator[Place]:
    """A service that is reached over TCP, as from another machine."""
    with place_at(tmp_path_factory.mktemp("far"), "127.0.0.1:0") as place:
        yield place


@pytest.fixture
def here(tmp_path) -> Iterator[Place]:
    """A service on a Unix socket: its blobs are on this machine."""
    with place_at(tmp_path, "") as place:
        yield place


def eventually(condition) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.01)


def blocks_of(place: Place) -> list[Path]:
    return [
        path for home in place.homes for path in (home.path / ".cache").rglob("*") if path.is_file()
    ]


# --- blobs on this machine --------------------------------------------------------------


def test_a_blob_on_this_machine_is_read_where_it_lies_and_not_cached(here):
    data = os.urandom(5 * MIB + 123)
    here.folder("d", {"big": data, "middle": data[: 300 << 10]})
    with here.mount() as bucket, here.counted() as asked:
        assert (bucket / "d" / "big").read_bytes() == data
        assert (bucket / "d" / "middle").read_bytes() == data[: 300 << 10]
        with (bucket / "d" / "big").open("rb") as file:
            file.seek(4 * MIB)
            assert file.read(1000) == data[4 * MIB : 4 * MIB + 1000]

    assert asked["version/N/whereabouts"] == 2
    assert not asked["version/N/content"]
    assert not blocks_of(here)


def test_small_files_on_this_machine_are_not_copied_into_the_cache(here):
    files = {f"f{number:03}": os.urandom(4096) for number in range(100)}
    here.folder("d", files)
    with here.mount() as bucket:
        for name, data in files.items():
            assert (bucket / "d" / name).read_bytes() == data
        (bucket / "saved").mkdir()
        for name, data in files.items():
            (bucket / "saved" / name).write_bytes(data)
        for name, data in files.items():
            assert (bucket / "saved" / name).read_bytes() == data
    assert not blocks_of(here)


def test_an_open_blob_stays_readable_when_its_file_goes(here):
    data = os.urandom(8 * MIB)
    here.folder("d", {"big": data})
    with here.mount() as bucket, (bucket / "d" / "big").open("rb", buffering=0) as file:
        assert file.read(10) == data[:10]
        for blob in (here.service.data / "blobs").glob("??/*"):
            blob.unlink()
        got = bytearray()
        while piece := file.read(MIB):
            got += piece
        assert bytes(got) == data[10:]


@pytest.mark.parametrize(("size", "damage"), [(300 << 10, "flip"), (3 * MIB, "cut")])
def test_a_damaged_blob_on_this_machine_is_an_error_and_never_wrong_bytes(here, size, damage):
    here.folder("d", {"file": os.urandom(size)})
    (blob,) = (here.service.data / "blobs").glob("??/*")
    content = bytearray(blob.read_bytes())
    blob.chmod(0o600)
    if damage == "flip":
        content[size // 2] ^= 1
        blob.write_bytes(content)
    else:
        os.truncate(blob, size - 1)
    with here.mount() as bucket, pytest.raises(OSError, match=r"\[Errno 5\]"):
        (bucket / "d" / "file").read_bytes()


def test_blobs_that_may_not_be_opened_are_read_through_the_service(here):
    data = os.urandom(2 * MIB)
    here.folder("d", {"big": data})
    (blob,) = (here.service.data / "blobs").glob("??/*")
    elsewhere = blob.with_name("elsewhere")
    blob.rename(elsewhere)
    blob.symlink_to(elsewhere)  # another file than the service means: it is not followed
    with here.mount() as bucket:
        assert (bucket / "d" / "big").read_bytes() == data
    assert blocks_of(here)


# --- many small files -------------------------------------------------------------------


def test_an_archive_of_small_files_takes_few_requests(far):
    files = {f"f{number:04}": os.urandom(500 + number) for number in range(400)}
    far.folder("small", files)
    with far.mount() as bucket, far.counted() as asked:
        archive = subprocess.run(
            ["tar", "c", "-C", bucket, "small"], check=True, capture_output=True
        ).stdout
        target = far.root / "out"
        target.mkdir()
        subprocess.run(["tar", "x", "-C", target], input=archive, check=True)

    assert {path.name: path.read_bytes() for path in (target / "small").iterdir()} == files
    assert asked["read"] <= 10
    print("ASKED", asked)
    assert asked["version/N/content"] <= 4
    assert asked["node/N/entry"] <= 4


def test_grep_through_directories_of_small_files_takes_few_requests(far):
    for folder in ("grep1", "grep2", "grep3"):
        far.folder(folder, {f"f{number:03}": b"x\n" * number for number in range(1, 101)})
    far.folder("grep4", {"last": b"needle\n"})
    with far.mount() as bucket, far.counted() as asked:
        found = subprocess.run(
            ["grep", "-rl", "needle", *sorted(bucket.glob("grep*"))],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    assert found == f"{bucket / 'grep4' / 'last'}\n"
    assert asked["read"] + asked["version/N/content"] <= 30


def test_git_status_that_reads_all_files_takes_few_requests(far):
    def git(bucket: Path, *arguments: str) -> str:
        command = ["git", "-C", bucket / "repository", "-c", "user.name=t", "-c", "user.email=t@t"]
        return subprocess.run(
            [*command, *arguments], check=True, capture_output=True, text=True
        ).stdout

    far.folder("repository", {f"f{number:03}": b"x\n" * (number + 1) for number in range(60)})
    with far.mount() as bucket:
        git(bucket, "init", "-q")
        git(bucket, "add", ".")
        git(bucket, "commit", "-qm", "all")
        for path in (bucket / "repository").glob("f*"):
            os.utime(path, (1_000_000_000, 1_000_000_000))  # git looks into what seems changed
    with far.mount() as bucket, far.counted() as asked:
        assert git(bucket, "status", "--porcelain") == ""
    assert asked["read"] >= 1
    assert asked["read"] + asked["version/N/content"] <= 25


def test_a_shuffled_loop_over_small_files_takes_few_requests(far):
    files = {f"f{number:03}": os.urandom(3000) for number in range(300)}
    far.folder("shuffled", files)
    names = list(files)
    random.Random(4).shuffle(names)
    with far.mount() as bucket, far.counted() as asked:
        os.listdir(bucket / "shuffled")
        for name in names:
            assert (bucket / "shuffled" / name).read_bytes() == files[name]
    assert asked["read"] + asked["version/N/content"] <= 30


def test_small_files_that_were_fetched_together_are_there_after_mounting_again(far):
    files = {f"f{number:03}": os.urandom(2000) for number in range(60)}
    far.folder("again", files)
    with far.mount() as bucket:
        for name, data in files.items():
            assert (bucket / "again" / name).read_bytes() == data
    home = far.homes[-1]
    where = ("--endpoint", far.service.address, "--token-file", str(home.path / "token"))
    with home.mounted("m", *where) as path, far.counted() as asked:
        for name, data in files.items():
            assert (path / far.name / "again" / name).read_bytes() == data
    assert not asked["version/N/content"]
    assert not asked["read"]


def test_a_damaged_block_is_fetched_anew_and_the_log_says_so(far):
    far.folder("flipped", {"file": b"a" * 100_000})
    with far.mount("--cache-size", "1G") as bucket:
        assert (bucket / "flipped" / "file").read_bytes() == b"a" * 100_000
    home = far.homes[-1]
    (block,) = [path for path in (home.path / ".cache").rglob("*") if path.is_file()]
    content = bytearray(block.read_bytes())
    content[5000] ^= 1
    block.write_bytes(content)
    where = ("--endpoint", far.service.address, "--token-file", str(home.path / "token"))
    with home.mounted("m", *where) as path:
        assert (path / far.name / "flipped" / "file").read_bytes() == b"a" * 100_000
    assert "is damaged; it was dropped" in home.logs()


# --- many large files -------------------------------------------------------------------


def test_strides_are_fetched_before_they_are_read(far):
    data = os.urandom(24 * MIB)
    far.folder("strided", {"file": data})
    with far.mount() as bucket, (bucket / "strided" / "file").open("rb", buffering=0) as file:

        def read(number: int) -> None:
            offset = number * 2 * MIB
            assert os.pread(file.fileno(), 4096, offset) == data[offset : offset + 4096]

        def requests() -> int:
            return far.asked()["version/N/content"] - before

        before = far.asked()["version/N/content"]
        for number in range(5):
            read(number)
        eventually(lambda: requests() >= 12)  # all that there are
        for number in range(5, 12):
            read(number)
        assert requests() == 12


def test_a_backward_read_takes_a_request_for_some_mib(far):
    data = os.urandom(16 * MIB)
    far.folder("backward", {"file": data})
    step = 64 << 10
    with (
        far.mount() as bucket,
        (bucket / "backward" / "file").open("rb", buffering=0) as file,
        far.counted() as asked,
    ):
        for offset in range(len(data) - step, -1, -step):
            assert os.pread(file.fileno(), step, offset) == data[offset : offset + step]
    assert asked["version/N/content"] <= 10


def test_more_files_than_connections_are_read_at_once_over_a_slow_line(far):
    # In the long form the first dozen takes longer than the patience that the others have;
    # in the short one a virtual clock has shown that (test_reading), and here turns are taken.
    size, rate = scaled(2 * MIB, 3 * MIB), scaled(4 * MIB, MIB)
    contents = [os.urandom(size) for _ in range(scaled(24, 48))]
    far.folder("large", {f"f{number:02}": data for number, data in enumerate(contents)})
    with (
        delayed(far.service.address, 0.0, rate) as link,
        far.mount(address=link.address) as bucket,
        ExitStack() as opened,
        ThreadPoolExecutor(len(contents)) as pool,
        far.counted() as asked,
    ):
        paths = sorted((bucket / "large").iterdir())
        files = [opened.enter_context(path.open("rb")) for path in paths]
        assert list(pool.map(lambda file: file.read(), files)) == contents
    assert asked["version/N/content"] > len(contents)
    # The kernel hides an error by asking once more.
    assert "ERROR" not in far.homes[-1].logs()


# --- what reading leaves ----------------------------------------------------------------


def traces(place: Place) -> tuple[int, int, int]:
    """Return what the last mount holds: bytes of memory, descriptors, and bytes of its cache."""
    (process,) = place.homes[-1].processes()
    status = Path(f"/proc/{process}/status").read_text()
    memory = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10
    cached = sum(path.stat().st_blocks * 512 for path in blocks_of(place))
    return memory, len(os.listdir(f"/proc/{process}/fd")), cached


@pytest.mark.parametrize(
    ("where", "size"),
    [("here", scaled(1 << 30, 100 << 30)), ("far", scaled(512 << 20, 8 << 30))],
)
def test_a_sparse_file_that_is_read_through_leaves_next_to_nothing(where, size, request):
    place = request.getfixturevalue(where)
    folder = place.folder("sparse", {"small": b"x" * 100_000})
    node = place.talk.do(MakeFile(parent=folder.id, name="holes")).node
    place.talk.do(Commit(node=node.id, length=size, whole=True, extents=[], payload=0))
    with place.mount() as bucket:
        assert (bucket / "sparse" / "small").read_bytes() == b"x" * 100_000
        memory, descriptors, cached = traces(place)
        read = 0
        with (bucket / "sparse" / "holes").open("rb", buffering=0) as file:
            while data := file.read(MIB):
                assert data == ZEROS[: len(data)]
                read += len(data)
        assert read == size
        # Whoever keeps a reader or a connection for later does so for a bounded number.
        after = traces(place)
    assert after[0] <= memory + (48 << 20)
    assert after[1] <= descriptors + 16
    assert after[2] <= cached + (size >> 8) + MIB


def test_two_mounts_share_a_small_cache_that_is_cleared_all_the_time(far):
    files = {f"f{number}": os.urandom(MIB + 1000 * number) for number in range(12)}
    far.folder("shared-cache", files)
    directory = far.root / "one-cache"
    options = ("--cache-dir", str(directory), "--cache-size", "8M")
    done = threading.Event()
    wrong: list[str] = []
    reads = Counter[int]()

    def read(number: int, folder: Path) -> None:
        chance = random.Random(number)
        while not done.is_set():
            name = chance.choice(list(files))
            with (folder / name).open("rb") as file:
                # From our cache, not from the kernel's.
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                if file.read() != files[name]:
                    wrong.append(name)
            reads[number] += 1

    with far.mount(*options) as one, far.mount(*options) as other:
        homes = far.homes[-2:]
        with ThreadPoolExecutor(4) as pool:
            readers = [
                pool.submit(read, number, bucket / "shared-cache")
                for number, bucket in enumerate((one, one, other, other))
            ]
            try:
                for _ in range(scaled(3, 100)):
                    homes[0].run("cache", "clear", "--cache-dir", str(directory))
            finally:
                done.set()
            for reader in readers:
                reader.result(SECONDS)
    assert not wrong
    assert len(reads) == 4
    for home in homes:
        assert not re.search("WARNING|ERROR", home.logs())
    assert sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) <= 10 * MIB


# --- names ------------------------------------------------------------------------------


def test_a_long_listing_asks_for_pages_and_for_nothing_else(far):
    names = [f"file-{number:05}" for number in range(5500)]
    far.folder("many", dict.fromkeys(names, b""))
    with far.mount() as bucket:
        os.stat(bucket / "many")
        with far.counted() as asked:
            listed = subprocess.run(["ls", "-l", bucket / "many"], check=True, capture_output=True)
        assert listed.stdout.count(b"\n") == 5501
        assert asked["node/N/entries"] == 3  # of 1,000, 4,000, and the rest
        # One more at most, for the directory itself: if the feed began after it was looked up.
        assert asked["node/N/entry"] == asked.total() - 3 <= 1

        with far.counted() as asked:
            assert sorted(os.listdir(bucket / "many")) == names
            assert not (bucket / "many" / "absent").exists()
        assert not asked.total()


def test_names_that_are_looked_up_one_by_one_are_soon_asked_for_together(far):
    names = [f"file-{number:03}" for number in range(200)]
    far.folder("looked", dict.fromkeys(names, b"x"))
    with far.mount() as bucket:
        os.stat(bucket / "looked")
        with far.counted() as asked:
            for name in names:
                assert (bucket / "looked" / name).stat().st_size == 1
                assert not (bucket / "looked" / f"{name}.lock").exists()
    assert asked["node/N/entry"] <= 4
    assert asked["node/N/entries"] == 1


def test_a_known_directory_shows_what_is_changed_elsewhere(far):
    far.folder("shared", {f"f{number}": b"old" for number in range(10)})
    with far.mount() as one, far.mount() as other:
        assert len(os.listdir(one / "shared")) == 10
        assert not (one / "shared" / "new").exists()

        (other / "shared" / "new").write_bytes(b"made")
        eventually(lambda: (one / "shared" / "new").exists())
        assert (one / "shared" / "new").read_bytes() == b"made"
        (other / "shared" / "f1").unlink()
        (other / "shared" / "f2").rename(other / "shared" / "moved")
        (other / "shared" / "f3").write_bytes(b"a longer text")

        expected = {"f0", "f3", *(f"f{number}" for number in range(4, 10)), "new", "moved"}
        eventually(lambda: set(os.listdir(one / "shared")) == expected)
        eventually(lambda: (one / "shared" / "f3").read_bytes() == b"a longer text")
        assert (one / "shared" / "f3").stat().st_size == 13


def test_own_changes_show_in_a_known_directory(far):
    far.folder("own", {f"f{number}": b"old" for number in range(10)})
    with far.mount() as bucket:
        folder = bucket / "own"
        assert len(os.listdir(folder)) == 10
        (folder / "new").write_bytes(b"12345")
        (folder / "f1").write_bytes(b"longer than before")
        (folder / "f2").rename(folder / "f0")
        (folder / "f3").unlink()
        (folder / "sub").mkdir()
        os.chmod(folder / "f4", 0o600)
        for _ in range(2):
            sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
            assert sizes["new"] == 5
            assert sizes["f1"] == 18
            assert set(sizes) == {"f0", "f1", "f4", "f5", "f6", "f7", "f8", "f9", "new", "sub"}
            assert (folder / "f4").stat().st_mode & 0o777 == 0o600


# --- while others write -----------------------------------------------------------------


def test_each_open_sees_one_whole_version_while_another_mount_replaces_it(far):
    far.folder("whole", dict.fromkeys(REPLACING, _stamped(0)))
    rounds = scaled(15, 400)
    with far.mount() as one, far.mount() as other:
        done = threading.Event()
        wrong: list[str] = []
        seen: dict[str, set[int]] = {name: set() for name in REPLACING}

        def read() -> None:
            while not done.is_set():
                for name in REPLACING:
                    data = _read(one / "whole" / name)
                    if problem := _problem(data, absent=name != "kept", empty=name == "made"):
                        wrong.append(f"{name}: {problem}")
                    elif data:
                        seen[name].add(int(data[:10]))

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            for number in range(1, rounds + 1):
                for name, replace in REPLACING.items():
                    replace(other / "whole" / name, number)
            eventually(lambda: all(rounds in numbers for numbers in seen.values()))
        finally:
            done.set()
            for reader in readers:
                reader.join(SECONDS)
        assert not any(reader.is_alive() for reader in readers)
        assert not wrong


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _problem(data: bytes | None, *, absent: bool, empty: bool = False) -> str:
    """Say what is wrong with what was read, if anything; *absent*, *empty*: may be so."""
    if data is None:
        return "" if absent else "there was none"
    if not data and empty:
        return ""  # made, and not yet saved for the first time
    return "" if _is_whole(data) else _torn(data)


def _over(target: Path, number: int) -> None:
    """Save the content of a number over the old one, in place or by a rename.

    Whoever truncates has an empty draft on their own mount: others have the old version or
    the new one, and a name that always stands.
    """
    if number % 2:
        target.write_bytes(_stamped(number))
    else:
        _renamed_to(target, number)


def _away_and_back(target: Path, number: int) -> None:
    """Take the name away, and rename to it what is saved already: absent, but never empty."""
    if number % 2:
        target.unlink()
    else:
        target.rename(target.with_name("away"))
    _renamed_to(target, number)


def _anew(target: Path, number: int) -> None:
    """Delete, and make the file where it was: it is absent, then empty, then saved."""
    target.unlink()
    target.write_bytes(_stamped(number))


def _renamed_to(target: Path, number: int) -> None:
    target.with_name("tmp").write_bytes(_stamped(number))
    target.with_name("tmp").rename(target)


REPLACING = {"kept": _over, "remade": _away_and_back, "made": _anew}


def _stamped(number: int) -> bytes:
    body = b"%010d" % number * (20_000 + 777 * (number % 7))
    return body + hashlib.sha256(body).digest()


def _torn(data: bytes) -> str:
    """Say in what way *data* is not one version."""
    if len(data) < 10:
        return f"{len(data)} bytes"
    number = int(data[:10])
    expected = _stamped(number)
    runs = sorted({data[at : at + 10] for at in range(0, len(data) - 42, 10)})
    return f"{number}: {len(data)} bytes of {len(expected)}, of {runs[:4]}"


def _is_whole(data: bytes) -> bool:
    return hashlib.sha256(data[:-32]).digest() == data[-32:]


def test_an_append_goes_to_the_end_of_the_newest_version_though_an_older_one_is_open(far):
    far.folder("append", {"file": b"first\n"})
    with far.mount() as one, far.mount() as other, (one / "append" / "file").open("rb") as older:
        assert older.read() == b"first\n"
        with (other / "append" / "file").open("ab") as file:
            file.write(b"a second line, longer than the first\n")
        eventually(lambda: (one / "append" / "file").read_bytes().endswith(b"the first\n"))
        with (one / "append" / "file").open("ab") as file:
            file.write(b"third\n")

        text = b"first\na second line, longer than the first\nthird\n"
        eventually(lambda: (other / "append" / "file").read_bytes() == text)
        assert (one / "append" / "file").read_bytes() == text
        older.seek(0)
        assert older.read(6) == b"first\n"


def test_nothing_hangs_while_many_read_and_another_mount_changes_what_they_read(far):
    count = 64
    names = [f"f{number}" for number in range(8)]
    replaced, taken_away = names[:4], names[4:]
    far.folder("crowd", dict.fromkeys(names, _stamped(0)))
    with far.mount() as one, far.mount() as other:
        until = time.monotonic() + scaled(8, 600)
        failures: list[str] = []
        reads = Counter[int]()

        def read(reader: int) -> None:
            folder, name = one / "crowd", names[reader % 8]
            while time.monotonic() < until:
                data = _read(folder / name)
                # All are whole before they have their names: empty is wrong too.
                if problem := _problem(data, absent=name in taken_away):
                    failures.append(f"{name}: {problem}")
                reads[reader] += data is not None
                if not set(replaced).issubset(os.listdir(folder)):
                    failures.append("a name that always stands was not listed")

        readers = [threading.Thread(target=read, args=(number,)) for number in range(count)]
        for reader in readers:
            reader.start()
        number = 0
        while time.monotonic() < until:
            number += 1
            name = names[number % 8]
            change = _away_and_back if name in taken_away else _renamed_to
            change(other / "crowd" / name, number // 8)
        for reader in readers:
            reader.join(2 * SECONDS)
        assert not [reader for reader in readers if reader.is_alive()]
        assert not failures
        assert all(reads[reader] for reader in range(count))


def test_what_changes_while_the_feed_is_lost_is_seen_when_it_is_back(far):
    far.folder("gap", {"file": b"before", "gone": b"x"})
    with delayed(far.service.address, 0.0) as link, far.mount(address=link.address) as bucket:
        folder = bucket / "gap"
        assert (folder / "file").read_bytes() == b"before"
        assert (folder / "gone").exists()
        assert not (folder / "new").exists()
        inside = os.open(folder, os.O_PATH)  # as a shell has its working directory
        link.cut()
        parent = far.talk.run(calls.path(f"{far.name}/gap")).node
        node = far.talk.run(calls.entry(parent.id, "file")).node
        far.talk.do(_whole(node.id, b"after"), b"after")
        far.talk.file(parent, "new", b"made")
        time.sleep(1)  # the loss is noticed
        shown = os.readlink(f"/proc/self/fd/{inside}")
        os.close(inside)
        assert shown == str(folder)
        link.mend()

        eventually(lambda: (folder / "file").read_bytes() == b"after")
        eventually(lambda: (folder / "new").exists())
        assert set(os.listdir(folder)) == {"file", "gone", "new"}
