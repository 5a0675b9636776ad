"""The table, the plots and the JSON of a run, with the conditions it was made in."""

import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.peers.contenders import Contender
from bench.peers.limits import NAMES
from bench.peers.plots import plot
from bench.peers.rows import BY_KEY, ROWS, Row
from bench.peers.trials import Cell, Results
from bench.peers.works import Sizes

US, WRITE_BACK = "rengafs", "rengafs --write-back"
PEERS = ("rclone", "s3fs")
BESIDE = Path(__file__).parents[1]
BEGIN, END = "<!-- table: written by make bench -->", "<!-- end of table -->"


@dataclass
class Conditions:
    """What a reader needs to judge the figures."""

    machine: str
    commit: str
    versions: dict[str, str]
    options: dict[str, str]
    promises: dict[str, str]
    sizes: Sizes
    began: str
    load_at_begin: float
    end: str = ""
    load_at_end: float = 0.0
    runs: int = 1
    """In how many parts it was measured, one after another."""

    def after(self, earlier: dict) -> None:
        """Tell of earlier parts too, of the same sizes. Raises `ValueError` for others."""
        if earlier["sizes"] != asdict(self.sizes):
            raise ValueError(f"the earlier part had other sizes: {earlier['sizes']}")
        self.began = earlier["began"]
        self.load_at_begin = earlier["load_at_begin"]
        self.runs += earlier["runs"]
        for name in ("versions", "options", "promises"):
            setattr(self, name, {**earlier[name], **getattr(self, name)})

    def ended(self) -> None:
        self.end = _now()
        self.load_at_end = os.getloadavg()[1]


def conditions(
    contenders: Sequence[Contender], versions: dict[str, str], sizes: Sizes
) -> Conditions:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = (
        f"{platform.platform()}, {os.cpu_count()} CPUs, {memory:.0f} GiB, "
        f"Python {platform.python_version()}"
    )
    head = subprocess.run(
        ["git", "-C", str(BESIDE), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return Conditions(
        machine=machine,
        commit=head.stdout.strip() or "unknown",
        versions=versions,
        options={one.name: one.options for one in contenders},
        promises={one.name: one.promise for one in contenders},
        sizes=sizes,
        began=_now(),
        load_at_begin=os.getloadavg()[1],
    )


def earlier(directory: Path, told: Conditions) -> Results:
    """Return what was measured into *directory* before. Raises `ValueError` for other sizes."""
    file = directory / "peers.json"
    if not file.exists():
        return Results()
    found = json.loads(file.read_text())
    told.after(found["conditions"])
    return Results.from_json(found["samples"])


def write(directory: Path, told: Conditions, results: Results, *, publish: bool) -> None:
    """Write everything to *directory*; to *publish* is to renew BENCHMARKS.md and what it shows."""
    text = markdown(told, results)
    sample = json.dumps({"conditions": asdict(told), "samples": results.as_json()}, indent=1)
    for place in [directory, *([BESIDE / "results"] if publish else [])]:
        place.mkdir(parents=True, exist_ok=True)
        (place / "peers.json").write_text(sample + "\n")
        for where in _places(results):
            name = "peers-" + where.replace(" ", "-")
            (place / f"{name}.svg").write_text(plot(where, _shown(results, where, told)))
    (directory / "peers.md").write_text(text)
    if publish:
        page = BESIDE / "BENCHMARKS.md"
        before, _, rest = page.read_text().partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}")
    print(text)
    print(f"written to {directory}" + (" and BENCHMARKS.md" if publish else ""))


def markdown(told: Conditions, results: Results) -> str:
    parts = f", in {told.runs} parts" if told.runs > 1 else ""
    lines = [
        f"{told.machine}; {told.began} to {told.end}{parts}; load {told.load_at_begin:.1f} at the "
        f"beginning, {told.load_at_end:.1f} at the end; commit {told.commit}.",
        "",
        "| contender | version | mounted with | when close has returned |",
        "| --- | --- | --- | --- |",
    ]
    for name, options in told.options.items():
        version = told.versions.get(name, "this one" if name.startswith(US) else "")
        lines.append(f"| {name} | {version} | {options} | {told.promises[name]} |")
    for where in _places(results):
        lines += ["", f"### {where.capitalize()}", "", *_table(told, results, where)]
    failures = _failures(results)
    if failures:
        lines += ["", "What failed:", "", *failures]
    return "\n".join(lines) + "\n"


def _table(told: Conditions, results: Results, where: str) -> list[str]:
    lines = [
        "| work | rengafs | --write-back | rclone | s3fs | limit | to the better peer | reached |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        cells = {who: results.cells.get((row.key, who, where)) for who in (US, WRITE_BACK, *PEERS)}
        if not any(cells.values()):
            continue
        shown = [_cell(row, cell) for cell in cells.values()]
        if row.writes:
            # Only the first and the last have it in the store by then; the others promise less.
            shown = [
                text + ("" if who in (US, "s3fs") or not text.strip() else " °")
                for who, text in zip(cells, shown, strict=True)
            ]
        limit = _limit(row, results, where)
        verdict = judge(row, cells, _median(results.cells.get((row.key, row.limit, where))))
        work = row.work.format(**asdict(told.sizes))
        lines.append("| " + " | ".join([f"{work} ({row.unit})", *shown, limit, *verdict]) + " |")
    lines += ["", "Median (least to most). ° close has returned, but the store has it only later."]
    return lines


def judge(row: Row, cells: dict[str, Cell | None], limit: float | None) -> tuple[str, str]:
    """Return the ratio to the better peer, and whether what was promised is reached."""
    ours = _median(cells[US])
    peers = (row.peer,) if row.peer else PEERS
    theirs = [figure for peer in peers if (figure := _median(cells[peer])) is not None]
    best = (max if row.better == "more" else min)(theirs, default=None)
    ratio = None if ours is None or not best else ours / best
    verdicts = []
    whose = f" of {row.peer}'s" if row.peer else ""
    if row.reach is not None and ratio is not None:
        verdicts.append(_verdict(row.reached(ratio, row.reach), row, row.reach, whose))
    if row.reach_limit is not None and ours is not None and limit:
        good = row.reached(ours / limit, row.reach_limit)
        verdicts.append(_verdict(good, row, row.reach_limit, f" of the {row.limit}'s"))
    if row.below is not None and ours is not None:
        verdicts.append(f"{'yes' if ours < row.below else 'NO'} (< {row.below:g} {row.unit})")
    back = _median(cells[WRITE_BACK])
    if row.reach_write_back is not None and back is not None and best:
        good = row.reached(back / best, row.reach_write_back)
        verdicts.append(_verdict(good, row, row.reach_write_back, f" with it: {back / best:.3g}"))
    return ("" if ratio is None else f"{ratio:.3g}"), "; ".join(verdicts)


def _verdict(good: bool, row: Row, reach: float, whose: str) -> str:
    sign = "≥" if row.better == "more" else "≤"
    return f"{'yes' if good else 'NO'} ({sign} {reach:g}{whose})"


def _cell(row: Row, cell: Cell | None) -> str:
    if cell is None:
        return " "
    parts = []
    if cell.samples:
        low, high = min(cell.samples), max(cell.samples)
        spread = f" ({figure(low)} to {figure(high)})" if len(cell.samples) > 1 else ""
        parts.append(figure(statistics.median(cell.samples)) + spread)
    if cell.bounds:
        parts.append(f"not within {max(cell.bounds):g} s")
    if cell.failures:
        parts.append("FAILED" + (f" {len(cell.failures)} times" if cell.samples else ""))
    return "; ".join(parts)


def figure(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _limit(row: Row, results: Results, where: str) -> str:
    middle = _median(results.cells.get((row.key, row.limit, where)))
    return "" if middle is None else f"{figure(middle)} ({NAMES[row.limit]})"


def _median(cell: Cell | None) -> float | None:
    """The median of what was measured; what was given up counts as at least so long."""
    figures = [] if cell is None else [*cell.samples, *cell.bounds]
    return statistics.median(figures) if figures else None


def _failures(results: Results) -> list[str]:
    lines = []
    for (key, who, where), cell in results.cells.items():
        for why in dict.fromkeys(cell.failures):
            row = BY_KEY.get(key)
            lines.append(f"- {who}, {where}: {row.key if row else key}: {why}")
    return lines


def _shown(results: Results, where: str, told: Conditions) -> list[tuple[str, str, dict]]:
    """Return (work, unit, figures by contender) for a plot."""
    shown = []
    for row in ROWS:
        figures = {}
        for who in (US, WRITE_BACK, *PEERS, row.limit):
            middle = _median(results.cells.get((row.key, who, where)))
            if middle is not None:
                figures[who] = middle
        if len(figures) > 1:
            shown.append((row.work.format(**asdict(told.sizes)), row.unit, figures))
    return shown


def _places(results: Results) -> list[str]:
    return list(dict.fromkeys(where for _, _, where in results.cells))


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
