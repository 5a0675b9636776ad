"""``python -m bench [AREA…]``: run the areas' comparisons; print a table, keep a JSON.

Exits with 1 if a promised ratio was not reached. Here are limits; `bench.peers` compares with
what people use today.

An area is a module of this package with ``rows(scratch, quick)``, which yields `Row`. One
that has ``PARTS`` takes their names as a third argument: ``python -m bench reads:warm,far``.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from bench.timing import Row

AREAS = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if path.stem not in ("__init__", "__main__", "timing") and not path.stem.startswith("test_")
)


def shown(figures, unit):
    middle = statistics.median(figures)
    return f"{middle:,.4g} {unit} ({min(figures):,.4g} to {max(figures):,.4g})"


def line(row: Row) -> str:
    low, high = row.spread
    sign = "≥" if row.higher_is_better else "≤"
    verdict = "yes" if row.reached else "NO"
    cells = [
        row.work + (f" ({row.told})" if row.told else ""),
        shown(row.ours, row.unit),
        f"{row.limit}: {shown(row.theirs, row.unit)}",
        f"{row.ratio:.3g} ({low:.3g} to {high:.3g})",
        f"{sign} {row.reach:g}",
        verdict,
    ]
    return "| " + " | ".join(cells) + " |"


def _chosen(text: str) -> tuple[str, set[str]]:
    """Return an area, and those of its parts that are wanted; none: all."""
    area, _, parts = text.partition(":")
    return area, {part for part in parts.split(",") if part}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}")
    parser.add_argument("--json", type=Path, help="where to keep every sample")
    options = parser.parse_args()
    chosen = dict(_chosen(text) for text in options.areas or AREAS)
    if unknown := set(chosen) - set(AREAS):
        parser.error(f"there is no area {', '.join(sorted(unknown))}; there are {AREAS}")
    quick = os.environ.get("QUICK", "") not in ("", "0")
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print("| work | rengafs: median (range) | compared with | ratio | to reach | reached |")
    print("| --- | --- | --- | --- | --- | --- |")
    measured = []
    for area, parts in chosen.items():
        module = importlib.import_module(f"bench.{area}")
        if missing := parts - set(getattr(module, "PARTS", ())):
            parser.error(f"{area} has no part {', '.join(sorted(missing))}")
        which = (parts,) if parts else ()
        with tempfile.TemporaryDirectory(prefix=f"rengafs-bench-{area}-") as scratch:
            for row in module.rows(Path(scratch), quick, *which):
                print(line(row), flush=True)
                measured.append({"area": area, **row.as_json()})
    if options.json:
        options.json.write_text(json.dumps(measured, indent=2) + "\n")
    return 0 if all(row["reached"] for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
