"""What networks do to the requests of a mount that writes back, and to tools that wait."""

import os
import subprocess

import pytest
from support.scale import scaled
from support.services import running_service
from support.trouble import TROUBLES, Trouble
from support.writing import Away, Writing, check_all_is_there, eventually, sync


@pytest.mark.timeout(900)
def test_cut_stalled_busy_and_unanswered_requests_lose_and_double_nothing(home, tmp_path):
    with running_service(listen="127.0.0.1:0") as service:
        token = home.path / "token"
        token.write_text(service.token)
        # A 500 is an error of renames, and the writer ends with it; saves get over it (see
        # test_network_faults).
        troubles = [trouble for trouble in TROUBLES if trouble != "500"]
        with Trouble(service.address, "/fs/apply", troubles) as line:
            options = ["--endpoint", line.address, "--token-file", str(token), "--patience", "20"]
            with home.mounted("buckets", "--write-back", *options) as path:
                (path / "data").mkdir()
                writing = Writing(path / "data", tmp_path / "notes", 5)
                try:
                    eventually(lambda: line.met >= scaled(24, 500), scaled(60, 1800))
                finally:
                    writing.end()
                line.end()
                sync(path)
                check_all_is_there(path / "data", *writing.acknowledged())


def test_without_write_back_such_requests_make_each_save_once(home):
    troubles = ("none", "cut", "lose the answer", "503", "stall", "cut the body")
    with running_service(listen="127.0.0.1:0") as service:
        token = home.path / "token"
        token.write_text(service.token)
        with Trouble(service.address, "/fs/apply", troubles) as line:
            options = ["--endpoint", line.address, "--token-file", str(token), "--patience", "20"]
            with home.mounted("buckets", *options) as path:
                (path / "data").mkdir()
                for number in range(scaled(20, 300)):
                    (path / "data" / "f").write_bytes(b"%d" % number * 10)
                line.end()
                history = path / "data" / ".versions" / "f"
                shown = [save.read_bytes() for save in sorted(history.iterdir())]
                expected = [b"%d" % number * 10 for number in range(scaled(20, 300))]
                assert shown == expected


def test_syncs_and_renames_get_over_what_the_service_stumbles_over(home):
    with running_service(listen="127.0.0.1:0") as service:
        token = home.path / "token"
        token.write_text(service.token)
        with Trouble(service.address, "/fs/apply", ()) as line:
            options = ["--endpoint", line.address, "--token-file", str(token)]
            with home.mounted("buckets", "--write-back", *options) as path:
                data = path / "data"
                data.mkdir()
                (data / "f").write_bytes(b"one")
                sync(path)
                line.expect("500", "500", "500")
                (data / "f").write_bytes(b"two")
                sync(path)
                assert line.met == 3
                line.expect("500", "500")
                (data / "f").write_bytes(b"three")
                (data / "f").rename(data / "g")
                assert line.met == 5
                saves = sorted((data / ".versions" / "g").iterdir())
                assert [save.read_bytes() for save in saves] == [b"one", b"two", b"three"]


TOOLS = {
    "reads pages": ["cat", "data/f"],
    "reads past the page cache": ["dd", "iflag=direct", "if=data/f"],
    "looks a name up": ["stat", "data/never-seen"],
    "lists": ["ls", "data/.versions"],
}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_a_reader_that_is_killed_while_it_waits_ends_long_before_patience_does(home, tool):
    options = ["--patience", "600", "--cache-dir", str(home.path / "other-cache")]
    with home.mounted("buckets") as path, home.mounted("other", *options) as other:
        (path / "data").mkdir()
        (path / "data" / "f").write_bytes(os.urandom(3 << 20))
        eventually((other / "data" / "f").exists)
        with Away(home):
            words = [word.replace("data/", f"{other}/data/") for word in tool]
            waiting = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            eventually(lambda: waits(waiting.pid), 60)
            waiting.kill()
            waiting.wait(120)
        eventually(lambda: (other / "data" / "f").read_bytes())  # the mount is none the worse


def waits(pid):
    """Whether a process waits for an answer of the mount, or for a page from it."""
    with open(f"/proc/{pid}/stack") as file:
        stack = file.read()
    return "fuse" in stack or "folio_wait" in stack
