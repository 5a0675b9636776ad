"""What a bucket holds, and what it may hold."""

import errno

import pytest
from support.services import RunningService
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol.errors import NotFound, QuotaExceeded
from rengafs.protocol.operations import Clone, MakeDirectory, Rename, Unlink
from rengafs.protocol.records import ROOT, Node
from rengafs.service.run import ServeOptions
from rengafs.service.sharing import list_sharing, set_quota
from rengafs.service.upkeep import check_data


def limit(talk: Talk, bucket: Node, quota_bytes: int | None) -> None:
    set_quota(ServeOptions("", talk.service.data), str(bucket.id), quota_bytes)


def held(talk: Talk, node: int | None = None) -> tuple[int, int, int, int | None]:
    usage = talk.run(calls.usage(node))
    return usage.live_bytes, usage.history_bytes, usage.files, usage.quota_bytes


def test_a_bucket_tells_what_it_holds_and_others_do_not_count(talk: Talk) -> None:
    bucket, other = talk.bucket(), talk.bucket()
    file = talk.file(bucket, "f", b"12345", b"123")
    talk.file(other, "g", b"1234567")

    assert held(talk, bucket.id) == held(talk, file.id) == (3, 5, 1, None)
    talk.do(Unlink(parent=bucket.id, name="f"))
    assert held(talk, bucket.id) == (0, 8, 0, None)


def test_a_commit_beyond_the_quota_is_refused_and_changes_nothing(talk: Talk) -> None:
    bucket = talk.bucket()
    file = talk.file(bucket, "f", b"12345")
    limit(talk, bucket, 10)

    talk.save(file, b"54321")
    with pytest.raises(QuotaExceeded) as raised:
        talk.save(file, b"1")
    assert raised.value.errno == errno.EDQUOT
    write = talk.run(calls.authorize_write(file.id))
    with pytest.raises(QuotaExceeded):
        talk.run(calls.io_write(b"abc", token=write))
    with pytest.raises(QuotaExceeded):
        talk.do(Clone(source=file.id, parent=bucket.id, name="copy"))

    assert talk.versions(bucket, "f") == [b"12345", b"54321"]
    assert held(talk, bucket.id) == (5, 5, 1, 10)
    usage = talk.run(calls.usage(bucket.id))
    assert usage.free_bytes == 0
    limit(talk, bucket, None)
    talk.save(file, b"1")
    assert check_data(ServeOptions("", talk.service.data)).clean


def test_the_same_bytes_and_a_later_save_of_one_handle_fit_where_they_fitted(talk: Talk) -> None:
    bucket = talk.bucket()
    file = talk.file(bucket, "f")
    limit(talk, bucket, 10)

    talk.save(file, b"0123456789", handle="h")
    talk.save(file, b"0123456789")
    talk.save(file, b"9876543210", handle="h")

    assert talk.versions(bucket, "f") == [b"9876543210"]


def test_what_moves_to_another_bucket_counts_there_with_its_history(talk: Talk) -> None:
    source, target = talk.bucket(), talk.bucket()
    directory = talk.do(MakeDirectory(parent=source.id, name="d")).node
    assert directory is not None
    talk.file(directory, "f", b"12345", b"123")
    talk.file(source, "stays", b"1")
    move = Rename(parent=source.id, name="d", new_parent=target.id, new_name="d")

    limit(talk, target, 7)
    with pytest.raises(QuotaExceeded):
        talk.do(move)
    assert held(talk, source.id)[:3] == (4, 5, 2)
    limit(talk, target, 8)
    talk.do(move)

    assert held(talk, source.id)[:3] == (1, 0, 1)
    assert held(talk, target.id) == (3, 5, 1, 8)
    assert check_data(ServeOptions("", talk.service.data)).clean


def test_usage_tells_a_user_of_ones_own_buckets_only(service: RunningService, talk: Talk) -> None:
    hidden = talk.bucket()
    talk.file(hidden, "f", b"secret")
    with talking(service, service.token_for("quiet")) as other:
        assert held(other)[:3] == (0, 0, 0)
        mine = other.bucket()
        other.file(mine, "f", b"123")
        limit(talk, mine, 100)
        assert held(other) == (3, 0, 1, 100)
        assert other.run(calls.usage()).free_bytes == 97
        with pytest.raises(NotFound):
            held(other, hidden.id)
        with pytest.raises(NotFound):
            held(other, ROOT)


def test_the_list_of_buckets_tells_bytes_and_quotas(talk: Talk) -> None:
    bucket = talk.bucket()
    talk.file(bucket, "f", b"12345", b"123")
    limit(talk, bucket, 1000)

    listed = list_sharing(ServeOptions("", talk.service.data))

    (told,) = [one for one in listed if one.bucket == bucket.id]
    assert (told.live_bytes, told.all_bytes, told.quota_bytes) == (3, 8, 1000)
