"""A script's inputs, recorded in a lock file and mounted again as they were."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import pathlib, subprocess, sys
here = pathlib.Path(sys.argv[1])
total = sum(int(path.read_text()) for path in sorted((here / "in").iterdir()))
shell = subprocess.run(["sh", "-c", f"cat {here}/config"], capture_output=True, text=True)
out = pathlib.Path(sys.argv[2])
out.write_text(f"{total} {shell.stdout}")
out.read_text()
draft = out.with_name("draft")
draft.write_text("by a rename")
draft.rename(out.with_name("renamed"))
out.with_name("renamed").read_text()
"""


def test_a_scripts_inputs_are_reproduced_from_a_lock_file(home, bucket):
    script = home.root / "script.py"
    script.write_text(SCRIPT)
    (bucket / "in").mkdir()
    for number in range(3):
        (bucket / "in" / f"{number}.txt").write_text(str(10**number))
    (bucket / "config").write_text("first")
    (bucket / "unread").write_text("x")
    (bucket / "renamed").write_text("x")
    lock, inputs = home.root / "paper.lock", home.root / "inputs"

    done = home.run(
        "record", "--output", lock, "--", sys.executable, script, bucket, bucket / "result"
    )
    assert done.returncode == 0, done.stderr
    # Everything changes, goes away, or moves.
    (bucket / "in" / "0.txt").write_text("5")
    (bucket / "in" / "1.txt").unlink()
    (bucket / "config").rename(bucket / "settings")
    (bucket / "in" / "9.txt").write_text("9")
    inputs.mkdir()
    mounted = home.run("mount", "--lock", lock, inputs)
    assert mounted.returncode == 0, mounted.stderr + home.log("mount")
    try:
        paths = sorted(
            str(path.relative_to(inputs)) for path in inputs.rglob("*") if path.is_file()
        )
        again = subprocess.run(
            [sys.executable, script, inputs / "data", home.root / "result"], check=False
        )
        with pytest.raises(OSError, match="Read-only"):
            (inputs / "data" / "config").write_text("x")
    finally:
        home.run("umount", inputs)

    assert again.returncode == 0
    assert paths == ["data/config", "data/in/0.txt", "data/in/1.txt", "data/in/2.txt"]
    assert (home.root / "result").read_text() == "111 first"
    assert json.loads(lock.read_text())["command"][0] == sys.executable


def test_the_commands_own_exit_code_is_the_answer(home, bucket):
    lock = home.root / "l"

    assert home.run("record", "-o", lock, "--", "sh", "-c", "exit 7").returncode == 7
    assert home.run("record", "-o", lock, "--", "no-such-command").returncode == 127
    assert home.run("record", "-o", lock, "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert json.loads(lock.read_text())["files"] == []


def test_another_process_is_not_recorded(home, bucket):
    (bucket / "mine").write_text("x")
    (bucket / "other").write_text("x")
    os.mkfifo(home.root / "go")
    recorded = home.start(
        "record", "-o", home.root / "l", "--", "sh", "-c", f"cat {home.root}/go {bucket}/mine"
    )
    with (home.root / "go").open("w"):
        (bucket / "other").read_text()
    recorded.communicate(timeout=240)

    files = json.loads((home.root / "l").read_text())["files"]

    assert [file["path"] for file in files] == ["data/mine"]


def test_a_file_that_is_no_lock_is_refused(home, bucket, refused):
    other, bad = home.root / "other", home.root / "bad"
    other.mkdir()
    for text in ("", "{}", '{"catalog": "x", "command": [], "created": "", "files": []}'):
        bad.write_text(text)
        done = home.run("mount", "--lock", bad, other)
        assert "lock" in refused(done), text
    assert "can't read" in refused(home.run("mount", "--lock", home.root / "none", other))
    assert home.run("record", "--mount", other, "--", "true").returncode == 8
