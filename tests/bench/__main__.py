"""``python -m bench [AREA…]``: run the areas' comparisons; print a table, keep a JSON.

Exits with 1 if a promised ratio was not reached. Here are limits; `bench.peers` compares with
what people use today.

``--publish`` keeps the samples in ``results/limits.json``, in the place of earlier ones of the same
work, and writes the table of all of them into ``BENCHMARKS.md``.

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
import time
from pathlib import Path

from bench.timing import Row, row_of

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "limits.json"
TEXT = HERE / "BENCHMARKS.md"
BEGIN, END = "<!-- limits: written by make bench-limits -->\n", "<!-- end of limits -->\n"
HEAD = """\
| work | rengafs: median (range) | compared with | ratio | to reach | reached |
| --- | --- | --- | --- | --- | --- |"""

AREAS = sorted(
    path.stem
    for path in HERE.glob("*.py")
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


def publish(measured: list[dict], machine: str) -> None:
    """Take new samples into what is published."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    places = {(row["area"], row["work"], row["limit"]): row for row in known}
    when = time.strftime("%Y-%m-%d", time.gmtime())
    for row in measured:
        places[row["area"], row["work"], row["limit"]] = {**row, "machine": machine, "on": when}
    rows = sorted(places.values(), key=lambda row: AREAS.index(row["area"]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    machines = "; ".join(sorted({f"{row['machine']}, {row['on']}" for row in rows}))
    table = "\n".join([HEAD, *(line(row_of(row)) for row in rows)])
    before, rest = TEXT.read_text().split(BEGIN)
    after = rest.split(END)[1]
    TEXT.write_text(f"{before}{BEGIN}\n{machines}.\n\n{table}\n\n{END}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}")
    parser.add_argument("--json", type=Path, help="where to keep every sample")
    parser.add_argument("--publish", action="store_true", help="keep them in the documentation")
    options = parser.parse_args()
    chosen = dict(_chosen(text) for text in options.areas or AREAS)
    if unknown := set(chosen) - set(AREAS):
        parser.error(f"there is no area {', '.join(sorted(unknown))}; there are {AREAS}")
    quick = os.environ.get("QUICK", "") not in ("", "0")
    machine = f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(machine)
    print(HEAD)
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
    if options.publish:
        publish(measured, machine)
    return 0 if all(row["reached"] for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
