"""Whether a directory can be mounted on: each answer is one line with its remedy.

Asked before anything is started, so that a refusal leaves nothing half-mounted.
"""

import errno
import logging
import os
import stat
from itertools import islice
from pathlib import Path

from rengafs.cli.exits import Exit, refuse
from rengafs.cli.mounttable import find_mount
from rengafs.cli.unmounting import detach, fusermount

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
    if mounted is not None and mounted.ours and is_dead(path):
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


def is_dead(path: Path) -> bool:
    """Whether the process of the mount at *path* has ended without detaching it."""
    try:
        # Not stat: the kernel goes on answering that from its cache.
        os.statvfs(path)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


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
