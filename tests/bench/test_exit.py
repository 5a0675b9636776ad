"""What ``python -m bench`` exits with. No servers here."""

import json
import sys
from pathlib import Path
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


def test_what_is_published_takes_the_place_of_what_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text, results = tmp_path / "text.md", tmp_path / "limits.json"
    text.write_text(f"before\n{bench.BEGIN}old\n{bench.END}after\n")
    monkeypatch.setattr(bench, "TEXT", text)
    monkeypatch.setattr(bench, "RESULTS", results)
    monkeypatch.setattr(bench, "AREAS", ["made_up"])
    monkeypatch.setattr(sys, "argv", ["bench", "made_up", "--publish"])
    for ours in ({"first": 1.0, "second": 2.0}, {"first": 3.0}):
        area = ModuleType("bench.made_up")
        rows = [Row(work, "MiB/s", "a peer", 0.7, [mine], [1.0]) for work, mine in ours.items()]
        area.rows = lambda scratch, quick, rows=rows: rows  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "bench.made_up", area)
        bench.main()
    written = text.read_text()
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "| first | 3 MiB/s" in written
    assert "| second | 2 MiB/s" in written
    assert "old" not in written
    assert [row["ours"] for row in json.loads(results.read_text())] == [[3.0], [2.0]]
