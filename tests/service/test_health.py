"""What is told to whoever watches a service."""

import re
from pathlib import Path

import httpx
from support.postgresql import running_postgresql
from support.services import running_service
from support.talking import Talk

from rengafs.client import calls


def plain(address: str) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=address.removeprefix("unix:"))
    return httpx.Client(transport=transport, base_url="http://x", timeout=240)


def test_it_is_ready_and_counts_requests_without_naming_anybody(talk: Talk) -> None:
    file = talk.file(talk.bucket(), "secret-name", b"one")
    talk.run(calls.node(file.id))

    with plain(talk.service.address) as http:
        assert http.get("/healthz").status_code == 200
        assert http.get("/readyz").status_code == 200
        text = http.get("/metrics").text

    counted = re.search(
        r'^rengafs_requests_total{endpoint="node",status="200"} (\d+)', text, re.MULTILINE
    )
    assert counted
    assert int(counted[1]) >= 1
    assert "rengafs_request_seconds_bucket" in text
    assert "process_resident_memory_bytes" in text
    assert "secret-name" not in text
    assert "tester" not in text


def test_without_its_database_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    with (
        running_postgresql() as server,
        server.catalog() as url,
        running_service(tmp_path / "data", catalog=url) as service,
        plain(service.address) as http,
    ):
        assert http.get("/readyz").status_code == 200
        server.stop()
        told = http.get("/readyz")
        alive = http.get("/healthz")
        server.start()
        # The first may find the connections that broke.
        again = [http.get("/readyz").status_code for _ in range(2)][1]

    assert (told.status_code, told.json()["code"]) == (503, "unavailable")
    assert alive.status_code == 200
    assert again == 200
