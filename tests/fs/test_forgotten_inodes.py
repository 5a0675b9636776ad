"""What the kernel has forgotten is found again as it is now, not as a listing had it."""

import os

import pytest
from support.services import running_service
from support.volumes import OnVolume, running_volume

ROUNDS = 10
"""The feed may be faster than the next look-up, and then nothing is proved."""


@pytest.fixture
def tree(tmp_path):
    with running_service() as service, running_volume(service.endpoint, tmp_path) as call:
        yield OnVolume(call, "bucket")


def test_a_length_is_the_new_one_at_once(tree):
    tree.close(tree.open("f", os.O_CREAT | os.O_RDWR))
    for size in range(1, ROUNDS):
        tree.truncate("f", size)
        assert tree.everything() == {"f": (bytes(size), size, 0o100644, 1)}


def test_a_mode_is_the_new_one_at_once(tree):
    tree.close(tree.open("f", os.O_CREAT | os.O_RDWR))
    for mode in range(0o600, 0o600 + ROUNDS):
        tree.chmod("f", mode)
        assert tree.everything() == {"f": (b"", 0, 0o100000 | mode, 1)}


def test_a_link_is_counted_at_once(tree):
    tree.close(tree.open("f", os.O_CREAT | os.O_RDWR))
    expected = {"f"}
    for number in range(2, ROUNDS):
        tree.link("f", f"f{number}")
        expected.add(f"f{number}")
        assert tree.everything() == dict.fromkeys(expected, (b"", 0, 0o100644, number))
