"""What the comparison with peers concludes from its samples. No servers here."""

from dataclasses import replace

import pytest

from bench.peers.plots import plot
from bench.peers.report import conditions, earlier, judge, markdown, write
from bench.peers.rows import BY_KEY, ROWS
from bench.peers.trials import Cell, Results, Trial
from bench.peers.works import Sizes

SIZES = Sizes(big=1, files=2, tree=3, reads=4, inodes=5, seen_seconds=6, seen_rounds=7)


class Idle:
    def kill(self):
        self.killed = True


def cells(**figures):
    names = {"ours": "rengafs", "back": "rengafs --write-back", "rclone": "rclone", "s3fs": "s3fs"}
    empty = dict.fromkeys(names.values())
    return empty | {names[who]: Cell(samples=[figure]) for who, figure in figures.items()}


def told(results):
    about = conditions([], {}, SIZES)
    about.ended()
    return markdown(about, results)


def test_we_are_compared_with_the_better_peer():
    more, less = BY_KEY["create-stored"], BY_KEY["rename"]

    assert judge(more, cells(ours=500, rclone=100, s3fs=10), None) == ("5", "yes (≥ 5)")
    assert judge(more, cells(ours=499, rclone=100, s3fs=10), None) == ("4.99", "NO (≥ 5)")
    assert judge(less, cells(ours=0.1, rclone=10, s3fs=20), None) == ("0.01", "yes (≤ 0.01)")
    assert judge(less, cells(ours=0.1, rclone=20, s3fs=5), None) == ("0.02", "NO (≤ 0.01)")


def test_a_limit_is_to_be_reached_as_well():
    cold = judge(BY_KEY["read-warm"], cells(ours=300, rclone=100), 400.0)

    assert cold == ("3", "yes (≥ 3); NO (≥ 0.9 of the disk's)")


def test_what_a_peer_never_showed_counts_as_at_least_so_long():
    found = cells(ours=0.1, rclone=1) | {"rclone": Cell(bounds=[60.0])}

    assert judge(BY_KEY["seen"], found, None) == ("0.00167", "yes (< 0.2 s)")


def test_where_no_peer_has_a_figure_nothing_is_claimed_of_it():
    assert judge(BY_KEY["rename"], cells(ours=0.1), None) == ("", "")


def test_a_failure_is_told_in_its_row_and_with_its_reason():
    results = Results()
    results.cell("rename", "rengafs", "here").samples.append(0.5)
    results.cell("rename", "rclone", "here").failures.append("Input/output error")

    text = told(results)

    row = next(line for line in text.splitlines() if line.startswith("| rename a directory"))
    assert "FAILED" in row
    assert "- rclone, here: rename: Input/output error" in text


def test_a_close_that_comes_before_the_store_is_marked():
    results = Results()
    for who in ("rengafs", "rclone", "s3fs"):
        results.cell("create", who, "here").samples.append(100.0)

    row = next(line for line in told(results).splitlines() if line.startswith("| create 2 files"))

    assert [" °" in cell for cell in row.split("|")[2:6]] == [False, False, True, False]


def test_a_step_that_fails_does_not_keep_the_next_from_being_tried():
    results = Results()
    trial = Trial(results, "rclone", "here", Idle())

    def fails():
        raise OSError("gone")

    trial.attempt(fails, "write")
    trial.attempt(lambda: trial.record("rename", 1.0), "rename")

    assert results.cell("write", "rclone", "here").failures == ["gone"]
    assert results.cell("rename", "rclone", "here").samples == [1.0]


def test_every_row_has_a_name_of_its_own_and_can_be_shown():
    assert len(BY_KEY) == len(ROWS)
    shown = [(row.work, row.unit, {"rengafs": 1.0, "rclone": 2.0}) for row in ROWS]

    assert plot("here", shown).count("<rect") == 2 * len(ROWS) + 1


def test_what_is_measured_in_parts_stands_in_one_table(tmp_path):
    for number, instead in ((1.0, False), (3.0, False), (10.0, False)):
        about = conditions([], {}, SIZES)
        before = earlier(tmp_path, about)
        now = Results()
        now.cell("rename", "rengafs", "here").samples.append(number)
        before.add(now, instead=instead)
        about.ended()
        write(tmp_path, about, before, publish=False)
    about = conditions([], {}, SIZES)
    found = earlier(tmp_path, about)
    assert found.cell("rename", "rengafs", "here").samples == [1.0, 3.0, 10.0]
    assert about.runs == 4
    anew = Results()
    anew.cell("rename", "rengafs", "here").samples.append(7.0)
    found.add(anew, instead=True)
    assert found.cell("rename", "rengafs", "here").samples == [7.0]


def test_parts_of_other_sizes_are_not_put_together(tmp_path):
    write(tmp_path, conditions([], {}, SIZES), Results(), publish=False)
    with pytest.raises(ValueError, match="other sizes"):
        earlier(tmp_path, conditions([], {}, replace(SIZES, big=2)))


def test_memory_is_compared_with_that_of_rclone_as_the_promise_says():
    found = cells(ours=30, rclone=60, s3fs=10)
    assert judge(BY_KEY["memory-idle"], found, None) == ("0.5", "yes (≤ 1 of rclone's)")
