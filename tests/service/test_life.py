"""Starting, stopping, crashing; a full disk; an embedded service that leaves."""

import fcntl
import os
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.services import running_service, start
from support.talking import talking

from rengafs.client import calls
from rengafs.protocol.errors import NoSpace, RengafsError, SetupError
from rengafs.protocol.operations import Commit, MakeSpecial
from rengafs.protocol.records import Kind
from rengafs.service.run import ServeOptions, serve
from rengafs.service.tokens import create_token, list_tokens, revoke_token


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="rengafs-test-") as directory:
        yield Path(directory)


def refused(options: ServeOptions) -> str:
    with pytest.raises(SetupError) as raised:
        serve(options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_unix_socket_is_its_users_only_and_goes_with_the_service(short: Path) -> None:
    path = short / "s"
    with running_service(listen=f"unix:{path}") as service:
        assert service.address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert service.stop() == 0
    assert not path.exists()


def test_a_stale_socket_is_replaced_and_a_live_one_not(short: Path) -> None:
    path = short / "s"
    with running_service(listen=f"unix:{path}") as service:
        assert "listens" in refused(ServeOptions(f"unix:{path}", short / "other"))
        service.kill()
        assert path.exists()
    with running_service(listen=f"unix:{path}") as service, talking(service) as talk:
        talk.run(calls.service())


def test_what_is_no_socket_is_left_alone(short: Path) -> None:
    (short / "s").write_text("thesis")

    assert "no socket" in refused(ServeOptions(f"unix:{short / 's'}", short / "data"))

    assert (short / "s").read_text() == "thesis"


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "can't listen" in refused(ServeOptions(f"127.0.0.1:{port}", tmp_path / "data"))


@pytest.mark.parametrize("listen", ["", "8080", "host:", ":80", "127.0.0.1:x", "1.2.3.4.5:80"])
def test_an_address_that_is_none_is_told(tmp_path: Path, listen: str) -> None:
    refused(ServeOptions(listen, tmp_path / "data"))


def test_clear_text_leaves_this_machine_only_if_it_is_said(tmp_path: Path) -> None:
    assert "--insecure" in refused(ServeOptions("0.0.0.0:0", tmp_path / "data"))


def test_a_data_directory_of_something_else_is_refused(short: Path) -> None:
    (short / "data").mkdir()
    (short / "data" / "thesis.txt").write_text("dear")
    (short / "file").touch()

    assert "not rengafs'" in refused(ServeOptions(f"unix:{short / 's'}", short / "data"))
    refused(ServeOptions(f"unix:{short / 's'}", short / "file"))
    refused(ServeOptions(f"unix:{short / 's'}", short / "file" / "data"))

    assert not (short / "s").exists()


def test_blobs_of_another_catalog_are_refused(short: Path) -> None:
    with running_service(short / "data") as service:
        service.stop()
    for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
        (short / "data" / name).unlink(missing_ok=True)

    assert "another catalog" in refused(ServeOptions(f"unix:{short / 's'}", short / "data"))


def test_tokens_are_listed_and_revoked_without_a_service(tmp_path: Path) -> None:
    options = ServeOptions("", tmp_path / "data")
    with running_service(options.data, token="none yet") as service:
        service.stop()
    token = create_token(options, "ada", read_only=True)

    (listing,) = list_tokens(options)
    assert token.startswith("rnga_")
    assert (listing.name, listing.read_only, listing.revoked_ms) == ("ada", True, None)

    assert revoke_token(options, "ada") == 1
    assert list_tokens(options)[0].revoked_ms is not None
    with pytest.raises(SetupError):
        create_token(options, "")


def test_what_was_answered_survives_a_crash_and_the_rest_is_whole_or_absent(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    answered: list[tuple[int, bytes]] = []
    with running_service(data) as service, talking(service, patience_seconds=3) as talk:
        bucket = talk.bucket()
        files = [talk.file(bucket, f"f{n}") for n in range(4)]
        enough = threading.Event()

        def save(number: int) -> None:
            content = os.urandom(300_000)
            for _ in range(1000):
                content = content[1:] + content[:1]
                commit = Commit(
                    node=files[number].id,
                    length=len(content),
                    extents=[(0, len(content))],
                    payload=len(content),
                )
                try:
                    outcome = talk.do(commit, content)
                except RengafsError:
                    return  # the crash
                assert outcome.version is not None
                answered.append((outcome.version.id, content))
                if len(answered) > 20:
                    enough.set()

        threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(120)
        service.kill()
        for thread in threads:
            thread.join(60)
        token = service.token

    with running_service(data, token=token) as service, talking(service) as talk:
        for version, content in answered:
            assert talk.content(version) == content
        for number in range(4):
            for content in talk.versions(bucket, f"f{number}"):
                assert len(content) == 300_000
        talk.save(files[0], b"and on")


def test_a_full_disk_is_told_and_room_heals_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=True)
    try:
        ballast = disk / "ballast"
        with running_service(disk / "data") as service, talking(service) as talk:
            bucket = talk.bucket()
            file = talk.file(bucket, "f", b"one")
            with pytest.raises(NoSpace):
                talk.save(file, os.urandom(20 << 20))

            with pytest.raises(OSError, match="No space"):
                ballast.write_bytes(bytes(20 << 20))
            many = [
                MakeSpecial(parent=bucket.id, name=f"x{number}", kind=Kind.FIFO)
                for number in range(5000)
            ]
            with pytest.raises(NoSpace):
                talk.run(calls.apply(many))
            assert talk.versions(bucket, "f") == [b"one"]

            ballast.unlink()
            talk.save(file, b"two")
            assert talk.versions(bucket, "f") == [b"one", b"two"]
            usage = talk.run(calls.usage())
            assert usage.capacity_bytes == 12 << 20
            assert usage.free_bytes is not None
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_an_embedded_service_leaves_after_its_last_user(short: Path) -> None:
    lock = short / "users"
    held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        with running_service(listen=f"unix:{short / 's'}", users_lock=lock) as service:
            with pytest.raises(subprocess.TimeoutExpired):
                service.process.wait(7)  # longer than it waits for its first user
            fcntl.flock(held, fcntl.LOCK_UN)
            assert service.process.wait(120) == 0
            assert not (short / "s").exists()
    finally:
        os.close(held)


def test_a_request_under_way_is_finished_before_the_end(short: Path) -> None:
    with running_service() as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        size = 2_000_000
        commit = Commit(node=file.id, length=size, extents=[(0, size)], payload=size)
        half = threading.Event()
        go_on = threading.Event()

        def payload() -> Iterator[bytes]:
            yield bytes(size // 2)
            half.set()
            assert go_on.wait(120)
            yield bytes(size // 2)

        outcomes: list[object] = []
        thread = threading.Thread(
            target=lambda: outcomes.append(talk.run(calls.commit(commit, payload)))
        )
        thread.start()
        assert half.wait(120)
        service.process.terminate()
        _wait_refused(service.address)
        go_on.set()
        thread.join(30)

        assert service.process.wait(120) == 0
        assert outcomes


def _wait_refused(address: str) -> None:
    """Wait until the service takes no more connections."""
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(address.removeprefix("unix:"))
            except OSError:
                return
        threading.Event().wait(0.01)
    raise AssertionError("the service still takes connections")


def test_a_start_that_fails_prints_one_line(short: Path) -> None:
    (short / "file").touch()
    process = start(f"unix:{short / 's'}", short / "file", short / "log")
    out, _ = process.communicate(timeout=240)

    assert process.returncode == 1
    assert out.startswith(b"SetupError: ")
    assert out.count(b"\n") == 1
