"""log, diff, restore, undelete, clone and label: on paths of a mount and of a service."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime

from rengafs.fs.names.guidetext import TEXT


def good(home, *arguments: object, **environment: str) -> str:
    done = home.run(*arguments, **environment)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    assert done.stderr == ""
    return done.stdout


def data(home, *arguments: object) -> object:
    return json.loads(good(home, *arguments, "--json"))


def moment() -> str:
    """Return a moment that nothing else happens in."""
    time.sleep(0.005)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    time.sleep(0.005)
    return now


def test_a_deleted_directory_comes_back_with_its_history(home, bucket):
    (bucket / "d" / "sub").mkdir(parents=True)
    (bucket / "d" / "f").write_text("one")
    (bucket / "d" / "f").write_text("two")
    (bucket / "d" / "sub" / "g").write_text("deep")
    shutil.rmtree(bucket / "d")

    planned = good(home, "undelete", "--dry-run", bucket / "d")
    assert not (bucket / "d").exists()
    shown = good(home, "undelete", bucket / "d")

    assert "would bring back data/d/sub/g" in planned
    assert "4 entries" in planned
    assert "restored data/d: 4 entries" in shown
    assert (bucket / "d" / "sub" / "g").read_text() == "deep"
    saves = sorted((bucket / "d" / ".versions" / "f").iterdir())
    assert [save.read_text() for save in saves] == ["one", "two"]


def test_a_tree_is_restored_to_a_moment_in_one_change(home, bucket):
    (bucket / "a").write_text("old")
    (bucket / "b").write_text("b")
    then = moment()
    (bucket / "a").write_text("new")
    (bucket / "b").unlink()
    (bucket / "later").write_text("stays")

    done = data(home, "restore", f"{bucket}@{then}")

    assert done["count"] == 2
    assert done["change"] > 0
    assert (bucket / "a").read_text() == "old"
    assert (bucket / "b").read_text() == "b"
    assert (bucket / "later").read_text() == "stays"
    entries = data(home, "log", bucket)
    assert {entry["change"] for entry in entries if entry["action"] == "restore"} == {
        done["change"]
    }


def test_what_the_mount_shows_can_be_restored_as_it_is_spelled_there(home, bucket):
    (bucket / "f.txt").write_text("one")
    then = moment()
    (bucket / "f.txt").write_text("two")
    save = min((bucket / ".versions" / "f.txt").iterdir())

    good(home, "restore", bucket / ".versions" / f"@{then}" / "f.txt")
    assert (bucket / "f.txt").read_text() == "one"
    (bucket / "f.txt").write_text("three")
    good(home, "restore", save)

    assert (bucket / "f.txt").read_text() == "one"


def test_the_log_tells_who_did_what(home, bucket):
    file = bucket / "f"
    file.write_text("12345")
    file.rename(bucket / "g")
    (bucket / "g").unlink()

    entries = data(home, "log", bucket / "g")
    text = good(home, "log", bucket / "g")

    assert [entry["what"] for entry in entries] == ["deleted", "renamed", "saved", "made"]
    assert entries[1]["source"] == "data/f"
    assert entries[2]["size"] == 5
    assert all(entry["host"] and entry["author"] for entry in entries)
    assert "data/f -> data/g" in text
    assert len(data(home, "log", "--limit", 2, bucket / "g")) == 2


def test_the_log_tells_one_save_of_what_was_opened_once(home, bucket):
    for text in ("one", "two"):
        with (bucket / "f").open("w") as out:
            os.fsync(out.fileno())  # an empty file, for a moment
            out.write(text)

    entries = data(home, "log", bucket / "f")

    assert [entry["what"] for entry in entries] == ["saved", "saved", "made"]


def test_diff_shows_lines_of_a_file_and_names_of_a_tree(home, bucket):
    file = bucket / "f"
    file.write_text("one\ntwo\n")
    then = moment()
    file.write_text("one\n2\n")
    (bucket / "new").write_text("xyz")

    last = good(home, "diff", file)
    dated = good(home, "diff", f"{file}@{then}")
    tree = good(home, "diff", f"{bucket}@{then}")
    between = good(home, "diff", f"{bucket}@{then}", f"@{then}")

    for text in (last, dated):
        assert "-two\n+2\n" in text
    assert "added      data/new (3 bytes)" in tree
    assert "changed    data/f (8 -> 6 bytes)" in tree
    assert between == ""
    assert {item["path"] for item in data(home, "diff", f"{bucket}@{then}")} == {"f", "new"}


def test_a_binary_file_is_not_compared_by_lines(home, bucket):
    (bucket / "f").write_bytes(b"\0one")
    (bucket / "f").write_bytes(b"\0two")

    assert "not a text" in good(home, "diff", bucket / "f")


def test_a_label_names_a_moment_that_every_command_takes(home, bucket):
    (bucket / "d").mkdir()
    (bucket / "d" / "f").write_text("labelled")
    then = moment()
    (bucket / "d" / "f").write_text("changed")

    good(home, "label", bucket, "paper-v1", then)
    labels = data(home, "label", "--list", bucket)

    assert [label["name"] for label in labels] == ["paper-v1"]
    assert "paper-v1" in good(home, "label", "--list", bucket)
    assert {"@paper-v1", "README.txt"} <= set(os.listdir(bucket / ".versions"))
    assert (bucket / ".versions" / "@paper-v1" / "d" / "f").read_text() == "labelled"
    assert (bucket / "d" / ".versions" / "@paper-v1" / "f").read_text() == "labelled"
    good(home, "restore", f"{bucket / 'd' / 'f'}@paper-v1")
    assert (bucket / "d" / "f").read_text() == "labelled"
    good(home, "label", "--delete", bucket, "paper-v1")
    assert data(home, "label", "--list", bucket) == []


def test_a_clone_has_a_history_of_its_own(home, bucket):
    (bucket / "d").mkdir()
    (bucket / "d" / "f").write_text("one")
    (bucket / "d" / "f").write_text("two")

    good(home, "clone", bucket / "d" / "f", bucket / "g")
    good(home, "clone", bucket, home.mountpoint / "copy")
    good(home, "clone", bucket / "g", bucket / "d")

    assert (bucket / "g").read_text() == "two"
    assert len(os.listdir(bucket / ".versions" / "g")) == 1
    assert (home.mountpoint / "copy" / "d" / "f").read_text() == "two"
    assert (bucket / "d" / "g").read_text() == "two"


def test_a_path_of_a_service_is_named_by_its_bucket(home, served):
    address, token = served
    options = ("--endpoint", address)
    environment = {"RENGA_ACCESS_TOKEN": token}

    for command in (("log", "none"), ("undelete", "none/f"), ("label", "--list", "none")):
        done = home.run(command[0], *options, *command[1:], **environment)
        assert done.returncode == 1
        assert done.stderr.startswith("rengafs: ")


def test_a_name_with_an_at_sign_is_a_name_where_there_is_one(home, bucket):
    (bucket / "me@home").write_text("one")
    (bucket / "me@home").unlink()
    (bucket / "you@home").write_text("one")

    assert data(home, "log", bucket / "me@home")
    assert data(home, "log", bucket / "you@home")


def test_wrong_use_is_one_line(home, bucket, refused):
    (bucket / "f").write_text("x")
    for arguments, code, text in (
        (("restore", bucket / "f"), 2, "has not been deleted"),
        (("restore", bucket / "none"), 1, "ever called"),
        (("restore", f"{bucket / 'f'}@2100-01-01"), 2, "to come"),
        (("restore", f"{bucket / 'f'}@1990-01-01"), 1, "there was no"),
        (("restore", f"{bucket / 'f'}@nolabel"), 1, "no label 'nolabel'"),
        (("diff", bucket), 2, "since when"),
        (("diff", bucket / "f", "x"), 2, "no moment"),
        (("label", bucket / "f", "x"), 2, "not a bucket"),
        (("label", bucket, "2026-11-23"), 2, "can't be a label"),
        (("label", bucket), 2, "--list"),
        (("log", "/etc/passwd"), 8, "no mount"),
        (("clone", bucket / "none", bucket / "x"), 1, "there is no"),
    ):
        done = home.run(*arguments)
        assert text in refused(done), arguments
        assert done.returncode == code, (arguments, done.stderr)


def test_the_examples_of_the_guide_work(home, bucket, tmp_path):
    (bucket / "data").mkdir()
    (bucket / "data" / "f").write_text("x")
    (bucket / "report.csv").write_text("one\n")
    (bucket / "report.csv").write_text("two\n")
    guide = (bucket / ".versions" / "README.txt").read_bytes()
    program = tmp_path / "rengafs"
    examples = re.findall(r"^    \$ (.*)$", guide.decode(), re.MULTILINE)

    assert guide == TEXT
    assert len(examples) > 10
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m rengafs "$@"\n')
    program.chmod(0o755)
    environment = {**home.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for example in examples:
        if "undelete report.csv" in example:
            (bucket / "report.csv").unlink()
        if "undelete data" in example:
            shutil.rmtree(bucket / "data")
        done = subprocess.run(
            ["bash", "-c", example],
            cwd=bucket,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{example}: {done.stdout}{done.stderr}"


def test_a_real_readme_keeps_its_history_beside_the_guide(home, bucket):
    (bucket / "README.txt").write_text("mine")

    (save,) = (bucket / ".versions" / "README.txt").iterdir()

    assert save.read_text() == "mine"
    assert (bucket / ".versions" / "@README.txt").read_bytes() == TEXT
