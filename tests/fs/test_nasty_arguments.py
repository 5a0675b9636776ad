"""No operation leaves the mount hanging or dead, whatever it is given."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pyfuse3
import pytest
from support import nasty
from support.scale import scaled

from rengafs.fs.operations import Operations
from rengafs.fs.waiting import Waiting

SYSCALLS = scaled(1500, 50_000)
SEED = int(os.environ.get("RENGAFS_SEED", "1"))


@pytest.mark.timeout(scaled(300, 7000))
def test_whatever_a_call_is_given_the_mount_answers_and_lives_on(home):
    with home.mounted() as mount:
        bucket = mount / "bucket"
        (bucket / "d" / "d").mkdir(parents=True)
        os.symlink("loop", bucket / "loop")
        os.symlink("nowhere", bucket / "dangling")
        os.mkfifo(bucket / "fifo")
        (bucket / "canary").write_text("alive")
        # Two at once: what they do to each other's files is part of it.
        running = [
            subprocess.Popen([sys.executable, nasty.__file__, bucket, str(seed), str(SYSCALLS)])
            for seed in (SEED, SEED + 1)
        ]
        try:
            ends = [process.wait(scaled(240, 6000)) for process in running]
        finally:
            for process in running:
                process.kill()
                process.wait()

        assert ends == [0, 0], home.logs()
        assert (bucket / "canary").read_text() == "alive"
        (bucket / "new").write_text("works")
        assert "new" in os.listdir(bucket)
        subprocess.run(["rm", "-rf", bucket / "d"], check=True, timeout=240)
    logs = "".join(
        log.read_text(errors="replace") for log in (home.path / ".local/state").rglob("*.log")
    )
    assert "defect in" not in logs, logs[logs.index("defect in") :][:4000]
    assert "Traceback" not in logs, logs[logs.index("Traceback") :][:4000]


class Broken:
    """A volume in which everything goes wrong in a way that nobody foresaw."""

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)


async def test_what_nobody_foresaw_is_a_logged_eio_and_not_the_end_of_the_mount(caplog):
    operations = Operations(Broken(), Broken(), Waiting())
    context = SimpleNamespace(pid=1)
    requests = {
        "lookup": (1, b"a", context),
        "getattr": (1, context),
        "open": (1, 0, context),
        "create": (1, b"a", 0o644, 0, context),
        "read": (1, 0, 10),
        "write": (1, 0, b"x"),
        "flush": (1,),
        "fsync": (1, False),
        "release": (1,),
        "opendir": (1, context),
        "readdir": (1, 0, None),
        "releasedir": (1,),
        "mkdir": (1, b"a", 0o755, context),
        "unlink": (1, b"a", context),
        "rename": (1, b"a", 1, b"b", 0, context),
        "statfs": (context,),
        "getxattr": (1, b"user.a", context),
    }
    for name, arguments in requests.items():
        caplog.clear()
        with pytest.raises(pyfuse3.FUSEError) as raised:
            await getattr(operations, name)(*arguments)
        assert raised.value.errno == errno.EIO
        assert f"defect in {name}" in caplog.text
        assert "ZeroDivisionError" in caplog.text
