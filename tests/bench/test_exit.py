"""What ``python -m bench`` exits with. No servers here."""

import sys
from types import ModuleType

import pytest

from bench import __main__ as bench
from bench.timing import Row


@pytest.mark.parametrize(("ours", "code"), [(0.71, 0), (0.69, 1)])
def test_a_ratio_that_is_not_reached_is_a_failure(
    ours: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    area = ModuleType("bench.made_up")
    rows = [Row("first", "MiB/s", "a peer", 0.7, [ours], [1.0])]
    rows.append(Row("second", "MiB/s", "a peer", 0.7, [1.0], [1.0]))
    area.rows = lambda scratch, quick: rows  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench.made_up", area)
    monkeypatch.setattr(bench, "AREAS", ["made_up"])
    monkeypatch.setattr(sys, "argv", ["bench", "made_up"])

    assert bench.main() == code
