"""Saves that the service refuses: the right errno at fsync and close, and the bytes are kept."""

import errno
import os
from pathlib import Path

import pytest
from support.mounts import is_mounted
from support.writing import eventually


def errno_of(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("options", [[], ["--write-back"]])
def test_a_refusal_is_the_errno_and_status_tells_file_reason_and_place(home, options):
    def bucket(command, *arguments):
        home.run("bucket", command, "--data", str(served.data), *arguments)

    expected = {
        "full": errno.EDQUOT,
        "reader": errno.EACCES,
        "taken": errno.ENOENT,
        "token": errno.EACCES,
    }
    with (
        home.serving("ann", "ben") as served,
        home.mounted("anns", *served.of("ann")) as anns,
        home.mounted(
            "bens", *served.of("ben"), "--patience", "5", "--drain-timeout", "1", *options
        ) as bens,
    ):
        opened = {}
        for name in expected:
            (anns / name).mkdir()
            bucket("grant", name, "ben", "writer")
            eventually((bens / name).is_dir)
            (bens / name / "before").write_bytes(b"x" * 2000)
            opened[name] = os.open(bens / name / "f", os.O_CREAT | os.O_WRONLY)
            os.fsync(opened[name])
        bucket("quota", "full", "3K")
        bucket("grant", "reader", "ben", "reader")
        bucket("revoke", "taken", "ben")
        synced, closed = {}, {}
        for name, descriptor in opened.items():
            if name == "token":
                home.run("token", "revoke", "ben", "--data", str(served.data))
                # The service remembers for some seconds whom a token is of.
                eventually(lambda: home.run("ls", *served.of("ben"), check=False).returncode == 4)
            # No process is started from here on: it would close the file, too.
            os.write(descriptor, name.encode() * 50_000)
            synced[name] = errno_of(os.fsync, descriptor)
            closed[name] = errno_of(os.close, descriptor)
        assert synced == expected
        # With --write-back close has nothing left to do: all of it is in the journal.
        assert closed == (dict.fromkeys(expected, 0) if options else expected)

        said = home.run("status").stdout
        for name in expected:
            (line,) = [line for line in said.splitlines() if f"{bens}/{name}/f: failed: " in line]
            kept = Path(line.partition("its bytes are in ")[2])
            found = [path for path in [kept, *kept.glob("*")] if path.is_file()]
            assert any(name.encode() * 50_000 in path.read_bytes() for path in found), line

        def ended():
            # Busy while somebody else's `rengafs status` looks at it; and not all is committed.
            home.run("umount", str(bens), check=False)
            return not is_mounted(bens)

        eventually(ended)
