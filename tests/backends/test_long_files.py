"""A long file through each backend: how much memory the service takes, and what an edit moves."""

import hashlib
import os
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from support.backend_contract import go, keys
from support.mounts import Home
from support.proxies import Plan, proxied
from support.rgw import Gateway
from support.scale import scaled
from support.storehome import store_home
from support.stores import backend_of, s3_store, swift_store
from support.swift import Swift

from rengafs.backends.store import Store

MIB = 1 << 20
SIZE_MIB = scaled(160, 6 << 10)
MEMORY_MIB = 200
EDIT_BYTES = 32 * MIB
PATIENCE_SECONDS = 600
"""An S3 copies what an edit keeps, and answers then: on a slow disk that is minutes."""


@pytest.fixture
def wires() -> dict[str, Plan]:
    """What went to and from each store; there is no wire to a local disk."""
    return {"swift-here": Plan(), "s3-here": Plan()}


@pytest.fixture
def home(swift: Swift, gateway: Gateway, wires: dict[str, Plan]) -> Iterator[Home]:
    """A user's home, with a counter between the service and its stores, and a local backend."""
    with ExitStack() as stack:
        swift_url = stack.enter_context(proxied(swift.url, wires["swift-here"]))
        gateway_url = stack.enter_context(proxied(gateway.url, wires["s3-here"]))
        there = stack.enter_context(
            store_home(replace(swift, url=swift_url), replace(gateway, url=gateway_url))
        )
        with (there.path / "backends.toml").open("a+") as file:
            file.seek(0)
            known = tomllib.loads(file.read())["backends"]
            names = known["swift-here"]["container"], known["s3-here"]["bucket"]
            file.write(
                f'\n[backends.local-here]\nkind = "local"\ndirectory = "{there.path / "disk"}"\n'
            )
        yield there
    _empty(swift_store(swift.auth_url, swift.user, swift.key, names[0]))
    _empty(s3_store(gateway.url, gateway.access_key, gateway.secret_key, names[1]))


def _empty(store: Store) -> None:
    """Make room for the next backend's files."""
    backend = backend_of(store, "direct")

    async def run() -> None:
        for key in await keys(backend):
            await backend.delete(key)
        await backend.sweep_temporaries(-60)

    go(backend, run)


def blocks(edited: bool) -> Iterator[bytes]:
    """The file, a MiB at a time; no two are equal."""
    noise = hashlib.shake_256(b"long").digest(MIB)
    for number in range(SIZE_MIB):
        block = bytearray(number.to_bytes(8) + noise[8:])
        if edited and number == SIZE_MIB // 2:
            block[MIB // 2] ^= 255
        yield bytes(block)


def service_memory_mib(home: Home) -> float:
    """The most that the service ever had."""
    (service,) = (
        pid for pid in home.processes() if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    for line in Path(f"/proc/{service}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the kernel tells no peak")


@pytest.mark.fuse
@pytest.mark.parametrize("backend", ["local-here", "swift-here", "s3-here"])
def test_a_long_file_takes_little_memory_and_an_edit_moves_little(
    home: Home, wires: dict[str, Plan], backend: str
) -> None:
    wire = wires.get(backend, Plan())
    patience = f"--patience={PATIENCE_SECONDS}"
    with home.mounted("first", "--backend", backend, patience) as top:
        file = top / "data" / "long"
        file.parent.mkdir()
        with file.open("wb", buffering=0) as writing:
            for block in blocks(edited=False):
                writing.write(block)
        stored = wire.passed
        assert backend not in wires or stored >= SIZE_MIB * MIB
        with file.open("r+b", buffering=0) as editing:
            at = SIZE_MIB // 2 * MIB + MIB // 2
            was = os.pread(editing.fileno(), 1, at)
            os.pwrite(editing.fileno(), bytes([was[0] ^ 255]), at)
        moved = wire.passed - stored
        wrote_mib = service_memory_mib(home)

    with home.mounted("second", "--cache-dir", str(home.path / "other-cache")) as top:
        with (top / "data" / "long").open("rb", buffering=0) as reading:
            digest = hashlib.sha256()
            while data := reading.read(MIB):
                digest.update(data)
        read_mib = service_memory_mib(home)

    wanted = hashlib.sha256()
    for block in blocks(edited=True):
        wanted.update(block)
    assert digest.hexdigest() == wanted.hexdigest()
    figures = {"writing MiB": wrote_mib, "reading MiB": read_mib}
    if backend in wires:
        figures["edit moved MiB"] = moved / MIB
        assert 0 < moved < EDIT_BYTES
    print(backend, SIZE_MIB, "MiB:", {name: round(figure, 1) for name, figure in figures.items()})
    assert max(wrote_mib, read_mib) < MEMORY_MIB
