"""What fsspec's own suite does not ask: moments, versions, integrity, errors, pandas."""

import errno
import pickle
import re
from importlib import resources

import fsspec
import pandas
import pytest

from rengafs.client import calls
from rengafs.client.spec.moments import Spelled, meanings
from rengafs.protocol import moments
from rengafs.protocol.operations import PutLabel


@pytest.fixture
def options(module_service):
    """Where the service is, as pandas hands it on."""
    return {"endpoint": module_service.address, "token": module_service.token}


def saved(renga, path, text):
    """Save *text*; return the stamp of the moment of it."""
    renga.pipe_file(path, text)
    return moments.stamp(int(renga.info(path)["mtime"] * 1000) + 1)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("data/a", [Spelled("data/a")]),
        ("data/a@2026-11-01", [Spelled("data/a", "2026-11-01")]),
        ("data@2026-11-01/a.csv", [Spelled("data/a.csv", "2026-11-01")]),
        ("data/a@b", [Spelled("data/a@b"), Spelled("data/a", "b")]),
        ("data/@b", [Spelled("data/@b")]),
    ],
)
def test_a_moment_stands_behind_any_component(text, meant):
    assert meanings(text) == meant


def test_a_data_frame_goes_to_parquet_and_back(renga, bucket, options):
    frame = pandas.DataFrame({"day": [1, 2, 3], "sold": [40, 43, 39]})

    frame.to_parquet(f"renga://{bucket}/sales.parquet", storage_options=options)
    back = pandas.read_parquet(f"renga://{bucket}/sales.parquet", storage_options=options)

    pandas.testing.assert_frame_equal(back, frame)


def test_without_options_the_environment_names_the_service(renga, bucket, options, monkeypatch):
    monkeypatch.setenv("RENGA_ENDPOINT", options["endpoint"])
    monkeypatch.setenv("RENGA_ACCESS_TOKEN", options["token"])
    renga.pipe_file(f"{bucket}/a.csv", b"x,y\n1,2\n")

    frame = pandas.read_csv(f"renga://{bucket}/a.csv")
    with fsspec.open(f"renga://{bucket}/a.csv", "rt") as file:
        text = file.read()

    assert list(frame.columns) == ["x", "y"]
    assert text == "x,y\n1,2\n"


def test_the_recipe_in_python_runs_as_it_stands(renga, options, monkeypatch):
    monkeypatch.setenv("RENGA_ENDPOINT", options["endpoint"])
    monkeypatch.setenv("RENGA_ACCESS_TOKEN", options["token"])
    page = resources.files("rengafs.cli").joinpath("RECIPES.md").read_text()
    (recipe,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    renga.mkdir("data")
    pandas.DataFrame({"x": [1]}).to_parquet("renga://data/measured.parquet")
    renga.pipe_file("data/raw/a", b"1")
    then = saved(renga, "data/report.csv", b"x\n1\n")
    bucket = renga.info("data")["id"]
    renga.service.run(calls.apply_one(PutLabel(bucket=bucket, name="paper-v1"), client="test"))
    renga.rm("data/report.csv")
    renga.rm("data/raw", recursive=True)

    lines = recipe.replace("2026-11-01", then).splitlines()
    imports, made = lines[0], [eval_of(line, lines[0]) for line in lines[1:] if line]

    assert imports.startswith("import ")
    assert [len(one) for one in made] == [1, 1, 1]
    assert made[2][0]["name"] == "data@paper-v1/raw/a"


def eval_of(line, imports):
    names = {}
    exec(imports, names)
    return eval(line, names)


def test_a_past_moment_is_opened_by_its_url_and_the_environment(
    renga, bucket, options, monkeypatch
):
    monkeypatch.setenv("RENGA_ENDPOINT", options["endpoint"])
    monkeypatch.setenv("RENGA_ACCESS_TOKEN", options["token"])
    then = saved(renga, f"{bucket}/a.csv", b"old")
    renga.pipe_file(f"{bucket}/a.csv", b"new")

    with fsspec.open(f"renga://{bucket}/a.csv@{then}") as file:
        assert file.read() == b"old"


@pytest.mark.parametrize("kind", ["simplecache", "filecache"])
def test_fsspecs_own_caches_on_disk_keep_what_was_read(renga, bucket, options, tmp_path, kind):
    then = saved(renga, f"{bucket}/a", b"bytes")
    of_cache = {"cache_storage": str(tmp_path)}

    for url in (f"{kind}::renga://{bucket}/a", f"{kind}::renga://{bucket}/a@{then}"):
        for _ in range(2):
            with fsspec.open(url, **{"renga": options, kind: of_cache}) as file:
                assert file.read() == b"bytes"

    kept = [path.read_bytes() for path in tmp_path.iterdir() if path.name != "cache"]
    assert kept == [b"bytes", b"bytes"]


def test_a_past_moment_shows_what_was_there(renga, bucket):
    path = f"{bucket}/dir/a.txt"
    then = saved(renga, path, b"old")
    renga.pipe_file(path, b"new")
    renga.rm(path)

    assert renga.cat(f"{path}@{then}") == b"old"
    assert renga.ls(f"{bucket}/dir@{then}", detail=False) == [f"{bucket}/dir@{then}/a.txt"]
    assert renga.cat(f"{bucket}/dir@{then}/a.txt") == b"old"
    assert renga.find(f"{bucket}@{then}") == [f"{bucket}@{then}/dir/a.txt"]
    assert renga.find(bucket) == []


def test_the_past_can_not_be_written(renga, bucket):
    then = saved(renga, f"{bucket}/a", b"old")

    for change in (
        lambda: renga.pipe_file(f"{bucket}/a@{then}", b"x"),
        lambda: renga.rm_file(f"{bucket}/a@{then}"),
        lambda: renga.mkdir(f"{bucket}@{then}/d"),
        lambda: renga.mv(f"{bucket}/a@{then}", f"{bucket}/b"),
    ):
        with pytest.raises(OSError, match="without @") as refusal:
            change()
        assert refusal.value.errno == errno.EROFS
    assert renga.cat(f"{bucket}/a") == b"old"


def test_a_name_with_an_at_sign_is_a_name(renga, bucket):
    renga.pipe_file(f"{bucket}/me@home", b"x")

    assert renga.cat(f"{bucket}/me@home") == b"x"


def test_an_open_file_reads_one_version_whatever_is_saved(renga, bucket):
    path = f"{bucket}/big"
    renga.pipe_file(path, b"a" * 100_000)

    with renga.open(path, "rb", block_size=1000) as file:
        first = file.read(10)
        renga.pipe_file(path, b"b" * 100_000)
        rest = file.read()

    assert set(first + rest) == {ord("a")}
    assert renga.cat_file(path, -5) == b"bbbbb"
    assert renga.cat_file(path, 99_990, 200_000) == b"b" * 10


def test_one_file_written_is_one_version_and_an_append_is_another(renga, bucket):
    path = f"{bucket}/log"
    with renga.open(path, "wb", block_size=1000) as file:
        for _ in range(50):
            file.write(b"0123456789" * 10)
    first = renga.info(path)["version"]
    with renga.open(path, "ab") as file:
        file.write(b"end")

    assert renga.size(path) == 5003
    assert renga.tail(path, 4) == b"9end"
    assert renga.info(path)["version"] > first


def test_a_file_whose_writing_failed_is_not_saved(renga, bucket):
    renga.pipe_file(f"{bucket}/a", b"good")

    def fails():
        with renga.open(f"{bucket}/a", "wb") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()

    assert renga.cat(f"{bucket}/a") == b"good"


def test_a_copy_over_a_file_keeps_its_history_and_leaves_nothing_beside_it(renga, bucket):
    renga.pipe({f"{bucket}/a": b"from", f"{bucket}/b": b"over"})
    before = renga.info(f"{bucket}/b")["id"]

    renga.cp_file(f"{bucket}/a", f"{bucket}/b")

    assert renga.cat(f"{bucket}/b") == b"from"
    assert renga.info(f"{bucket}/b")["id"] == before
    assert renga.ls(bucket, detail=False) == [f"{bucket}/a", f"{bucket}/b"]


def test_a_move_is_a_rename_also_of_directories_and_into_one(renga, bucket):
    renga.pipe({f"{bucket}/d/x": b"1", f"{bucket}/e/y": b"2"})
    number = renga.info(f"{bucket}/d/x")["id"]

    renga.mv(f"{bucket}/d", f"{bucket}/e", recursive=True)
    renga.mv(f"{bucket}/e/d/x", f"{bucket}/z")

    assert renga.find(bucket) == [f"{bucket}/e/y", f"{bucket}/z"]
    assert renga.info(f"{bucket}/z")["id"] == number


def test_a_transaction_saves_all_at_its_end_or_nothing(renga, bucket):
    with renga.transaction:
        renga.pipe_file(f"{bucket}/a", b"1")
        assert not renga.exists(f"{bucket}/a")
    assert renga.cat(f"{bucket}/a") == b"1"

    def fails():
        with renga.transaction:
            renga.pipe_file(f"{bucket}/b", b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert not renga.exists(f"{bucket}/b")


def test_the_checksum_comes_from_the_service_and_a_version_has_one(renga, bucket):
    renga.pipe_file(f"{bucket}/a", b"abc")

    assert renga.checksum(f"{bucket}/a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_errors_are_those_of_the_operating_system(renga, bucket):
    renga.pipe_file(f"{bucket}/a", b"1")

    with pytest.raises(FileNotFoundError):
        renga.cat(f"{bucket}/missing")
    with pytest.raises(FileNotFoundError, match="no bucket 'no-such-bucket'"):
        renga.open("no-such-bucket/a", "wb")
    with pytest.raises(IsADirectoryError):
        renga.open(bucket, "rb")
    with pytest.raises(PermissionError, match="only buckets at the top"):
        renga.pipe_file("file-at-the-top", b"")
    with pytest.raises(OSError, match="not empty") as refusal:
        renga.rmdir(bucket)
    assert refusal.value.errno == errno.ENOTEMPTY
    with pytest.raises(FileExistsError):
        renga.mkdir(bucket)


def test_it_travels_to_other_processes(renga, bucket, options):
    renga.pipe_file(f"{bucket}/a", b"1")
    found = fsspec.filesystem("renga", **options)

    again = pickle.loads(pickle.dumps(found))

    assert again.cat(f"{bucket}/a") == b"1"
    found.service.close()


def test_listings_are_remembered_only_if_asked_for(renga, bucket, options):
    remembering = fsspec.filesystem("renga", **options, use_listings_cache=True)
    for one in (renga, remembering):
        assert one.ls(bucket) == []

    renga.pipe_file(f"{bucket}/a", b"1")

    assert len(renga.ls(bucket)) == 1
    assert remembering.ls(bucket) == []
    remembering.invalidate_cache()
    assert len(remembering.ls(bucket)) == 1
    remembering.service.close()
