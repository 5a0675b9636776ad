"""rengafs import: the service fetches, within limits, from where it is allowed to."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import rengafs
from rengafs.service.importing import is_public

CONTENT = os.urandom(3 << 20)


class Web(BaseHTTPRequestHandler):
    """A content, redirects, an endless content, and lies."""

    def do_GET(self) -> None:
        answers = {
            "/data.bin": (200, {"content-length": str(len(CONTENT))}, CONTENT),
            "/moved": (302, {"location": "/data.bin"}, b""),
            "/loop": (302, {"location": "/loop"}, b""),
            "/file": (302, {"location": "file:///etc/passwd"}, b""),
            "/short": (200, {"content-length": "100"}, b"less"),
            "/unannounced": (200, {}, b"x" * 5000),
        }
        status, headers, body = answers.get(self.path, (404, {}, b"not here"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_becomes_a_file_and_says_where_it_came_from(home, bucket, web):
    done = home.run("import", f"{web}/data.bin", bucket)
    again = home.run("import", "--json", f"{web}/moved", bucket / "other")

    assert done.returncode == 0, done.stderr
    assert (bucket / "data.bin").read_bytes() == CONTENT
    assert os.getxattr(bucket / "data.bin", "user.xdg.origin.url").decode() == f"{web}/data.bin"
    assert json.loads(again.stdout)["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (bucket / "other").read_bytes() == CONTENT


def test_a_file_that_is_there_gets_a_version_and_a_failure_leaves_nothing(home, bucket, web):
    (bucket / "f").write_text("mine")

    assert home.run("import", f"{web}/unannounced", bucket / "f").returncode == 0
    assert len(list((bucket / ".versions" / "f").iterdir())) == 2
    assert home.run("import", f"{web}/missing", bucket / "f").returncode != 0
    assert (bucket / "f").read_bytes() == b"x" * 5000
    assert home.run("import", f"{web}/missing", bucket / "g").returncode != 0
    assert os.listdir(bucket) == ["f"]


def test_what_is_wrong_is_said_in_one_line(home, bucket, web, refused):
    for url, text in (
        (f"{web}/missing", "answers 404"),
        (f"{web}/loop", "redirects"),
        (f"{web}/file", "not a URL that can be imported"),
        (f"{web}/short", "can't be fetched"),
        ("file:///etc/passwd", "not a URL that can be imported"),
        ("http://user:secret@127.0.0.1/x", "user name"),
        ("http://no-such-host.invalid/x", "not known"),
        ("http://127.0.0.1:1/x", "can't be fetched"),
    ):
        assert text in refused(home.run("import", url, bucket / "f")), url
    big = home.run("import", "--max-size", "1K", f"{web}/unannounced", bucket / "f")
    assert "more than 1024 bytes" in refused(big)
    announced = home.run("import", "--max-size", "1K", f"{web}/data.bin", bucket / "f")
    assert "more than 1024 bytes" in refused(announced)
    assert os.listdir(bucket) == []


def test_a_service_for_others_asks_no_private_address(home, served, web, refused):
    address, token = served
    environment = {"RENGA_ACCESS_TOKEN": token}

    with rengafs.Client(address, token=token) as client:
        client.buckets.create(name="b", backend="local")

    for url in (f"{web}/data.bin", web.replace("127.0.0.1", "localhost") + "/data.bin"):
        done = home.run("import", "--endpoint", address, url, "b/f", **environment)
        assert "private address" in refused(done)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
        "fd00::1",
        "2002:7f00:1::",
    ],
)
def test_private_addresses_are_known(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1"])
def test_public_addresses_are_known(address):
    assert is_public(address)
