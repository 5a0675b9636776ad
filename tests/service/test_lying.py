"""Content that lies in a file of the service's machine: whose, and which, it may be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.services import running_service
from support.talking import Talk, talking

from rengafs.client import calls
from rengafs.protocol import frames
from rengafs.protocol.endpoints import FS
from rengafs.protocol.operations import Apply, Commit, FileHere, Piece

OTHER = 65534
"""A user who is not the one that runs the tests."""
ASK = """
import os, socket, sys
uid, path, head, body = int(sys.argv[1]), *sys.argv[2:]
sock = socket.socket(socket.AF_UNIX)
os.setuid(uid)
sock.connect(path)
sock.sendall((head + body).encode())
print(sock.makefile().read())
"""


def named(data: Path, node: int, **other: int) -> FileHere:
    """Name a file, as a mount names its draft of a node."""
    (data.parent / "about.json").write_text(json.dumps({"file": node, "length": 17}))
    status = os.stat(data)
    facts = {"device": status.st_dev, "inode": status.st_ino, **other}
    return FileHere(directory=str(data.parent), **facts)


def body(node: int, source: FileHere, lying: int, length: int | None = None) -> bytes:
    commit = Commit(node=node, length=lying if length is None else length, ahead=True)
    lines = [Apply(ahead=node, source=source), Piece(lying=lying), Piece(), commit]
    return b"".join(map(frames.encode, lines))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(b"not for everybody")
    path.chmod(0o600)
    return path


def sent(talk: Talk, address: str, token: str, content: bytes) -> httpx.Response:
    path = address.removeprefix("unix:")
    transport = httpx.HTTPTransport(uds=path) if path != address else None
    base = "http://service" if path != address else address
    with httpx.Client(transport=transport, base_url=base, trust_env=False) as http:
        headers = {"authorization": f"Bearer {token}"}
        return http.post(f"{FS}/apply", content=content, headers=headers)


def test_who_runs_the_service_may_name_a_file(secret: Path) -> None:
    with running_service() as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        answer = sent(
            talk, service.address, service.token, body(file.id, named(secret, file.id), 17)
        )
        assert answer.status_code == 200, answer.text
        (outcome,) = answer.json()
        assert talk.content(outcome["version"]["id"]) == b"not for everybody"


def test_nobody_else_may(secret: Path) -> None:
    with running_service() as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        sock = Path(service.address.removeprefix("unix:"))
        sock.chmod(0o666)
        for above in sock.parents[:-2]:
            above.chmod(0o755)
        text = body(file.id, named(secret, file.id), 17).decode()
        head = (
            f"POST {FS}/apply HTTP/1.1\r\nHost: service\r\nContent-Length: {len(text)}\r\n"
            "Connection: close\r\n"
            f"Authorization: Bearer {service.token}\r\n\r\n"
        )
        command = [sys.executable, "-c", ASK, str(OTHER), str(sock), head, text]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("HTTP/1.1 501 "), done.stdout
        assert "only the service's own user" in done.stdout
        assert talk.run(calls.explore_versions(file.id)) == []


def test_nobody_may_over_a_network(secret: Path) -> None:
    with running_service(listen="127.0.0.1:0") as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        answer = sent(
            talk, service.address, service.token, body(file.id, named(secret, file.id), 17)
        )
        assert answer.status_code == 501, answer.text


def test_it_is_that_very_file_and_as_long_as_is_said(secret: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with running_service() as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        good = named(secret, file.id)
        answers = [
            (body(file.id, named(secret, file.id, inode=1), 17), 501),
            (body(file.id, good, 18), 501),
            (body(file.id, good, 16), 503),  # it has grown since, as it seems
            (body(file.id, FileHere(directory="/gone", device=1, inode=1), 17), 501),
        ]
        for content, status in answers:
            answer = sent(talk, service.address, service.token, content)
            assert answer.status_code == status, answer.text
        wrong = sent(talk, service.address, service.token, body(file.id, good, 17, 5))
        assert wrong.json()[0]["problem"]["code"] == "bad_request"
        for make in (lambda path: path.symlink_to(secret), os.mkfifo):
            data = other / "data"
            data.unlink(missing_ok=True)
            make(data)
            answer = sent(
                talk, service.address, service.token, body(file.id, named(data, file.id), 17)
            )
            assert answer.status_code == 501, answer.text
        assert secret.read_bytes() == b"not for everybody"
        blobs = service.data / "blobs"
        assert [*blobs.glob("??/*"), *blobs.glob("tmp/*")] == []


def test_what_is_not_meant_as_content_is_not_taken(secret: Path) -> None:
    """Who speaks through a proxy of the service's user could name any file else."""
    about = secret.parent / "about.json"
    with running_service() as service, talking(service) as talk:
        file = talk.file(talk.bucket(), "f")
        good = named(secret, file.id)
        for text in ("{}", "no JSON", json.dumps({"file": file.id + 1})):
            about.write_text(text)
            answer = sent(talk, service.address, service.token, body(file.id, good, 17))
            assert answer.status_code == 501, answer.text
        about.unlink()
        answer = sent(talk, service.address, service.token, body(file.id, good, 17))
        assert answer.status_code == 501, answer.text
