"""The history commands on ``BUCKET/PATH`` of a service, without any mount: each, with JSON."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rengafs import Client


@pytest.fixture
def remote(home, served):
    """A service with ``data/d/f`` (saved twice) and ``data/gone`` (deleted), and who may use it."""
    address, token = served
    with Client(address, token) as client:
        bucket = client.buckets.create(name="data")
        for name, texts in (("d/f", ("one\n", "two\n")), ("top", ("top\n",))):
            file = bucket.files.create(name)
            for text in texts:
                with file.open("w") as out:
                    out.write(text)
    return {"RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token}


def told(home, environment, *arguments: object):
    """Return the JSON of a command, by the variable and by the option alike."""
    done = home.run(*arguments, "--json", **environment)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return json.loads(done.stdout)


def shown(home, environment, *arguments: object) -> str:
    done = home.run(*arguments, **environment)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def changes_of(home, remote, path: str) -> list[dict]:
    return told(home, remote, "log", path)


def test_log_and_diff_tell_of_a_path_of_a_service(home, remote):
    entries = changes_of(home, remote, "data/d/f")
    assert [entry["what"] for entry in entries] == ["saved", "saved", "made"]
    assert {entry["author"] for entry in entries} == {"ann"}
    assert entries == told(
        home,
        {"RENGA_ACCESS_TOKEN": remote["RENGA_ACCESS_TOKEN"]},
        "log",
        "--endpoint",
        remote["RENGA_ENDPOINT"],
        "data/d/f",
    )
    assert "-one\n+two\n" in shown(home, remote, "diff", "data/d/f")
    (difference,) = told(home, remote, "diff", "data/d/f")
    assert (difference["how"], difference["size_before"]) == ("changed", 4)


def test_label_restore_and_clone_work_on_a_service(home, remote):
    (label,) = told(home, remote, "label", "data", "v1")
    assert label["name"] == "v1"
    with Client(remote["RENGA_ENDPOINT"], remote["RENGA_ACCESS_TOKEN"]) as client:
        (bucket,) = client.buckets.list()
        file = next(file for file in bucket.files.list() if file.filename == "d/f")
        with file.open("w") as out:
            out.write("three\n")

        planned = told(home, remote, "restore", "--dry-run", "data@v1")
        assert (planned["count"], planned["change"]) == (1, 0)
        done = told(home, remote, "restore", "data/d/f@v1")
        assert done["count"] == 1
        assert done["change"] > 0
        with file.open("r") as source:
            assert source.read() == b"two\n"
        cloned = told(home, remote, "clone", "data/d@v1", "data/copy")
        assert cloned["path"] == "data/copy"
        assert "cloned data to copy" in shown(home, remote, "clone", "data", "copy")
        names = {one.name for one in client.buckets.list()}
        assert names == {"data", "copy"}
    assert [one["name"] for one in told(home, remote, "label", "--list", "data")] == ["v1"]
    assert told(home, remote, "label", "--delete", "data", "v1") == []


def test_undelete_brings_back_a_path_of_a_service(home, remote):
    removed = home.run("mount", home.mountpoint, **remote)
    assert removed.returncode == 0, removed.stderr
    try:
        (home.mountpoint / "data" / "d" / "f").unlink()
        (home.mountpoint / "data" / "d").rmdir()
    finally:
        assert home.run("umount", home.mountpoint).returncode == 0

    planned = told(home, remote, "undelete", "--dry-run", "data/d")
    done = told(home, remote, "undelete", "data/d")

    assert [item["path"] for item in planned["would"]] == ["", "f"]
    assert done["count"] == 2
    assert "-one\n+two" in shown(home, remote, "diff", "data/d/f")


@contextmanager
def web(body: bytes) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/measured.csv"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_import_puts_a_url_into_a_path_of_a_service(home):
    data = home.root / "served"
    process = home.start("serve", "--listen", "127.0.0.1:0", "--data", data, "--import-private")
    try:
        address = process.stdout.readline().split()[-1]
        token = home.run("token", "create", "ann", "--data", data).stdout.strip()
        remote = {"RENGA_ENDPOINT": address, "RENGA_ACCESS_TOKEN": token}
        with Client(remote["RENGA_ENDPOINT"], token) as client:
            client.buckets.create(name="data")
        with web(b"1,2,3\n") as url:
            version = told(home, remote, "import", url, "data")
        assert version["size"] == 6
        entries = changes_of(home, remote, "data/measured.csv")
        assert [entry["what"] for entry in entries] == ["saved", "made"]
    finally:
        process.terminate()
        process.communicate(timeout=240)


def test_what_is_not_there_is_one_line_on_a_service_too(home, remote, refused):
    for arguments, text in (
        (("log", "none"), "no 'none'"),
        (("log", "data/none"), "ever called"),
        (("undelete", "data/top"), "has not been deleted"),
        (("restore", "data/top@nolabel"), "no label 'nolabel'"),
        (("clone", "data/none", "data/x"), "there is no"),
        (("label", "data/top", "v1"), "not a bucket"),
        (("diff", "data@2100-01-01"), "to come"),
    ):
        assert text in refused(home.run(*arguments, **remote)), arguments
