"""What can be written: bytes, text, files, iterables and URLs, into a spool."""

import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio
from support.faulty import answer, cut, faulty, raw, silence

from rengafs.client.sdk import async_sources, sources
from rengafs.client.sdk.spool import MEMORY_BYTES, Spool
from rengafs.protocol.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RengafsError,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)


@pytest.fixture
def spool() -> Iterator[Spool]:
    made = Spool()
    yield made
    made.close()


def content(spool: Spool) -> bytes:
    return b"".join(spool.pieces())


@pytest.mark.parametrize(
    "data",
    [
        b"h\xc3\xa9llo",
        bytearray(b"h\xc3\xa9llo"),
        memoryview(b"h\xc3\xa9llo"),
        "héllo",
        io.BytesIO(b"h\xc3\xa9llo"),
        io.StringIO("héllo"),
        [b"h\xc3\xa9", "l", memoryview(b"lo")],
        iter([b"h\xc3\xa9llo"]),
    ],
    ids=lambda data: type(data).__name__,
)
async def test_every_kind_of_source_is_taken(spool: Spool, data: sources.Source):
    await async_sources.fill(spool, data)
    first = content(spool)
    if isinstance(data, io.IOBase):
        data.seek(0)
    if not hasattr(data, "__next__") or isinstance(data, io.IOBase):
        sources.fill(spool, data)

    assert first == "héllo".encode()
    assert content(spool) in (first, first * 2)


@pytest.mark.parametrize("data", [5, None, [1, 2], object()])
def test_what_is_no_source_is_refused(spool: Spool, data: sources.Source):
    with pytest.raises(TypeError, match="can be written, not"):
        sources.fill(spool, data)


async def test_async_sources_are_taken(spool: Spool, tmp_path: Path):
    async def pieces() -> AsyncIterator[bytes | str]:
        yield b"one"
        yield "two"

    (tmp_path / "f").write_bytes(b"three\nfour")
    await async_sources.fill(spool, pieces())
    async with await trio.open_file(tmp_path / "f", "rb") as file:
        await async_sources.fill(spool, file)

    assert content(spool) == b"onetwothree\nfour"


async def test_a_large_spool_lies_on_disk_and_reads_as_often_as_needed(spool: Spool):
    data = os.urandom(MEMORY_BYTES + 12345)
    sources.fill(spool, io.BytesIO(data))
    spool.truncate(len(data) - 5)
    spool.append(data[-5:])

    assert content(spool) == data
    assert b"".join([piece async for piece in async_sources.pieces(spool)]) == data
    assert content(spool) == data


def test_a_file_larger_than_memory_allows_is_taken(tmp_path: Path):
    """The bound is the kernel's: the process may not have as much memory as the file is long."""
    script = """
import resource, sys
from rengafs.client.sdk import sources
from rengafs.client.sdk.spool import Spool
resource.setrlimit(resource.RLIMIT_AS, (400 << 20,) * 2)
spool = Spool()
with open(sys.argv[1], "rb") as file:
    sources.fill(spool, file)
print(spool.length, spool.sha256()[:6])
spool.close()
"""
    with (tmp_path / "large").open("wb") as large:
        large.truncate(600 << 20)

    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "large"],
        capture_output=True, text=True, check=True, timeout=120, env={"TMPDIR": str(tmp_path)},
    )  # fmt: skip

    assert done.stdout.split()[0] == str(600 << 20)


# --- URLs -----------------------------------------------------------------------------


class Fetch:
    def __init__(self, how: str) -> None:
        self.how = how

    def __call__(self, spool: Spool, url: str) -> None:
        address = sources.parse_url(url)
        if self.how == "trio":
            trio.run(async_sources.fetch, spool, address)
        else:
            sources.fetch(spool, address)


@pytest.fixture(params=["blocking", "trio"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    return Fetch(request.param)


def test_a_url_is_fetched(spool: Spool, fetch: Fetch):
    body = os.urandom(3_000_000)
    with faulty(answer(200, body)) as web:
        fetch(spool, f"{web.address}/data")

    assert content(spool) == body


def test_redirections_are_followed(spool: Spool, fetch: Fetch):
    with faulty(answer(302, headers={"location": "/there"}), answer(200, b"there")) as web:
        fetch(spool, f"{web.address}/here")

    assert content(spool) == b"there"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (answer(404), NotFound),
        (answer(403), Forbidden),
        (answer(500), Unavailable),
        (answer(402), UnexpectedAnswer),
        (cut, Unreachable),
        (raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"), Unreachable),
        (raw(b"nonsense\r\n\r\n"), UnexpectedAnswer),
        (answer(302, headers={"location": "/again"}), BadRequest),
        (answer(302, headers={"location": "ftp://elsewhere/"}), BadRequest),
    ],
    ids=["404", "403", "500", "402", "cut", "short", "nonsense", "loop", "ftp"],
)
def test_a_url_that_cannot_be_read_is_an_error_that_names_it(
    spool: Spool, fetch: Fetch, script, error: type[RengafsError]
):
    with faulty(script) as web, pytest.raises(error, match=r"127\.0\.0\.1") as caught:
        fetch(spool, f"{web.address}/data")

    assert type(caught.value) is error


async def test_a_fetch_can_be_cancelled(spool: Spool):
    with faulty(silence) as web, trio.move_on_after(0.2) as scope:
        await async_sources.fetch(spool, sources.parse_url(web.address))

    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "data", "", "http://", "http://h:x"]
)
def test_only_web_addresses_can_be_read(url: str):
    with pytest.raises(BadRequest):
        sources.parse_url(url)


def test_a_password_is_neither_shown_nor_kept():
    address = sources.parse_url("https://ada:hunter2@host/x?q=1#part")

    assert sources.plain(address) == "https://host/x?q=1"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/tests/data", "data"),
        ("https://example.com/a%20b.csv?x=1", "a b.csv"),
        ("https://example.com/dir/", "example.com"),
        ("https://example.com", "example.com"),
        ("https://example.com/a/%2E%2E", "example.com"),
        ("https://example.com/a%2Fb", "b"),
    ],
)
def test_a_url_suggests_a_name(url: str, name: str):
    assert sources.name_in(sources.parse_url(url)) == name
