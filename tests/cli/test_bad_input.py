"""Every refusal of ``mount``, ``umount`` and ``serve``: one line, a remedy, nothing left."""

import http.server
import os
import socket
import subprocess
import threading

import pytest

from rengafs.cli.exits import Exit

pytestmark = pytest.mark.fuse

# With these, root is refused by file permissions like anyone else.
WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
# Not root, but with the right to read the checkout and the interpreter, wherever they are.
READING = "+dac_override,+dac_read_search"
AS_ORDINARY_USER = (
    *("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"),
    *(f"--inh-caps={READING}", f"--ambient-caps={READING}"),
)


def in_private_mounts(script):
    """Return a prefix that runs *script* in a mount namespace, and then the command there."""
    return ("unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh")


def test_a_mount_point_that_is_missing(home, refused):
    missing = home.root / "missing"

    done = home.run("mount", missing)

    assert refused(done) == f"rengafs: {missing} does not exist; make it first: mkdir -p {missing}"
    assert done.returncode == Exit.MOUNT_POINT
    assert home.leftovers() == []


def test_a_mount_point_that_is_a_file(home, refused):
    file = home.root / "file"
    file.write_text("x")

    done = home.run("mount", file)

    assert "is not a directory" in refused(done)
    assert done.returncode == Exit.MOUNT_POINT


def test_a_mount_point_below_a_file(home, refused):
    file = home.root / "file"
    file.write_text("x")

    assert "is not a directory" in refused(home.run("mount", file / "x"))


def test_a_mount_point_that_is_not_empty(home, refused):
    (home.mountpoint / "thesis.txt").write_text("x")

    done = home.run("mount", home.mountpoint)

    assert "is not empty (it has 'thesis.txt')" in refused(done)
    assert done.returncode == Exit.MOUNT_POINT


def test_a_mount_point_that_another_filesystem_is_mounted_on(home, refused):
    subprocess.run(["mount", "-t", "tmpfs", "none", str(home.mountpoint)], check=True)

    done = home.run("mount", home.mountpoint)

    words = "is already mounted, by none (tmpfs); choose another directory, or say: umount"
    assert words in refused(done)
    assert done.returncode == Exit.MOUNT_POINT


def test_a_mount_point_without_permission(home, refused):
    home.mountpoint.chmod(0o500)

    done = home.run("mount", home.mountpoint, prefix=WITHOUT_OVERRIDE)

    assert "no permission to mount on" in refused(done)
    assert done.returncode == Exit.MOUNT_POINT


def test_no_fuse_device(home, refused):
    hidden = in_private_mounts("mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3")

    done = home.run("mount", home.mountpoint, prefix=hidden)

    assert "there is no /dev/fuse; say: modprobe fuse" in refused(done)
    assert done.returncode == Exit.NO_FUSE


def test_a_fuse_device_without_permission(home, refused):
    closed = in_private_mounts(
        "mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; mknod -m 000 /dev/fuse c 10 229"
    )

    done = home.run("mount", home.mountpoint, prefix=(*closed, *WITHOUT_OVERRIDE))

    assert "no permission to open /dev/fuse" in refused(done)
    assert done.returncode == Exit.NO_FUSE


def test_no_fusermount3(home, refused):
    done = home.run("mount", home.mountpoint, PATH="/nonexistent")

    assert "fusermount3 is not installed; say: apt-get install fuse3" in refused(done)
    assert done.returncode == Exit.NO_FUSE


def test_others_let_in_by_someone_who_may_not(home, refused):
    done = home.run("mount", "--allow-other", home.mountpoint, prefix=AS_ORDINARY_USER)

    assert "a line user_allow_other; add it, or leave --allow-other out" in refused(done)
    assert done.returncode == Exit.REFUSED


def test_a_service_that_is_not_reachable(home, refused):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"

        done = home.run("mount", "--endpoint", address, home.mountpoint, RENGA_ACCESS_TOKEN="t")

    assert f"nothing answers at {address}" in refused(done)
    assert done.returncode == Exit.UNREACHABLE
    assert home.leftovers() == []


def test_an_endpoint_that_is_not_a_rengafs_service(home, refused):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        done = home.run("mount", "--endpoint", address, home.mountpoint, RENGA_ACCESS_TOKEN="t")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert "the endpoint answered 404" in refused(done)
    assert done.returncode == Exit.UNREACHABLE


@pytest.mark.parametrize("endpoint", ["buckets.example.org", "ftp://example.org", "unix:"])
def test_an_endpoint_that_is_not_an_address(home, refused, endpoint):
    done = home.run("mount", "--endpoint", endpoint, home.mountpoint, RENGA_ACCESS_TOKEN="t")

    refused(done)


def test_a_service_elsewhere_without_a_token(home, refused):
    done = home.run("mount", "--endpoint", "http://127.0.0.1:1", home.mountpoint)

    assert "give --token-file FILE, or set RENGA_ACCESS_TOKEN" in refused(done)
    assert done.returncode == Exit.REFUSED


def test_a_token_file_that_is_missing(home, refused):
    done = home.run(
        "mount", "--endpoint", "http://127.0.0.1:1", "--token-file", "nowhere", home.mountpoint
    )

    assert f"can't read the token file {home.root}/nowhere (No such file" in refused(done)


def test_a_token_without_a_service(home, refused):
    (home.root / "token").write_text("t")

    done = home.run("mount", "--token-file", "token", home.mountpoint)

    assert "say --endpoint URL or set RENGA_ENDPOINT" in refused(done)
    assert done.returncode == Exit.USAGE


def test_a_token_that_the_service_refuses(home, refused, served):
    address, _token = served

    done = home.run("mount", "--endpoint", address, home.mountpoint, RENGA_ACCESS_TOKEN="rnga_x")

    assert f"{address} refused the token" in refused(done)
    assert done.returncode == Exit.REFUSED
    assert home.mounts() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mount"], "missing argument 'DIR'; see: rengafs mount --help"),
        (["mount", "--cache-size", "much", "x"], "'much' is not a size; write it as 512M or 10G"),
        (["mount", "--umask", "9", "x"], "'9' is not an octal number; write it as 022"),
        (["mount", "--patience", "0", "x"], "0.0 is not in the range"),
        (["mont", "x"], "no such command 'mont'"),
        (["umount", "--loudly", "x"], "no such option '--loudly'"),
        (["serve", "--workers", "0"], "0 is not in the range"),
    ],
)
def test_a_wrong_command_line(home, refused, arguments, words):
    done = home.run(*arguments)

    assert words in refused(done)
    assert done.returncode == Exit.USAGE


def test_unmounting_what_is_not_mounted(home, refused):
    done = home.run("umount", home.mountpoint)

    assert refused(done) == f"rengafs: nothing is mounted at {home.mountpoint}"
    assert done.returncode == Exit.NOT_MOUNTED


def test_unmounting_what_is_not_ours(home, refused):
    subprocess.run(["mount", "-t", "tmpfs", "none", str(home.mountpoint)], check=True)

    done = home.run("umount", home.mountpoint)

    assert "is a mount of type tmpfs, not of rengafs; say: umount" in refused(done)
    assert done.returncode == Exit.NOT_MOUNTED
    assert home.mounts() == [str(home.mountpoint)]


def test_a_runtime_directory_of_someone_else(home, refused):
    (home.root / "run" / "rengafs").mkdir()
    os.chown(home.root / "run" / "rengafs", 12345, 12345)

    done = home.run("mount", home.mountpoint)

    assert "is a link or belongs to someone else; set XDG_RUNTIME_DIR" in refused(done)
    assert done.returncode == Exit.REFUSED


def test_a_runtime_directory_that_is_gone(home, refused):
    done = home.run("status", XDG_RUNTIME_DIR="/nonexistent")

    assert "can't make the runtime directory /nonexistent/rengafs" in refused(done)


def test_a_runtime_directory_too_long_for_a_socket(home, refused):
    long = home.root / ("x" * 100)
    long.mkdir()

    done = home.run("mount", home.mountpoint, XDG_RUNTIME_DIR=str(long))

    assert "is too long for a Unix socket; set XDG_RUNTIME_DIR" in refused(done)


def test_a_port_that_is_taken(home, refused):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = home.run("serve", "--listen", f"127.0.0.1:{port}")

    assert str(port) in refused(done)


def test_a_data_directory_that_cannot_be_written(home, refused):
    (home.root / "data").write_text("a file where a directory should be")

    done = home.run("mount", home.mountpoint)

    assert str(home.data.parent) in refused(done)
    assert home.leftovers() == []
