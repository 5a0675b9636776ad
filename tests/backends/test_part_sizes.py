"""How blobs are cut into parts: any length that a store takes fits into the parts it takes."""

from itertools import accumulate

import pytest

from rengafs.backends.base import HASHED_BYTES
from rengafs.backends.remote import copied_part, growing_part
from rengafs.backends.s3.backend import S3Store
from rengafs.backends.store import Store
from rengafs.backends.swift.backend import SwiftStore

TIB = 1 << 40
STORES = [S3Store, SwiftStore]


def sizes(store: type[Store]) -> list[int]:
    return [
        growing_part(store.part_bytes, store.max_parts, number) for number in range(store.max_parts)
    ]


@pytest.mark.parametrize("store", STORES)
def test_a_stream_of_any_length_fits(store: type[Store]) -> None:
    parts = sizes(store)
    assert sum(parts) >= 5 * TIB
    assert max(parts) <= 5 << 30
    assert all(part % HASHED_BYTES == 0 for part in parts)


@pytest.mark.parametrize("store", STORES)
def test_what_is_not_huge_goes_by_small_parts(store: type[Store]) -> None:
    lengths = zip(accumulate(sizes(store)), sizes(store), strict=True)
    assert max(part for end, part in lengths if end <= 7 << 30) == store.part_bytes


@pytest.mark.parametrize("base_size", [1, 6 << 30, TIB, 5 * TIB])
def test_a_base_of_any_length_is_copied_in_a_quarter_of_the_parts(base_size: int) -> None:
    step = copied_part(S3Store, base_size)  # type: ignore[arg-type]
    assert step % HASHED_BYTES == 0
    assert step <= 5 << 30
    assert -(-base_size // step) <= S3Store.max_parts // 4
