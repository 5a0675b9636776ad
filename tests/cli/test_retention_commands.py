"""bucket retention, prune and usage: as a user of a mount, and of a service."""

import errno
import json
import os
from pathlib import Path

import pytest
from support.aging import age

from rengafs import Client
from rengafs.protocol.moments import stamp


def good(home, *arguments: object, **environment: str) -> str:
    done = home.run(*arguments, **environment)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    assert done.stderr == ""
    return done.stdout


def data(home, *arguments: object, **environment: str):
    return json.loads(good(home, *arguments, "--json", **environment))


def saves(file: Path) -> list[str]:
    return [save.read_text() for save in sorted((file.parent / ".versions" / file.name).iterdir())]


def blobs(home) -> list[bytes]:
    return sorted(path.read_bytes() for path in (home.data / "blobs").glob("??/*"))


def clean(home) -> bool:
    return home.run("check", "--contents").returncode == 0


def test_a_rule_is_set_shown_and_carried_out(home, bucket):
    file = bucket / "report.csv"
    for text in ("one", "two", "three"):
        file.write_text(text)
    (bucket / "gone").write_text("gone")
    (bucket / "gone").unlink()
    rule = "keep all for 30 days, then daily for a year, then monthly"

    assert "keeps: all\n" in good(home, "bucket", "retention", bucket)
    assert good(home, "bucket", "retention", bucket, rule) == (
        "data keeps: all for 30 days, daily for 1 year, monthly\n"
    )
    (nothing,) = data(home, "prune", bucket)
    assert "versions" not in nothing
    age(home.data, 40)

    before = data(home, "usage", bucket)["buckets"][0]
    (planned,) = data(home, "prune", "--dry-run", bucket)
    shown = good(home, "prune", "--dry-run", bucket)
    assert blobs(home) == [b"gone", b"one", b"three", b"two"]
    done = good(home, "prune", bucket)
    after = data(home, "usage", bucket)["buckets"][0]

    assert planned["versions"] == 3
    assert {item["path"] for item in planned["listed"]} == {"data/report.csv", "data/gone"}
    assert "would take data/gone of" in shown
    assert "took 3 versions of 10 bytes, 10 bytes are freed" in done
    assert saves(file) == ["three"]
    assert sorted(set(os.listdir(bucket / ".versions")) - {"README.txt"}) == ["report.csv"]
    assert blobs(home) == [b"three"]
    assert (before["live_bytes"], before["history_bytes"]) == (5, 10)
    assert (after["live_bytes"], after["history_bytes"], after["stored_bytes"]) == (5, 0, 5)
    assert clean(home)
    whats = [(entry["what"], entry.get("pruned", 0)) for entry in data(home, "log", bucket)]
    assert whats[0] == ("pruned", 3)
    assert whats.count(("saved", 1)) == 3
    assert "(pruned)" in good(home, "log", file)


def test_what_went_is_a_clear_error_and_the_rest_reads(home, bucket):
    (bucket / "f").write_text("one")
    (bucket / "f").write_text("two")
    (bucket / "kept").write_text("kept")
    good(home, "bucket", "retention", bucket, "all for 1 day")
    age(home.data, 3)
    good(home, "prune")

    # As of a moment that is not kept, the file is seen and can't be read.
    # In a mount that has none of it in its cache.
    cold = home.root / "cold"
    cold.mkdir()
    assert home.run("mount", cold, XDG_CACHE_HOME=str(home.root / "empty")).returncode == 0
    try:
        view = cold / "data" / ".versions" / moment_of_first_save(home, bucket / "f")
        assert os.listdir(view) == ["f"]
        with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
            (view / "f").read_text()
        assert (cold / "data" / "kept").read_text() == "kept"
    finally:
        good(home, "umount", cold)


def moment_of_first_save(home, file: Path) -> str:
    entries = [entry for entry in data(home, "log", file) if entry["what"] == "saved"]
    return f"@{stamp(entries[-1]['at_ms'])}"


def test_what_is_open_in_a_mount_is_not_taken(home, bucket, until):
    file = bucket / "f"
    file.write_text("first" * 100_000)
    file.write_text("second")
    good(home, "bucket", "retention", bucket, "all for 1 day")
    age(home.data, 3)
    (old, _) = sorted((bucket / ".versions" / "f").iterdir())

    with old.open("rb") as reader:
        start = reader.read(4096)
        until(lambda: data(home, "prune", "--dry-run", bucket)[0].get("held") == 1, "it is held")
        good(home, "prune", bucket)
        # From the service, not from what the kernel or the mount keeps.
        os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert start + reader.read() == b"first" * 100_000
    assert len(saves(file)) == 2


def test_a_lock_file_that_is_mounted_keeps_its_versions(home, bucket, until):
    (bucket / "input").write_text("as it was")
    lock = home.root / "inputs.lock"
    home.run("record", "-o", lock, "--", "cat", bucket / "input")
    (bucket / "input").write_text("changed")
    good(home, "bucket", "retention", bucket, "all for 1 day")
    age(home.data, 3)
    then = home.root / "then"
    then.mkdir()

    good(home, "mount", "--lock", lock, then)
    try:
        until(lambda: data(home, "prune", "--dry-run", bucket)[0].get("held") == 1, "it is held")
        good(home, "prune", bucket)
        assert (then / "data" / "input").read_text() == "as it was"
    finally:
        good(home, "umount", then)

    (done,) = data(home, "prune", bucket)
    assert done["versions"] == 1
    refused = home.run("mount", "--lock", lock, then)
    assert "pruned" in refused.stderr


def test_a_label_keeps_its_moment_whole(home, bucket):
    (bucket / "d").mkdir()
    (bucket / "d" / "f").write_text("in the paper")
    good(home, "label", bucket, "paper-v1")
    (bucket / "d" / "f").write_text("later")
    (bucket / "d" / "f").unlink()
    good(home, "bucket", "retention", bucket, "all for 1 day")
    age(home.data, 3)

    good(home, "prune", bucket)

    assert (bucket / ".versions" / "@paper-v1" / "d" / "f").read_text() == "in the paper"
    good(home, "restore", f"{bucket}@paper-v1")
    assert (bucket / "d" / "f").read_text() == "in the paper"


def test_usage_is_told_for_people_and_for_programs(home, bucket):
    (bucket / "a").write_bytes(b"x" * 2048)
    (bucket / "b").write_bytes(b"x" * 2048)
    (bucket / "b").write_bytes(b"y")

    text = good(home, "usage", bucket)
    all_text = good(home, "usage")
    (told,) = data(home, "usage", bucket)["buckets"]

    assert text == all_text
    assert "2.0 KiB" in text
    assert "stored in local, each content once: 2.0 KiB" in text
    wanted = {"name": "data", "files": 2, "live_bytes": 2049, "history_bytes": 2048}
    assert wanted.items() <= told.items()
    assert told["stored_bytes"] == 2049


def test_they_work_on_a_service_for_who_may(home, served, refused):
    address, token = served
    ann = {"RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token}
    made = home.run("token", "create", "bob", "--data", home.root / "served")
    bob = {**ann, "RENGA_ACCESS_TOKEN": made.stdout.strip()}
    data_options = ("--data", home.root / "served")
    with_bucket(home, ann)
    age(home.root / "served", 10)

    for command in (
        ("bucket", "retention", "results"),
        ("prune", "results"),
        ("usage", "results"),
    ):
        assert "no 'results'" in refused(home.run(*command, **bob)), command
    good(home, "bucket", "grant", "results", "bob", "writer", *data_options)
    assert home.run("bucket", "retention", "results", "all for 1 day", **bob).returncode == 4
    assert home.run("prune", "results", **bob).returncode == 4
    told = data(home, "bucket", "retention", "results", "all for 1 day", **ann)
    assert (told["rule"], told["author"]) == ("all for 1 day", "ann")
    assert "only an owner" in home.run("prune", **bob).stderr
    (done,) = data(home, "prune", **ann)
    assert (done["name"], done["versions"]) == ("results", 1)
    assert data(home, "usage", **bob)["buckets"][0]["history_bytes"] == 0


def with_bucket(home, environment: dict[str, str]) -> None:
    """Make a bucket with a file of two saves, by the SDK."""
    with Client(environment["RENGA_ENDPOINT"], environment["RENGA_ACCESS_TOKEN"]) as client:
        file = client.buckets.create(name="results").files.create("f")
        for text in ("one", "two"):
            with file.open("w") as out:
                out.write(text)


def test_wrong_use_is_one_line(home, bucket, refused):
    (bucket / "f").write_text("x")
    for arguments, code, text in (
        (("bucket", "retention", bucket, "some for ever"), 2, "no part of a rule"),
        (("bucket", "retention", bucket / "f"), 2, "not a bucket"),
        (("bucket", "retention", home.mountpoint / "none"), 1, "no 'none'"),
        (("prune", bucket / "f"), 2, "not a bucket"),
        (("prune", "/etc"), 8, "no mount"),
        (("usage", bucket / "f"), 2, "not a bucket"),
    ):
        done = home.run(*arguments)
        assert text in refused(done), (arguments, done.stderr)
        assert done.returncode == code, (arguments, done.stderr)
