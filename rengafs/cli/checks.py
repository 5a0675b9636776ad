"""Whether a directory can be mounted on: each answer is one line with its remedy.

Asked before anything is started, so that a refusal leaves nothing half-mounted.
"""

import logging
import os
import socket
import stat
import subprocess
import tempfile
from itertools import islice
from pathlib import Path

from rengafs.cli.exits import Exit, refuse
from rengafs.cli.mountasking import Condition, condition
from rengafs.cli.mounttable import find_mount
from rengafs.cli.unmounting import FUSERMOUNT_SECONDS, detach, fusermount

logger = logging.getLogger(__name__)

DEVICE = Path("/dev/fuse")
MOUNT_TABLE = Path("/etc/mtab")
CONFIGURATION = Path("/etc/fuse.conf")
AUTOFS = "autofs"
"""What systemd puts where an ``.automount`` is: an empty directory to mount on."""


def check_fuse() -> None:
    """Raise `SetupError` unless this process can use FUSE."""
    fusermount()
    if os.getuid() != 0 and not MOUNT_TABLE.exists():
        # Debian's fusermount3 mounts without it, but does not unmount.
        raise refuse(
            Exit.NO_FUSE,
            f"there is no {MOUNT_TABLE}, and fusermount3 does not unmount without; as root say: "
            f"ln -s /proc/self/mounts {MOUNT_TABLE}",
        )
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        raise refuse(
            Exit.NO_FUSE,
            f"there is no {DEVICE}; say: modprobe fuse (in a container: start it with "
            "--device /dev/fuse and the right to mount)",
        ) from None
    except PermissionError:
        raise refuse(
            Exit.NO_FUSE,
            f"no permission to open {DEVICE}; as root say: chmod 666 {DEVICE} (in a container: "
            "start it with --device /dev/fuse)",
        ) from None
    except OSError as error:
        raise refuse(
            Exit.NO_FUSE, f"{DEVICE} does not work ({error.strerror}); say: modprobe fuse"
        ) from None


def check_mounting() -> None:
    """Raise `SetupError` unless the kernel lets this process mount: containers often may not.

    A trial: something is mounted for a moment, on a directory of its own.
    """
    program = fusermount()
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryDirectory(prefix="rengafs-trial-") as place:
        done = subprocess.run(
            [program, "-o", "fsname=rengafs-trial", "--", place],
            env={**os.environ, "LC_ALL": "C", "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FUSERMOUNT_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            # Nobody is to serve it: it ends with the descriptor that fusermount3 hands over.
            for descriptor in socket.recv_fds(ours, 1, 1)[1]:
                os.close(descriptor)
            detach(Path(place), lazy=True)
            return
    reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
    raise refuse(
        Exit.NO_FUSE,
        f"mounting is not allowed here ({reason[0]}); start the container with "
        "--cap-add SYS_ADMIN --device /dev/fuse (and --security-opt apparmor=unconfined)",
    )


def no_library(error: ImportError) -> Exception:
    """Return what to raise where the library that pyfuse3 stands on can't be loaded."""
    return refuse(Exit.NO_FUSE, f"libfuse3 can't be loaded ({error}); say: apt-get install fuse3")


def check_allow_other() -> None:
    """Raise `SetupError` unless this user may let others into a mount."""
    if os.getuid() == 0:
        return
    try:
        lines = CONFIGURATION.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    if "user_allow_other" not in (line.strip() for line in lines):
        raise refuse(
            Exit.REFUSED,
            f"--allow-other is root's unless {CONFIGURATION} has a line user_allow_other; "
            "add it, or leave --allow-other out",
        )


def check_mountpoint(path: Path) -> None:
    """Raise `SetupError` unless *path* is an empty directory of this user's, not mounted on.

    A mount of ours whose process has died is detached first.
    """
    mounted = find_mount(path)
    if mounted is not None and mounted.ours and condition(path) is Condition.DEAD:
        logger.warning("detaching %s, whose mount process has died", path)
        detach(path, lazy=True)
        mounted = find_mount(path)
    if mounted is not None and mounted.type != AUTOFS:
        what = "rengafs" if mounted.ours else f"{mounted.source} ({mounted.type})"
        umount = "rengafs umount" if mounted.ours else "umount"
        raise refuse(
            Exit.MOUNT_POINT,
            f"{path} is already mounted, by {what}; choose another directory, or say: "
            f"{umount} {path}",
        )
    _check_directory(path)


def _check_directory(path: Path) -> None:
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            raise refuse(Exit.MOUNT_POINT, f"{path} is not a directory; choose an empty one")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError
        if (status.st_mode & stat.S_ISVTX) and os.getuid() not in (0, status.st_uid):
            raise PermissionError  # fusermount3's rule: others' sticky directories are not ours
        with os.scandir(path) as entries:
            present = [entry.name for entry in islice(entries, 1)]
    except FileNotFoundError:
        raise refuse(
            Exit.MOUNT_POINT, f"{path} does not exist; make it first: mkdir -p {path}"
        ) from None
    except NotADirectoryError:
        raise refuse(
            Exit.MOUNT_POINT, f"{path} is not a directory, nor can be; choose another path"
        ) from None
    except PermissionError:
        raise refuse(
            Exit.MOUNT_POINT,
            f"no permission to mount on {path}; choose a directory that is yours",
        ) from None
    except OSError as error:
        raise refuse(
            Exit.MOUNT_POINT, f"{path} can't be used ({error.strerror}); choose another directory"
        ) from None
    if present:
        raise refuse(
            Exit.MOUNT_POINT,
            f"{path} is not empty (it has {present[0]!r}); choose an empty directory",
        )
