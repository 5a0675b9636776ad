"""Locks whose files may be removed under those who wait."""

import threading

import pytest

from rengafs.cli.locks import try_lock, wait_for_lock


def test_shared_holders_keep_an_exclusive_one_out(tmp_path):
    one = try_lock(tmp_path / "lock", shared=True)
    two = try_lock(tmp_path / "lock", shared=True)

    assert one is not None
    assert two is not None
    assert try_lock(tmp_path / "lock") is None
    one.release()
    two.release()


def test_a_wait_ends_when_the_lock_is_free(tmp_path):
    held = try_lock(tmp_path / "lock")
    waited = threading.Event()
    thread = threading.Thread(target=lambda: (waited.wait(), held.release()))
    thread.start()

    lock = wait_for_lock(tmp_path / "lock", seconds=30, waiting=lambda _: waited.set())

    thread.join()
    assert lock is not None
    lock.release()


def test_a_wait_has_an_end(tmp_path):
    held = try_lock(tmp_path / "lock")

    assert wait_for_lock(tmp_path / "lock", seconds=0.1) is None
    held.release()


def test_whoever_waited_for_a_removed_file_locks_the_one_in_its_place(tmp_path):
    path = tmp_path / "lock"
    held = try_lock(path)
    removed = threading.Event()

    def remove(_seconds):
        if not removed.is_set():
            removed.set()
            held.remove_and_release()

    lock = wait_for_lock(path, seconds=30, waiting=remove)

    assert path.exists()
    assert try_lock(path) is None
    lock.release()


def test_a_file_that_is_not_there_is_not_made_to_be_locked(tmp_path):
    with pytest.raises(FileNotFoundError):
        try_lock(tmp_path / "lock", create=False)
    assert not (tmp_path / "lock").exists()


def test_the_last_shared_holder_becomes_the_only_one(tmp_path):
    one = try_lock(tmp_path / "lock", shared=True)
    two = try_lock(tmp_path / "lock", shared=True)
    two.release()

    assert one.become(shared=False)
    assert try_lock(tmp_path / "lock", shared=True) is None
    one.release()
