"""What bounds every contender: plain HTTP, one request or stream after another."""

import random
import time
from collections.abc import Callable

from bench.peers.store import Store
from bench.peers.trials import FAILURES, Results
from bench.peers.works import MIB, SEED, SMALL, Sizes, noise

NAMES = {
    "put": "one plain Swift PUT after another",
    "get": "one plain Swift GET after another",
    "stream": "one plain httpx stream from Swift",
    "disk": "a directory of this disk",
}
REQUESTS = 100
CONTAINER = "limits"


def measure(results: Results, store: Store, where: str, sizes: Sizes) -> None:
    """Record the limits' figures under their names."""
    store.make(CONTAINER)
    limits = {
        ("put", "write-stored"): lambda: _put(store, sizes),
        ("put", "write-fsync"): lambda: _put(store, sizes),
        ("stream", "read-cold"): lambda: _stream(store, sizes),
        ("put", "create"): lambda: _puts(store),
        ("put", "create-stored"): lambda: _puts(store),
        ("get", "read-files-cold"): lambda: _gets(store),
    }
    for (name, row), work in limits.items():
        cell = results.cell(row, name, where)
        try:
            cell.samples.append(work())
        except FAILURES as error:
            cell.failures.append(str(error))


def _put(store: Store, sizes: Sizes) -> float:
    data = noise(sizes.big)
    return sizes.big / _timed(lambda: store.put(CONTAINER, "big", data))


def _stream(store: Store, sizes: Sizes) -> float:
    size = sizes.big * MIB
    return sizes.big / _timed(lambda: _same(store.get(CONTAINER, "big"), size))


def _puts(store: Store) -> float:
    data = random.Random(SEED).randbytes(SMALL)

    def work() -> None:
        for number in range(REQUESTS):
            store.put(CONTAINER, f"small-{number}", data)

    return REQUESTS / _timed(work)


def _gets(store: Store) -> float:
    def work() -> None:
        for number in range(REQUESTS):
            _same(store.get(CONTAINER, f"small-{number}"), SMALL)

    return REQUESTS / _timed(work)


def _timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _same(found: int, expected: int) -> None:
    assert found == expected, f"{found} bytes came instead of {expected}"
