"""Several processes on one socket: they serve as one, die alone and end together."""

import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from support.services import RunningService, running_service, start
from support.talking import Talk, following, talking

from rengafs.client import calls
from rengafs.protocol.errors import SetupError
from rengafs.protocol.operations import MakeFile
from rengafs.service.run import ServeOptions, serve

WORKERS = 2


def children(process: int) -> set[int]:
    """Return the processes that serve."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return {int(one) for one in found if b"spawn_main" in _words(int(one))}


def _words(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def metric(service: RunningService, name: str) -> float:
    """Return the sum of a metric, as whichever worker tells it."""
    transport = httpx.HTTPTransport(uds=service.endpoint.socket)
    with httpx.Client(transport=transport, base_url="http://x", timeout=240) as http:
        text = http.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_workers_share_the_load_and_count_together() -> None:
    with running_service(workers=WORKERS) as service, talking(service) as talk:
        bucket = talk.bucket()

        def save(number: int) -> None:
            with talking(service) as mine:
                file = mine.file(bucket, f"f{number}")
                for turn in range(10):
                    mine.save(file, b"%d of %d" % (turn, number))

        threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert len(children(service.process.pid)) == WORKERS
        for number in range(6):
            assert talk.versions(bucket, f"f{number}") == [
                b"%d of %d" % (turn, number) for turn in range(10)
            ]
        applied = 'rengafs_requests_total{endpoint="apply"'
        assert {metric(service, applied) for _ in range(5)} == {1 + 6 * 11}
        assert service.stop() == 0
        assert " status=5" not in service.log.read_text()


def test_a_worker_that_dies_is_replaced_and_the_others_go_on() -> None:
    with running_service(workers=WORKERS) as service:
        (first, second) = children(service.process.pid)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: len(children(service.process.pid) - {first}) == WORKERS)
        (third,) = children(service.process.pid) - {second}
        wait_for(lambda: _accepts(third))
        os.kill(second, signal.SIGKILL)
        with talking(service) as talk:
            talk.file(talk.bucket(), "f", b"one")
        assert metric(service, "rengafs_last_change") >= 3
        assert service.stop() == 0


def _accepts(process: int) -> bool:
    """Whether a process has got as far as its event loop."""
    try:
        links = [os.readlink(one) for one in Path(f"/proc/{process}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return "anon_inode:[eventpoll]" in links


def test_the_changes_of_one_worker_reach_the_feeds_of_all() -> None:
    with running_service(workers=WORKERS) as service, talking(service) as talk:
        bucket = talk.bucket()
        since = talk.run(calls.service()).change
        heard: list[int] = []

        def follow() -> None:
            with talking(service) as mine, following(mine, since) as records:
                heard.append([next(records), next(records)][1].number)  # type: ignore[union-attr]

        threads = [threading.Thread(target=follow) for _ in range(6)]
        for thread in threads:
            thread.start()
        change = talk.do(MakeFile(parent=bucket.id, name="x")).change
        for thread in threads:
            thread.join(30)
        assert heard == [change] * 6


def test_workers_do_not_outlive_their_starter() -> None:
    with running_service(workers=WORKERS) as service:
        orphans = children(service.process.pid)
        service.kill()
        wait_for(lambda: not any(b"spawn_main" in _words(one) for one in orphans))


def test_a_stop_finishes_what_is_under_way_in_each(talk_of_two: Talk) -> None:
    service = talk_of_two.service
    bucket = talk_of_two.bucket()
    begun = threading.Barrier(5)
    go_on = threading.Event()
    saved: list[bytes] = []

    def save(number: int) -> None:
        with talking(service) as talk:
            file = talk.file(bucket, f"f{number}")
            token = talk.run(calls.authorize_write(file.id))

            def body():  # type: ignore[no-untyped-def]
                yield b"a" * 100_000
                begun.wait(120)
                assert go_on.wait(120)
                yield b"b"

            saved.append(talk.run(calls.io_write(body(), token=token)).sha256.encode())

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begun.wait(120)
    service.process.terminate()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert service.process.wait(120) == 0
    assert len(saved) == 4


@pytest.fixture
def talk_of_two():  # type: ignore[no-untyped-def]
    with running_service(workers=WORKERS) as service, talking(service) as talk:
        yield talk


def test_what_keeps_all_from_starting_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = start("127.0.0.1:0", tmp_path / "file", tmp_path / "log", workers=WORKERS)
    out, _ = process.communicate(timeout=240)

    assert process.returncode == 1
    assert out.startswith(b"SetupError: ")
    assert out.count(b"\n") == 1


def test_a_worker_that_can_not_begin_ends_the_start(tmp_path: Path) -> None:
    """A catalog that breaks between the starter's look at it and the workers'."""
    data = tmp_path / "data"
    with running_service(data) as service:
        service.stop()
    program = (
        "import sys; from pathlib import Path; from rengafs.service import run, workers\n"
        "real = run._open_once\n"
        "def broken(options):\n"
        "    real(options); (options.data / 'catalog.sqlite').write_bytes(b'x' * 8192)\n"
        "run._open_once = broken\n"
        "try:\n"
        "    run.serve(run.ServeOptions('127.0.0.1:0', Path(sys.argv[1]), workers=2))\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    for leftover in ("catalog.sqlite-wal", "catalog.sqlite-shm"):
        (data / leftover).unlink(missing_ok=True)
    import sys

    done = subprocess.run(
        [sys.executable, "-c", program, str(data)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.stdout.startswith("SetupError the catalog is damaged"), done


def test_an_embedded_service_has_one_worker(tmp_path: Path) -> None:
    options = ServeOptions(
        "127.0.0.1:0", tmp_path / "data", users_lock=tmp_path / "lock", workers=2
    )
    with pytest.raises(SetupError, match="one worker"):
        serve(options)


def test_sqlite_is_in_the_mode_that_processes_can_share(tmp_path: Path) -> None:
    with running_service(tmp_path / "data", workers=WORKERS) as service:
        connection = sqlite3.connect(service.data / "catalog.sqlite")
        mode = connection.execute("PRAGMA journal_mode").fetchone()
        connection.close()
    assert mode == ("wal",)
