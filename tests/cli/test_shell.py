"""At home in a shell: completion, ``ls`` without a mount, and what ``doctor`` finds."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import rengafs
from rengafs.cli import main
from rengafs.cli.manpages import pages

SECONDS = 120.0
QUIET_SECONDS = 1.0
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
    done = home.run(
        COMP_LINE=typed,
        COMP_BREAKS=environment.pop("breaks", ""),
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
    assert completed(home, "rengafs bucket retention dr", **institute) == ["drafts/"]
    assert completed(home, "rengafs restore data/r", **institute) == [
        "data/raw/",
        "data/report.csv",
    ]


def test_completion_offers_labels_behind_an_at_sign(home, institute):
    assert home.run("label", "data", "paper-v1", **institute).returncode == 0

    assert completed(home, "rengafs ls data@pa", **institute) == ["data@paper-v1"]
    assert completed(home, "rengafs ls data/raw@", **institute) == ["data/raw@paper-v1"]
    # bash takes the sign, and what stands behind it, for a word of its own.
    assert completed(home, "rengafs ls data@pa", breaks=" @:", **institute) == ["@paper-v1"]


@pytest.mark.fuse
def test_completion_asks_the_embedded_service_if_it_runs_and_starts_none(home, bucket):
    assert completed(home, "rengafs ls d") == ["data/"]
    assert completed(home, f"rengafs bucket grant --data {home.data} da") == ["data"]
    (bucket / "my results").mkdir()
    assert completed(home, "rengafs ls data/my") == ["data/my results/"]


def test_completion_starts_no_service(home):
    assert completed(home, "rengafs ls d") == ["d"]
    assert home.leftovers() == []


def test_completion_leaves_paths_of_the_disk_to_the_shell_when_no_service_answers(home):
    environment = {"RENGA_ENDPOINT": "http://127.0.0.1:1", "RENGA_ACCESS_TOKEN": "t"}

    assert completed(home, "rengafs log da", **environment) == ["da"]
    assert completed(home, "rengafs log ./da", **environment) == ["./da"]


class Typing:
    """A real shell on a terminal, in which ``rengafs`` tells what it is called with.

    It completes as the real one does.
    """

    def __init__(self, home, shell, script, environment) -> None:
        self.root = home.root
        binaries = home.root / "bin"
        binaries.mkdir()
        stand_in = binaries / "rengafs"
        stand_in.write_text(
            "#!/bin/sh\n"
            f"cd {self.root}\n"
            f'if [ -n "$_RENGAFS_COMPLETE" ]; then {BINARIES}/rengafs "$@"; echo >asked\n'
            'else printf "%s\\n" "$@" >new; mv new got; fi\n'
        )
        stand_in.chmod(0o755)
        (home.root / "script").write_text(script)
        command, ready = SHELLS[shell]
        self.shown = b""
        self.terminal, end = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # fish wants the terminal to be its own
            env={
                **home.environment,
                **environment,
                "PATH": f"{binaries}:{os.environ['PATH']}",
                "TERM": "xterm",
                "SCRIPT": str(home.root / "script"),
            },
            cwd=home.root,
            stdin=end,
            stdout=end,
            stderr=end,
        )
        os.close(end)
        self.keys(f'{ready}source "$SCRIPT"; echo set-up-""done\r')
        self.read(lambda: b"set-up-done" in self.shown)

    def keys(self, text):
        os.write(self.terminal, text.encode())

    def read(self, until):
        deadline = time.monotonic() + SECONDS
        while not until():
            assert time.monotonic() < deadline, self.shown.decode(errors="replace")
            self.take(0.05)

    def take(self, seconds):
        """Return whether something came within *seconds*."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            self.shown += os.read(self.terminal, 65536)
        return True

    def completed(self, line):
        """Type ``rengafs ls LINE<Tab>Z``; return what ``rengafs ls`` is then given."""
        for name in ("asked", "got"):
            (self.root / name).unlink(missing_ok=True)
        self.keys(f"rengafs ls {line}\t")
        self.read((self.root / "asked").exists)
        while self.take(QUIET_SECONDS):  # the shell draws what it was told
            pass
        self.keys("Z\r")
        self.read((self.root / "got").exists)
        return (self.root / "got").read_text().splitlines()[1:]

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ""),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; "),
    "fish": (["fish", "--no-config", "-i"], ""),
}


@pytest.mark.parametrize("shell", sorted(SHELLS))
def test_a_real_shell_completes_paths_names_with_spaces_and_labels(home, institute, shell):
    with rengafs.Client(institute["RENGA_ENDPOINT"], institute["RENGA_ACCESS_TOKEN"]) as client:
        _bucket(client, "data").files.create("my results/a.csv")
    assert home.run("label", "data", "paper-v1", **institute).returncode == 0
    typing = Typing(home, shell, home.run("completion", shell).stdout, institute)
    try:
        # No space behind what goes on; one word, whatever is in the name; one behind the whole.
        assert typing.completed("data/ra") == ["data/raw/Z"]
        assert typing.completed("data/my") == ["data/my results/Z"]
        assert typing.completed("data@pa") == ["data@paper-v1", "Z"]
    finally:
        typing.end()


def _bucket(client, name):
    return next(bucket for bucket in client.buckets if bucket.name == name)


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
