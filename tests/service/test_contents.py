"""Bytes in and out of a real service."""

import hashlib
import json
import os
import socket
from pathlib import Path

import httpx
import pytest
from support.services import RunningService, running_service
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol import endpoints, frames
from rengafs.protocol.errors import (
    BodyMismatch,
    Corrupt,
    NotAuthenticated,
    NotFound,
    ReadOnly,
    TooLarge,
    WrongGrant,
)
from rengafs.protocol.operations import Apply, Commit, MakeFile
from rengafs.protocol.records import Read, ReadResult


def test_a_commit_of_changed_ranges_keeps_the_rest_of_its_base(talk: Talk) -> None:
    bucket = talk.bucket()
    old = os.urandom(3_000_000)
    file = talk.file(bucket, "f")
    base = talk.save(file, old)

    commit = Commit(
        node=file.id, base=base.id, length=3_100_000, extents=[(5, 3), (2_000_000, 4)], payload=7
    )
    version = talk.do(commit, b"abcdefg").version

    wanted = bytearray(old + bytes(100_000))
    wanted[5:8], wanted[2_000_000:2_000_004] = b"abc", b"defg"
    assert version is not None
    assert version.sha256 == hashlib.sha256(wanted).hexdigest()
    assert talk.content(version.id) == wanted
    assert talk.content(base.id) == old


def test_a_large_payload_is_streamed(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "f")
    pieces = [os.urandom(100_000) for _ in range(200)]
    size = sum(map(len, pieces))
    commit = Commit(node=file.id, length=size, extents=[(0, size)], payload=size)

    outcome = talk.run(calls.commit(commit, lambda: iter(pieces)))

    assert outcome.version is not None
    assert talk.content(outcome.version.id) == b"".join(pieces)


def test_many_commits_come_in_one_request(talk: Talk) -> None:
    bucket = talk.bucket()
    files = [talk.file(bucket, f"f{n}") for n in range(20)]
    operations = [
        (Commit(node=file.id, length=n + 1, extents=[(0, n + 1)], payload=n + 1), b"x" * (n + 1))
        for n, file in enumerate(files)
    ]

    outcomes = talk.run(calls.apply(operations))

    assert [outcome.version.size for outcome in outcomes if outcome.version] == [*range(1, 21)]
    assert talk.content(outcomes[7].version.id) == b"x" * 8  # type: ignore[union-attr]


@pytest.mark.parametrize("payload", [b"short", b"another"])
def test_a_payload_with_another_hash_is_refused(talk: Talk, payload: bytes) -> None:
    file = talk.file(talk.bucket(), "f")
    size = len(payload)
    commit = Commit(
        node=file.id, length=size, extents=[(0, size)], payload=size, payload_sha256="00" * 32
    )

    with pytest.raises(BodyMismatch):
        talk.do(commit, payload)

    assert talk.run(calls.node(file.id)).version is None


def test_a_failed_operation_does_not_spoil_the_frames_behind_it(talk: Talk) -> None:
    bucket = talk.bucket()
    file = talk.file(bucket, "f")
    outcomes = talk.run(
        calls.apply(
            [
                (Commit(node=999_999, length=9, extents=[(0, 9)], payload=9), b'{"op":"x"'),
                MakeFile(parent=bucket.id, name="g"),
                (Commit(node=file.id, length=1, extents=[(0, 1)], payload=1), b"\n"),
            ]
        )
    )

    codes = [outcome.problem.code if outcome.problem else "" for outcome in outcomes]
    assert codes == ["not_found", "skipped", "skipped"]


def test_blobs_that_no_version_needs_are_not_kept(talk: Talk) -> None:
    bucket = talk.bucket()
    file = talk.file(bucket, "f")
    base = talk.save(file, b"one")
    talk.save(file, b"two")
    before = blobs_of(talk)

    talk.save(file, b"two")  # the same again
    with pytest.raises(Exception, match="is at version"):
        talk.save(file, b"new", base=base.id, only_if_base=True)

    assert blobs_of(talk) == before


def test_ranges(talk: Talk, http: httpx.Client) -> None:
    file = talk.file(talk.bucket(), "f")
    version = talk.save(file, b"0123456789")
    url = f"{endpoints.FS}/version/{version.id}/content"

    def get(header: str) -> tuple[int, bytes, str]:
        reply = http.get(url, headers={"range": header})
        return reply.status_code, reply.content, reply.headers.get("content-range", "")

    assert get("bytes=2-4") == (206, b"234", "bytes 2-4/10")
    assert get("bytes=8-") == (206, b"89", "bytes 8-9/10")
    assert get("bytes=-3") == (206, b"789", "bytes 7-9/10")
    assert get("bytes=5-500") == (206, b"56789", "bytes 5-9/10")
    assert get("bytes=-50") == (206, b"0123456789", "bytes 0-9/10")
    for nonsense in ("bytes=4-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-"):
        assert get(nonsense) == (200, b"0123456789", "")
    reply = http.get(url, headers={"range": "bytes=10-"})
    assert reply.status_code == 416
    assert reply.json()["code"] == "range_not_satisfiable"

    head = http.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == "10"
    assert head.headers["etag"] == f'"{version.sha256}"'
    assert head.headers["rengafs-sha256"] == version.sha256


def test_many_reads_in_one_request_each_with_its_own_outcome(
    talk: Talk, http: httpx.Client
) -> None:
    bucket = talk.bucket()
    one = talk.save(talk.file(bucket, "1"), b"hello")
    two = talk.save(talk.file(bucket, "2"), b"")
    reads = [
        Read(version=one.id, offset=1, length=3),
        Read(version=two.id),
        Read(version=424242),
        Read(version=one.id, offset=99),
        Read(version=one.id, offset=-1),
        Read(version=one.id),
    ]

    reply = http.send(_request(http, reads))

    found: list[tuple[ReadResult, bytes]] = []
    parser = frames.Parser()
    for item in parser.feed(reply.content):
        if isinstance(item, frames.Line):
            found.append((ReadResult(**json.loads(item.json)), b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + item.data)
    parser.finish()
    assert [data for _, data in found] == [b"ell", b"", b"", b"", b"", b"hello"]
    codes = [result.problem["code"] if result.problem else "" for result, _ in found]
    assert codes == ["", "", "not_found", "", "bad_request", ""]
    assert found[0][0].size == 5
    assert found[0][0].sha256 == one.sha256


def test_of_many_reads_those_of_damaged_blobs_fail_and_no_others(talk: Talk) -> None:
    bucket = talk.bucket()
    contents = [os.urandom(1000) for _ in range(200)]
    versions, blobs = [], []
    for number, data in enumerate(contents):
        before = blobs_of(talk)
        versions.append(talk.save(talk.file(bucket, str(number)), data))
        blobs.append((blobs_of(talk) - before).pop())
    for blob, spoil in ((blobs[3], b"x"), (blobs[70], b""), (blobs[199], None)):
        blob.chmod(0o600)
        if spoil is None:
            blob.unlink()
        else:
            blob.write_bytes(spoil + blob.read_bytes()[1:])

    found = talk.run(calls.read_many([Read(version=version.id) for version in versions]))

    failed = [number for number, (result, _) in enumerate(found) if result.problem]
    assert failed == [3, 70, 199]
    assert all(
        data == contents[number] for number, (_, data) in enumerate(found) if number not in failed
    )


def test_reads_are_bounded_together(talk: Talk, http: httpx.Client) -> None:
    version = talk.save(talk.file(talk.bucket(), "f"), bytes(20 << 20))

    reply = http.send(_request(http, [Read(version=version.id)] * 4))

    assert reply.status_code == TooLarge.status


def _request(http: httpx.Client, reads: list[Read]) -> httpx.Request:
    request = endpoints.READ.request(body=reads)
    return http.build_request(
        request.method, request.path, headers=dict(request.headers), content=request.body
    )


# --- grants -------------------------------------------------------------------------------


def test_a_grant_writes_and_reads_the_file_it_is_for(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "f")
    write = talk.run(calls.authorize_write(file.id))

    version = talk.run(calls.io_write(iter([b"a"] * 3000), token=write))
    read = talk.run(calls.authorize_read(file.id))
    talk.run(calls.io_write(b"newer", token=write))

    assert version.size == 3000
    assert talk.read(calls.io_read(token=read)) == b"a" * 3000  # the newest when it was asked for
    assert talk.read(calls.io_read(token=read, start=1, stop=3)) == b"aa"


def test_a_file_never_saved_reads_as_empty(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "f")

    token = talk.run(calls.authorize_read(file.id))

    assert talk.read(calls.io_read(token=token)) == b""


def test_one_version_can_be_read_and_not_written(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "f")
    first = talk.save(file, b"one")
    talk.save(file, b"two")

    token = talk.run(calls.authorize_read(first.id))

    assert talk.read(calls.io_read(token=token)) == b"one"
    with pytest.raises(NotFound):
        talk.run(calls.authorize_write(first.id))


def test_tokens_are_good_for_what_they_say_only(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "f", b"one")
    read = talk.run(calls.authorize_read(file.id))
    write = talk.run(calls.authorize_write(file.id))

    with pytest.raises(WrongGrant):
        talk.read(calls.io_read(token=write))
    with pytest.raises(WrongGrant):
        talk.run(calls.io_write(b"x", token=read))
    with pytest.raises(WrongGrant):
        talk.read(calls.io_read(token=talk.service.token))
    with pytest.raises(NotAuthenticated):
        talk.read(calls.io_read(token=read[:-2]))
    with talking(talk.service, read) as other, pytest.raises(WrongGrant):
        other.run(calls.service())
    with talking(talk.service, "rnga_wrong") as other, pytest.raises(NotAuthenticated):
        other.run(calls.service())


def test_a_read_only_token_reads_only(talk: Talk) -> None:
    bucket = talk.bucket()
    file = talk.file(bucket, "f", b"one")
    with talking(
        talk.service, talk.service.token_for("eve", read_only=True, everywhere=True)
    ) as eve:
        assert eve.versions(bucket, "f") == [b"one"]
        for flow in (
            calls.apply_one(MakeFile(parent=bucket.id, name="g")),
            calls.create_bucket("b", ""),
            calls.create_file(bucket.id, "g"),
            calls.authorize_write(file.id),
            calls.copy_file(file.id, "g"),
            calls.put_file(file.id, endpoints.Metadata(file_name="g")),
            calls.put_bucket(bucket.id, endpoints.Metadata(file_name="g")),
        ):
            with pytest.raises(ReadOnly):
                eve.run(flow)  # type: ignore[arg-type]


def blobs_of(talk: Talk) -> set[Path]:
    return set((talk.service.data / "blobs").glob("??/*"))


# --- damage -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_wrong_bytes_are_never_given(talk: Talk, size: int) -> None:
    file = talk.file(talk.bucket(), "f")
    before = blobs_of(talk)
    version = talk.save(file, os.urandom(size))
    (blob,) = blobs_of(talk) - before
    blob.chmod(0o600)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)

    with pytest.raises(Exception) as raised:  # noqa: PT011 - a cut stream, where it began
        talk.content(version.id)

    assert isinstance(raised.value, Corrupt) == (size == 1000)


def test_a_missing_blob_is_told_as_such(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "f")
    before = blobs_of(talk)
    version = talk.save(file, os.urandom(100))
    (blob,) = blobs_of(talk) - before
    blob.unlink()

    with pytest.raises(Corrupt):
        talk.content(version.id)


def test_a_body_that_breaks_off_stores_nothing(service: RunningService, talk: Talk) -> None:
    bucket = talk.bucket()
    file = talk.file(bucket, "f")
    token = talk.run(calls.authorize_write(file.id))

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(service.address.removeprefix("unix:"))
        head = f"POST {endpoints.STORAGE}/io/write HTTP/1.1\r\nhost: x\r\n"
        head += f"authorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n"
        sock.sendall(head.encode() + b"x" * 50)
    commit = frames.encode(Apply()) + frames.encode(
        Commit(node=file.id, length=100, extents=[(0, 100)], payload=100), b"x" * 50
    )
    (outcome,) = talk.run(calls._apply(commit, 1))
    assert outcome.problem is not None
    assert outcome.problem.code == "body_mismatch"

    talk.save(file, b"good")  # the service goes on
    assert talk.versions(bucket, "f") == [b"good"]


def test_a_reader_that_goes_away_is_no_trouble() -> None:
    with running_service() as service, talking(service) as talk:
        version = talk.save(talk.file(talk.bucket(), "f"), bytes(64 << 20))
        for _ in range(5):
            with talk.driver.stream(calls.content(version.id)) as pieces:
                next(pieces)
            with talk.driver.stream(calls.feed(0)) as pieces:
                next(pieces)
        assert talk.content(version.id, 0, 1) == b"\0"
        assert service.stop() == 0

        log = service.log.read_text()

    assert "Traceback" not in log
    assert "ERROR" not in log
