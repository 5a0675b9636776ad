"""Small parts of the service, without one running."""

import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rengafs.backends.base import Backend
from rengafs.backends.local.backend import open_local
from rengafs.catalog.values import Base, Blob, Content, TokenHolder
from rengafs.protocol.errors import (
    BodyMismatch,
    NotAuthenticated,
    RangeNotSatisfiable,
    TokenExpired,
    WrongGrant,
)
from rengafs.protocol.operations import Commit
from rengafs.service import storing
from rengafs.service.authority import GRANT_SECONDS, Authority, Bearer, bearer
from rengafs.service.ranges import parse_range

ADA = TokenHolder(7, "ada", read_only=False, expires_ms=None)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_what_the_bytes_say(size: int, first: int, last: int) -> None:
    data = bytes(range(size))

    for header, wanted in [
        (f"bytes={first}-{last}", data[first : last + 1] if last >= first else data),
        (f"bytes={first}-", data[first:]),
        (f"bytes=-{last}", data[-last:] if last else b""),
    ]:
        try:
            start, stop = parse_range(header, size) or (0, size)
        except RangeNotSatisfiable:
            assert wanted == b""
        else:
            assert data[start:stop] == wanted


def test_a_grant_says_what_it_is_for_until_its_time_is_over() -> None:
    now = [1000.0]
    authority = Authority("ab" * 32, clock=lambda: now[0])
    other = Authority("cd" * 32)
    now[0] = time.time()
    given = Bearer(authority.grant(ADA, 42, "read", 99))

    granted = authority.granted(given, "read")
    assert (granted.file, granted.version, granted.user, granted.name) == (42, 99, 7, "ada")
    with pytest.raises(WrongGrant):
        authority.granted(given, "write")
    with pytest.raises(WrongGrant):
        authority.refuse_grant(given)
    with pytest.raises(NotAuthenticated):
        other.granted(given)
    now[0] -= GRANT_SECONDS + 10
    with pytest.raises(TokenExpired):
        authority.granted(Bearer(authority.grant(ADA, 42, "read")))


@pytest.mark.parametrize("header", ["", "Bearer ", "Basic abc", "rnga_abc"])
def test_what_is_no_bearer_token_is_none(header: str) -> None:
    with pytest.raises(NotAuthenticated):
        bearer(header)


@pytest.fixture
def backends(tmp_path: Path) -> dict[str, Backend]:
    return {name: open_local(tmp_path / name, owner="me", name=name) for name in ("local", "other")}


@pytest.mark.parametrize(
    ("length", "extents"),
    [
        (300, [(0, 10), (250, 50)]),
        (1000, [(500, 10)]),
        (100, []),
        (2_000_000, [(5, 7)]),
        (5, [(0, 5)]),
    ],
)
def test_a_base_of_another_backend_is_composed_all_the_same(
    backends: dict[str, Backend], length: int, extents: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        old = os.urandom(300)
        stored = await backends["local"].put(pieces(old))
        blob = Blob("local", stored.key, stored.size, stored.sha256)
        base = Base("other", Content(1, 2, 300, stored.sha256, blob))
        payload = os.urandom(sum(count for _, count in extents))
        wanted, rest = bytearray(old[:length].ljust(length, b"\0")), payload
        for offset, count in extents:
            wanted[offset : offset + count], rest = rest[:count], rest[count:]
        commit = Commit(node=2, length=length, extents=extents, payload=len(payload))
        parts = SimpleNamespace(backend=backends.__getitem__)

        made = await storing.compose(parts, base, commit, pieces(payload))  # type: ignore[arg-type]

        assert made is not None
        assert made.backend == "other"
        assert made.sha256 == hashlib.sha256(wanted).hexdigest()
        for wrong in (payload + b"x", payload[:-1]) if payload else ():
            with pytest.raises(BodyMismatch):
                await storing.compose(parts, base, commit, pieces(wrong))  # type: ignore[arg-type]

    anyio.run(run)


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 3):
        yield data[start : start + 3]
