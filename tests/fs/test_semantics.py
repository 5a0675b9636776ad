"""The page on semantics: its examples go as it shows."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import rengafs.fs

PAGE = (Path(rengafs.fs.__file__).parent / "SEMANTICS.md").read_text()
TESTS = Path(__file__).parent
SESSIONS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


def without_moments(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\dT\d{6}\.\d{3}Z(~\d+)?", "MOMENT", text)


@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_the_session_goes_as_the_page_shows(mount, bucket, number):
    lines = SESSIONS[number].splitlines(keepends=True)
    typed = "".join(line[2:] for line in lines if line.startswith("$ "))
    shown = "".join(line for line in lines if not line.startswith("$ "))
    (mount / "elsewhere").mkdir(exist_ok=True)

    done = subprocess.run(
        ["bash", "-c", typed],
        cwd=bucket,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )

    assert without_moments(done.stdout) == without_moments(shown)


def test_the_page_is_printed(home):
    assert home.run("help", "semantics").stdout == PAGE


PROMISES = {
    "`write` returned": ["test_files_on_the_mount.py::test_what_one_process_writes_another_reads"],
    "`close` returned 0": [
        "test_write_back_deaths.py::test_a_mount_that_dies_at_a_step_of_a_save_loses_nothing",
        "test_power_cut.py::test_a_power_cut_takes_nothing_that_was_acknowledged",
        "test_write_back.py::test_every_close_is_a_version_in_order",
    ],
    "`fsync` returned 0": [
        "test_power_cut.py::test_a_power_cut_takes_nothing_that_was_acknowledged",
        "test_write_back.py::test_fsync_waits_for_the_service_and_tells_when_it_is_away",
    ],
    "`fsync` of a directory returned 0": [
        "test_write_back_deaths.py::test_a_service_that_is_killed_and_comes_again_gets_everything",
    ],
    "`umount` returned, exit code 0": [
        "test_write_back.py::test_unmounting_waits_for_what_is_to_be_sent",
        "test_mount_life.py::test_everything_is_still_there_after_unmounting",
    ],
    "`umount` returned, another exit code": [
        "test_write_back.py::test_what_the_mount_leaves_when_it_ends_is_named_and_sent_by_the_next",
        "../cli/test_mount.py::test_what_cannot_be_committed_is_told_by_umount",
    ],
    "the mount is killed, or the machine stops": [
        "test_write_back_deaths.py::test_a_mount_that_is_killed_at_any_moment_loses_nothing",
        "test_write_back_deaths.py::test_drafts_that_nobody_saved_are_saved_by_the_next_mount",
        "test_write_back_deaths.py::test_drafts_of_files_that_others_have_saved_since_are_kept",
        "test_power_cut.py::test_a_power_cut_takes_nothing_that_was_acknowledged",
    ],
    "the service is killed or away": [
        "test_write_back_deaths.py::test_saves_go_on_while_the_service_is_away_for_long",
        "test_write_back_deaths.py::test_without_write_back_close_fails_in_time",
        "test_network_faults.py::test_a_save_that_meets_trouble_is_made_once",
    ],
    "the service has no room": [
        "test_write_back.py::test_what_the_service_has_no_room_for_waits_and_is_sent_when_it_has",
        "test_refused_saves.py::test_a_refusal_is_the_errno_and_status_tells_file_reason_and_place",
    ],
    "the service refuses for good": [
        "test_write_back.py::test_what_the_service_refuses_for_good_is_put_aside_and_told",
    ],
    "the local disk is full": [
        "test_write_back.py::test_a_full_disk_of_ours_is_enospc_of_close",
        "test_mount_life.py::test_what_a_full_disk_refuses_is_an_error_of_close",
    ],
    "another mount has saved the same base": [
        "test_mount_life.py::test_two_mounts_that_edit_one_base_keep_both",
        "test_write_back.py::test_the_earlier_of_two_authors_is_told_and_both_saves_are_kept",
        "test_two_mounts.py::test_what_two_mounts_do_at_once_is_kept_and_is_seen_by_both",
    ],
    "bits change on the way to the service": [
        "test_damaged_requests.py::test_a_small_save_is_sent_again",
        "test_damaged_requests.py::test_a_large_edit_is_sent_again",
        "test_damaged_requests.py::test_what_is_sent_while_it_is_written_is_sent_again",
        "test_damaged_requests.py::test_a_save_that_is_damaged_each_time_fails_and_its_bytes_are_kept",
    ],
}
"""The tests that carry out each line of what is promised when; names may be cut short."""


def test_each_promise_is_carried_out_by_tests_that_are_there():
    table = PAGE.partition("### What is promised when")[2].partition("\nWith `--write-back`,")[0]
    rows = re.findall(r"^\| (.*?) \|", table, re.MULTILINE)[2:]
    assert len(rows) == len(PROMISES)
    for row, (promise, tests) in zip(rows, PROMISES.items(), strict=True):
        assert row.startswith(promise)
        for test in tests:
            file, _, name = test.partition("::")
            assert f"\ndef {name}" in (TESTS / file).read_text(), test
