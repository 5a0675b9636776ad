"""``python -m bench.peers``: everything in turns; then a table, plots and a JSON."""

import argparse
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path

from support.swift import running_swift

from bench.peers import limits, report
from bench.peers.contenders import Contender, Disk, Failed, Rclone, S3fs
from bench.peers.links import far
from bench.peers.ours import Rengafs, RengafsWriteBack
from bench.peers.store import Access, Store
from bench.peers.tools import install
from bench.peers.trials import FAILURES, Results, Trial
from bench.peers.works import WORKS, Sizes

ROOT = Path(__file__).parents[3]
QUICK = Sizes(big=32, files=40, tree=8, reads=40, inodes=100, seen_seconds=5, seen_rounds=3)
FULL = Sizes(big=256, files=300, tree=40, reads=200, inodes=20_000, seen_seconds=60, seen_rounds=10)
HERE, FAR = "here", "20 ms away"
ONCE = ("memory",)
"""Works that are not repeated: they take long, and show much the same each time."""
NEAR_ONLY = ("memory", "elsewhere")


def main() -> None:
    options = _options()
    quick = os.environ.get("QUICK", "") not in ("", "0")
    sizes = replace(QUICK if quick else FULL, **dict(options.sizes))
    cache = ROOT / ".cache" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    tools = install(cache)
    everybody: list[Contender] = [
        Rengafs(),
        RengafsWriteBack(),
        Rclone(tools.rclone),
        S3fs(tools.s3fs),
        Disk(),
    ]
    contenders = [one for one in everybody if one.name in options.only or not options.only]
    if quick and not options.only:
        # What it promises differs in writes only.
        contenders = [one for one in contenders if not isinstance(one, RengafsWriteBack)]
    signal.signal(signal.SIGTERM, _stop)
    results = Results()
    conditions = report.conditions(contenders, tools.versions(), sizes)
    out = options.out or cache
    before = report.earlier(out, conditions) if options.merge else Results()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rengafs-bench-")))
        swift = stack.enter_context(running_swift(memcached=True))
        here = Access(swift.url, swift.user, swift.key)
        away = Access(stack.enter_context(far(swift.url)), swift.user, swift.key)
        try:
            for number in range(1 if quick else options.rounds):
                for where, access in ((HERE, here), (FAR, away)):
                    if where in options.where:
                        print(f"round {number + 1}, {where}", flush=True)
                        works = _works(options.works, number, where, quick)
                        _round(results, contenders, works, (scratch, where, here, access), sizes)
        finally:
            # What was measured before an interruption is not lost.
            conditions.ended()
            before.add(results, instead=options.merge == "instead")
            report.write(out, conditions, before, publish=options.publish)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    parser.add_argument("--works", nargs="*", default=list(WORKS), choices=list(WORKS))
    parser.add_argument("--only", nargs="*", default=[], metavar="CONTENDER")
    parser.add_argument("--where", nargs="*", default=[HERE, FAR], choices=[HERE, FAR])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--sizes", nargs="*", default=[], type=_size, metavar="NAME=NUMBER", help="of `Sizes`"
    )
    parser.add_argument("--out", type=Path, help="where to write [default: .cache/bench]")
    parser.add_argument(
        "--merge",
        choices=["add", "instead"],
        help="measure in parts: keep what the last runs measured, and add to it, or put what is "
        "measured now in the place of the same rows",
    )
    parser.add_argument(
        "--publish", action="store_true", help="put the table and plots beside BENCHMARKS.md too"
    )
    return parser.parse_args()


def _stop(*_: object) -> None:
    raise SystemExit("stopped")


def _size(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in {field.name for field in fields(Sizes)}:
        raise argparse.ArgumentTypeError(f"{name!r} is no size")
    return name, int(number)


def _works(asked: Sequence[str], number: int, where: str, quick: bool) -> list[str]:
    return [
        name
        for name in asked
        if not (name in ONCE and number)
        and not (where == FAR and (name in NEAR_ONLY or (quick and name != "small")))
    ]


def _round(
    results: Results,
    contenders: Sequence[Contender],
    works: Sequence[str],
    place: tuple[Path, str, Access, Access],
    sizes: Sizes,
) -> None:
    scratch, where, here, access = place
    if {"big", "small"} & set(works):
        with Store(access) as store:
            limits.measure(results, store, where, sizes)
    for work in works:
        for contender in contenders:
            if contender.name == Disk.name and (where == FAR or work in NEAR_ONLY):
                continue
            print(f"  {work}: {contender.name}", flush=True)
            try:
                with Store(here) as store, contender.session(scratch, store, access) as session:
                    WORKS[work](Trial(results, contender.name, where, session), sizes, scratch)
            except (*FAILURES, Failed) as error:
                # Not a figure of one row: it does not even mount, or unmount.
                print(f"    {contender.name}: {work} FAILED: {error}", flush=True)
                results.cell(work, contender.name, where).failures.append(str(error)[-500:])


if __name__ == "__main__":
    main()
