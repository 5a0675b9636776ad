"""The kernel's list of mounts, with names that it has to escape."""

import subprocess

import pytest

from rengafs.cli.mounttable import find_mount

pytestmark = pytest.mark.fuse


@pytest.mark.parametrize("name", ["plain", "with space", "tab\tnewline\n", "back\\slash", "größe"])
def test_a_mount_is_found_by_its_path(home, name):
    directory = home.root / name
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(directory)], check=True)
    try:
        mounted = find_mount(directory)
    finally:
        subprocess.run(["umount", str(directory)], check=True)

    assert mounted is not None
    assert (mounted.type, mounted.source, mounted.ours) == ("tmpfs", "none", False)
    assert find_mount(directory) is None
