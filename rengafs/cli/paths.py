"""Where data, caches, logs and sockets lie: the only reader of the XDG variables.

Nothing is made here but the runtime directory, which must be ours alone before anything
in it can be trusted.
"""

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rengafs.cli.exits import Exit, refuse

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket: ``sun_path`` has 108 bytes, one of them the NUL."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one user. They need not exist, but for *runtime*."""

    data: Path
    """What the embedded service keeps."""
    cache: Path
    state: Path
    """Logs, and bytes that are not committed yet."""
    runtime: Path
    """Sockets, locks and records of what runs: gone at the next boot."""

    def service_log(self, data: Path) -> Path:
        """Return the log file of the embedded service of *data*."""
        return self.state / f"service-{short_hash(data)}.log"

    def mount_log(self, mountpoint: Path) -> Path:
        """Return the log file of the mount at *mountpoint*."""
        return self.state / f"mount-{short_hash(mountpoint)}.log"

    def drafts(self, mountpoint: Path) -> Path:
        """Return where the mount at *mountpoint* keeps what is not committed yet.

        By mount point, so that the next mount there finds what a killed one left.
        """
        return self.state / "drafts" / short_hash(mountpoint)

    def recordings(self, mountpoint: Path) -> Path:
        """Return where the mount at *mountpoint* writes what commands read; see `record`."""
        return self.runtime / "recordings" / short_hash(mountpoint)

    def socket(self, data: Path) -> Path:
        """Return the socket of the embedded service of *data*. Raises `SetupError` if too long."""
        path = self.runtime / f"service-{short_hash(data)}.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise refuse(
                Exit.FAILED,
                f"the path {path} is too long for a Unix socket; "
                "set XDG_RUNTIME_DIR to a shorter directory",
            )
        return path


def short_hash(path: Path) -> str:
    """Return a short name for *path*: 12 hex digits, for file names and socket paths."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def find_paths(environment: Mapping[str, str] = os.environ) -> Paths:
    """Return this user's directories, and make the runtime directory if it is missing.

    Raises `SetupError` where the runtime directory cannot be made or is not ours alone.
    """
    return Paths(
        data=Path(platformdirs.user_data_dir("rengafs")),
        cache=Path(platformdirs.user_cache_dir("rengafs")),
        state=Path(platformdirs.user_state_dir("rengafs")),
        runtime=choose_runtime(
            _lasting(environment.get("XDG_RUNTIME_DIR", "")), Path("/run/user"), Path("/tmp")
        ),
    )


def _lasting(given: str) -> str:
    """Return what XDG_RUNTIME_DIR says, but ``/run`` for root, unless it says another place.

    A directory of root's session goes with the session, and the mounts of the system stay.
    """
    if os.getuid() == 0 and given in ("", "/run/user/0") and os.access("/run", os.W_OK):
        return "/run"
    return given


def choose_runtime(given: str, sessions: Path, temporary: Path) -> Path:
    """Return the runtime directory, made and closed to others; raise `SetupError` if not ours.

    :param given: what XDG_RUNTIME_DIR says.
    :param sessions: holds a directory for each user who has a session, by number.
    :param temporary: where everyone may make a directory.
    """
    user = os.getuid()
    if given.startswith("/"):  # a relative one is to be ignored, says the XDG specification
        path = Path(given) / "rengafs"
    elif (sessions / str(user)).is_dir():
        path = sessions / str(user) / "rengafs"
    else:
        path = temporary / f"rengafs-{user}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise refuse(
            Exit.REFUSED,
            f"can't make the runtime directory {path} ({error.strerror}); "
            "set XDG_RUNTIME_DIR to a directory of yours",
        ) from None
    # Anyone may have made the one under /tmp before us, to catch our token.
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user:
        raise refuse(
            Exit.REFUSED,
            f"the runtime directory {path} is a link or belongs to someone else; "
            "set XDG_RUNTIME_DIR to a directory of yours",
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)
    return path
