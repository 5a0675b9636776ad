"""At home in a shell: completion, ``ls`` without a mount, and what ``doctor`` finds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rengafs
from rengafs.cli import main
from rengafs.cli.manpages import pages

BINARIES = Path(sys.executable).parent


@pytest.fixture
def institute(home, served):
    """A service with two buckets, which the environment names."""
    address, token = served
    with rengafs.Client(address, token=token) as client:
        data = client.buckets.create(name="data")
        client.buckets.create(name="drafts")
        for text in ("one", "three"):
            with _file(data, "report.csv").open("w") as handle:
                handle.write(text)
        data.files.create("raw/a.csv")
    return {"RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token}


def _file(bucket, name):
    return next((one for one in bucket.files if one.filename == name), None) or bucket.files.create(
        name
    )


def test_ls_shows_buckets_directories_and_saves(home, institute):
    def names(*arguments):
        done = home.run("ls", "--json", *arguments, **institute)
        assert done.returncode == 0, done.stderr
        return [one.get("name", one.get("size")) for one in json.loads(done.stdout)]

    assert names() == ["data", "drafts"]
    assert names("data") == ["raw", "report.csv"]
    assert names("data/report.csv") == ["report.csv"]
    sizes = [one["size"] for one in _json(home, "--versions", "data/report.csv", **institute)]
    assert sizes == [3, 5]
    table = home.run("ls", "data", **institute).stdout
    assert table.splitlines()[0].split() == ["bytes", "changed", "name"]
    assert "raw/" in table


def _json(home, *arguments, **environment):
    return json.loads(home.run("ls", "--json", *arguments, **environment).stdout)


def test_ls_of_what_is_not_there_says_so(home, institute, refused):
    assert "no 'missing'" in refused(home.run("ls", "data/missing", **institute))
    assert "was ever called 'missing'" in refused(
        home.run("ls", "--versions", "data/missing", **institute)
    )
    assert "name a file" in refused(home.run("ls", "--versions", "data", **institute))


def completed(home, typed, **environment):
    words = typed.split(" ")
    done = home.run(
        COMP_WORDS=typed,
        COMP_CWORD=str(len(words) - 1),
        _RENGAFS_COMPLETE="bash_complete",
        **environment,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion_offers_commands_options_services_buckets_and_paths(home, institute):
    assert completed(home, "rengafs mou") == ["mount"]
    assert "--cache-size" in completed(home, "rengafs mount --ca")
    assert completed(home, "rengafs ls --endpoint e") == ["embedded"]
    assert completed(home, "rengafs log d", **institute) == ["data/", "drafts/"]
    assert completed(home, "rengafs restore data/r", **institute) == [
        "data/raw/",
        "data/report.csv",
    ]


def test_completion_leaves_paths_of_the_disk_to_the_shell_when_no_service_answers(home):
    environment = {"RENGA_ENDPOINT": "http://127.0.0.1:1", "RENGA_ACCESS_TOKEN": "t"}

    assert completed(home, "rengafs log da", **environment) == ["da"]
    assert completed(home, "rengafs log ./da", **environment) == ["./da"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(home, shell):
    done = home.run("completion", shell)

    assert done.returncode == 0, done.stderr
    assert f"_RENGAFS_COMPLETE={shell}_complete" in done.stdout


def test_bash_itself_completes(home):
    """bash loads the script, and asks our function for what follows ``rengafs mou``."""
    script = home.run("completion", "bash").stdout
    ask = "COMP_WORDS=(rengafs mou); COMP_CWORD=1; _rengafs_completion rengafs; echo $COMPREPLY"

    done = subprocess.run(
        ["bash", "-c", f"{script}\n{ask}"],
        env={**home.environment, "PATH": f"{BINARIES}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.stdout == "mount\n", done.stderr


def findings(home, **environment):
    done = home.run("doctor", "--json", **environment)
    return done, {one["what"]: one for one in json.loads(done.stdout)}


@pytest.mark.fuse
def test_the_doctor_finds_nothing_where_all_is_well(home, institute):
    _done, found = findings(home, **institute)

    own = {what: one for what, one in found.items() if what != "mount"}  # others' mounts may be bad
    assert {one["state"] for one in own.values()} <= {"ok", "note"}, own
    assert set(own) >= {"fuse", "libfuse3", "data", "cache", "service", "clock", "configuration"}
    assert institute["RENGA_ACCESS_TOKEN"] not in str(found)


@pytest.mark.parametrize(
    ("environment", "what", "remedy"),
    [
        ({"RENGA_ENDPOINT": "http://127.0.0.1:1"}, "token", "rengafs login http://127.0.0.1:1"),
        (
            {"RENGA_ENDPOINT": "http://127.0.0.1:1", "RENGA_ACCESS_TOKEN": "t"},
            "service",
            "is the service running?",
        ),
        ({"RENGA_ENDPOINT": "nowhere"}, "service", "rengafs login URL --name nowhere"),
        ({"PATH": "/nonexistent"}, "fuse", "apt-get install fuse3"),
        ({"RENGAFS_CONFIG": "/etc/passwd"}, "configuration", "is not TOML"),
    ],
)
def test_the_doctor_names_what_is_bad_and_the_remedy(home, environment, what, remedy):
    done, found = findings(home, **environment)

    assert done.returncode == 1
    assert found[what]["state"] == "bad"
    assert remedy in found[what]["text"]
    assert what in done.stderr


def test_every_manual_page_is_good_troff_and_tells_options_examples_and_exit_codes(tmp_path):
    made = dict(pages(main.rengafs))

    assert {"rengafs.1", "rengafs-mount.1", "rengafs-bucket-grant.1"} <= set(made)
    for section in ("NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"):
        assert f".SH {section}" in made["rengafs-mount.1"]
    for name, text in made.items():
        assert "\b" not in text, name
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
