"""The blocking SDK against a real service."""

import datetime as dt
import gc
import io
import os
import threading
from collections.abc import Iterator

import pytest
from support.faulty import answer, cut, faulty
from support.services import RunningService, running_service

import rengafs
from rengafs.client.sdk.client import Bucket, Client, File
from rengafs.protocol.errors import (
    InvalidFileOperation,
    NameTooLong,
    NotAuthenticated,
    NotFound,
    RengafsError,
    UnknownBackend,
    Unreachable,
)


@pytest.fixture
def client(service: RunningService) -> Iterator[Client]:
    with rengafs.Client(service.address, token=service.token) as made:
        yield made


@pytest.fixture
def bucket(client: Client) -> Bucket:
    return client.buckets.create(name="bucket")


@pytest.fixture
def file(bucket: Bucket) -> File:
    return bucket.files.create("dir/file.txt")


def contents(file: File) -> list[bytes]:
    return [version.open().read() for version in file.versions]


# --- buckets --------------------------------------------------------------------------


def test_backends_are_listed(client: Client):
    assert client.buckets.backends == ["local"]


def test_a_created_bucket_is_known_listed_and_found(client: Client):
    made = client.buckets.create(name="data")

    assert (made.name, made.backend) == ("data", "local")
    assert made in client.buckets
    assert client.buckets[made.id] == made
    assert client.buckets[made.id].name == "data"


def test_a_bucket_needs_no_name(client: Client):
    made = client.buckets.create()

    assert made.name
    assert client.buckets[made.id].name == made.name


def test_two_buckets_may_bear_one_name(client: Client):
    one, other = client.buckets.create("twin"), client.buckets.create("twin")

    assert one != other
    assert client.buckets[one.id].name == client.buckets[other.id].name == "twin"


def test_a_bucket_is_renamed_by_assigning_its_name(client: Client, bucket: Bucket):
    bucket.name = "other"

    assert bucket.name == "other"
    assert client.buckets[bucket.id].name == "other"


def test_keywords_of_other_releases_are_taken(client: Client):
    assert client.buckets.create("b", "local", labels=["x"], description="unknown").id


def test_an_unknown_backend_is_refused(client: Client):
    with pytest.raises(UnknownBackend, match="choose of: local"):
        client.buckets.create("b", backend="tape")


# --- files ----------------------------------------------------------------------------


def test_a_created_file_is_empty_known_listed_and_found(bucket: Bucket):
    made = bucket.files.create("dir/file")

    assert made.filename == "dir/file"
    assert made.open().read() == b""
    assert made in bucket.files
    assert bucket.files.list() == [made]
    assert bucket.files[made.id].filename == "dir/file"


def test_a_file_needs_no_name(bucket: Bucket):
    made = bucket.files.create()

    assert made.filename
    assert bucket.files[made.id].filename == made.filename


def test_a_file_is_renamed_by_assigning_its_filename(bucket: Bucket, file: File):
    file.filename = "elsewhere/new.txt"

    assert file.filename == "elsewhere/new.txt"
    assert [each.filename for each in bucket.files] == ["elsewhere/new.txt"]


def test_a_failed_rename_leaves_the_name_known(file: File):
    with pytest.raises(NameTooLong):
        file.filename = "x" * 5000

    assert file.filename == "dir/file.txt"


def test_access_tokens_are_the_files_own_or_else_the_clients(
    bucket: Bucket, file: File, service: RunningService
):
    assert file.access_token != service.token
    assert bucket.files[file.id].access_token == service.token


def test_a_clone_has_the_content_and_a_history_of_its_own(bucket: Bucket, file: File):
    file.open("w").write(b"one")
    clone = file.clone("copy.txt")
    clone.open("w").write(b"two")

    assert (clone.filename, clone.id != file.id) == ("copy.txt", True)
    assert contents(clone) == [b"two", b"one"]
    assert contents(file) == [b"one"]


def test_a_clone_without_a_name_stands_beside_its_original(bucket: Bucket, file: File):
    clone = file.clone()

    assert bucket.files[clone.id].filename == clone.filename == "dir/clone_file.txt"


# --- reading and writing --------------------------------------------------------------


def test_a_new_file_is_opened_to_be_written(bucket: Bucket):
    with bucket.files.open("hello") as handle:
        handle.write(b"hello world")

    assert (handle.can_write, handle.can_read) == (True, False)
    assert bucket.files[handle.id].open("r").read() == b"hello world"


def test_a_write_without_a_block_is_saved_when_it_returns(file: File):
    file.open("w").write(b"hello")

    assert contents(file) == [b"hello"]


def test_what_a_handle_writes_is_one_version(file: File):
    handle = file.open("w")
    for piece in b"one ", "two ", io.BytesIO(b"three "), [b"four ", b"five"]:
        handle.write(piece)

    assert contents(file) == [b"one two three four five"]


def test_a_block_is_one_version_saved_at_its_end(file: File):
    with file.open("w") as handle:
        assert handle.write(b"one ") == 4
        before = contents(file)
        handle.write(b"two")

    assert before == []
    assert contents(file) == [b"one two"]


def test_a_block_may_flush_and_is_still_one_version(file: File):
    with file.open("w") as handle:
        handle.write(b"one ")
        handle.flush()
        between = contents(file)
        handle.write(b"two")

    assert between == [b"one "]
    assert contents(file) == [b"one two"]


def test_a_block_that_fails_saves_nothing(file: File):
    def failing() -> None:
        with file.open("w") as handle:
            handle.write(b"half")
            raise LookupError

    file.open("w").write(b"before")
    with pytest.raises(LookupError):
        failing()

    assert contents(file) == [b"before"]


def test_a_source_that_breaks_adds_nothing_of_it(file: File):
    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise OSError("broken")

    with file.open("w") as handle:
        handle.write(b"whole ")
        with pytest.raises(OSError, match="broken"):
            handle.write(breaking())
        handle.write(b"again")

    assert contents(file) == [b"whole again"]


def test_writing_nothing_empties_a_file_and_not_writing_leaves_it(file: File):
    file.open("w").write(b"full")
    with file.open("w"):
        pass
    left = file.open().read()
    file.open("w").write(b"")

    assert left == b"full"
    assert contents(file) == [b"", b"full"]


def test_the_same_bytes_again_make_no_version(file: File):
    file.open("w").write(b"same")
    file.open("w").write(b"same")

    assert contents(file) == [b"same"]


def test_large_content_goes_in_and_out_whole(file: File):
    data = os.urandom(20_000_001)
    with file.open("w") as handle:
        handle.write(io.BytesIO(data))
        handle.write(b"!")

    assert file.open().read() == data + b"!"


def test_reading_keeps_a_position(file: File):
    file.open("w").write(b"hello world")
    with file.open("r") as handle:
        parts = [handle.read(5), handle.read(1), handle.read(), handle.read(), handle.read(3)]

    assert parts == [b"hello", b" ", b"world", b"", b""]


def test_an_open_handle_reads_one_version_whatever_is_saved_meanwhile(file: File):
    data = os.urandom(3_000_000)
    file.open("w").write(data)
    handle = file.open("r")
    first = handle.read(10)
    file.open("w").write(b"new")

    assert first + handle.read() == data


@pytest.mark.parametrize("mode", ["a", "r+", "x", ""])
def test_other_modes_are_refused(bucket: Bucket, file: File, mode: str):
    with pytest.raises(InvalidFileOperation, match="mode"):
        file.open(mode)
    with pytest.raises(InvalidFileOperation, match="mode"):
        bucket.files.open("new", mode="r")


def test_a_handle_does_only_what_it_was_opened_for(file: File):
    with pytest.raises(InvalidFileOperation, match="open it with 'w'"):
        file.open("r").write(b"x")
    with pytest.raises(InvalidFileOperation, match="open it with 'r'"):
        file.open("w").read()


def test_a_closed_handle_does_nothing(file: File):
    handle = file.open("w")
    handle.close()
    handle.close()

    with pytest.raises(InvalidFileOperation, match="closed"):
        handle.write(b"x")


# --- from_url -------------------------------------------------------------------------


def test_a_file_from_a_url_bears_the_last_part_of_its_name(bucket: Bucket):
    with faulty(answer(200, b"1,2")) as web:
        made = bucket.files.from_url(f"{web.address}/tables/t.csv?x=1")

    assert made.filename == "t.csv"
    assert contents(made) == [b"1,2"]


def test_a_url_that_breaks_off_makes_no_file_and_no_version(bucket: Bucket, file: File):
    with faulty(cut) as web:
        with pytest.raises(Unreachable):
            bucket.files.from_url(f"{web.address}/x")
        with pytest.raises(Unreachable), file.open("w") as handle:
            handle.from_url(f"{web.address}/x")

    assert bucket.files.list() == [file]
    assert contents(file) == []


def test_a_url_may_be_one_part_of_what_is_written(file: File):
    with faulty(answer(200, b"from elsewhere")) as web, file.open("w") as handle:
        handle.write(b"<")
        assert handle.from_url(web.address) == 14
        handle.write(b">")

    assert contents(file) == [b"<from elsewhere>"]


# --- versions -------------------------------------------------------------------------


def test_versions_are_newest_first_each_with_its_own_content(file: File):
    for text in b"one", b"two", b"three":
        file.open("w").write(text)

    assert contents(file) == [b"three", b"two", b"one"]


def test_a_version_knows_when_it_was_made(file: File):
    before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    file.open("w").write(b"x")
    version = file.versions.list()[0]

    assert version.created.tzinfo is dt.UTC
    assert before <= version.created <= dt.datetime.now(dt.UTC)
    assert version.filename == "dir/file.txt"
    assert file.versions[version.id] == version
    assert file.versions[version.id].created == version.created


def test_a_version_is_not_written(file: File):
    file.open("w").write(b"x")

    with pytest.raises(InvalidFileOperation, match="never changes"):
        file.versions.list()[0].open("w")


# --- ids of other things --------------------------------------------------------------


def test_an_unknown_id_is_not_found(client: Client, bucket: Bucket, file: File):
    file.open("w").write(b"x")
    version = file.versions.list()[0]
    other = file.clone()
    for find in (
        lambda: client.buckets[987654321],
        lambda: client.buckets[file.id],
        lambda: bucket.files[987654321],
        lambda: bucket.files[bucket.id],
        lambda: bucket.files[version.id],
        lambda: file.versions[987654321],
        lambda: file.versions[file.id],
        lambda: other.versions[version.id],
    ):
        with pytest.raises(NotFound):
            find()


def test_a_refused_token_is_told(service: RunningService):
    stranger = rengafs.Client(service.address, token="wrong")
    with pytest.raises(NotAuthenticated) as caught:
        stranger.buckets.list()

    assert isinstance(caught.value, RengafsError)


# --- objects --------------------------------------------------------------------------


def test_objects_say_what_they_are(client: Client, bucket: Bucket, file: File):
    file.open("w").write(b"x")
    version = file.versions.list()[0]

    assert repr(bucket) == f"<Bucket {bucket.id} 'bucket'>"
    assert repr(file) == f"<File {file.id} 'dir/file.txt'>"
    assert repr(version).startswith(f"<FileVersion {version.id} 'dir/file.txt' of 20")
    assert repr(file.open("w")) == f"<FileHandle {file.id} 'w'>"
    assert repr(client.buckets) == f"<BucketCollection at {client._driver.endpoint.address}>"
    assert client._driver.endpoint.token not in repr(client)


def test_objects_outlive_a_client_that_nobody_keeps(service: RunningService):
    file = rengafs.Client(service.address, service.token).buckets.create("b").files.create("f")
    gc.collect()

    file.open("w").write(b"still here")

    assert file.open().read() == b"still here"


def test_threads_may_share_a_client(bucket: Bucket):
    def work(number: int) -> None:
        bucket.files.create(f"f{number}").open("w").write(str(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {each.open().read() for each in bucket.files} == {b"%d" % n for n in range(8)}


def test_a_client_goes_on_after_a_restart_of_the_service(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("s")
    listen = f"unix:{place}/socket"
    with running_service(place / "data", listen=listen) as first:
        client = rengafs.Client(first.address, first.token)
        file = client.buckets.create("bucket").files.create("file")
        file.open("w").write(b"before")
        first.stop()
    with running_service(place / "data", listen=listen, token=first.token):
        after = file.clone("after")

        assert after.open().read() == b"before"
    client.close()


def test_a_call_waits_for_a_service_that_is_just_starting(
    tmp_path_factory: pytest.TempPathFactory,
):
    place = tmp_path_factory.mktemp("s")
    listen = f"unix:{place}/socket"
    with running_service(place / "data", listen=listen) as first:
        pass
    found: list[list[str]] = []
    client = rengafs.Client(listen, first.token)
    asking = threading.Thread(target=lambda: found.append(client.buckets.backends))
    asking.start()
    with running_service(place / "data", listen=listen, token=first.token):
        asking.join()
    client.close()

    assert found == [["local"]]
