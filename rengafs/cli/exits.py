"""Every exit code, named, and the one table from errors to them.

An error that only the command line can tell apart (a busy mount, a taken port) names its
code when it is raised: `refuse`. All others are found by their class, nearest first.
"""

from enum import IntEnum

from rengafs.protocol import errors
from rengafs.protocol.errors import RengafsError, SetupError


class Exit(IntEnum):
    """What a rengafs command ends with."""

    OK = 0
    FAILED = 1
    """Anything that has no code of its own; with a defect, --debug shows the trace."""
    USAGE = 2
    """An unknown command or option, or a value that cannot be."""
    UNREACHABLE = 3
    """No service answers."""
    REFUSED = 4
    """The service, or the operating system, does not allow it."""
    MOUNT_POINT = 5
    """The directory cannot be mounted on."""
    NO_FUSE = 6
    """FUSE does not work on this machine."""
    BUSY = 7
    """A program still uses the mount."""
    NOT_MOUNTED = 8
    """Nothing of ours is mounted there."""
    TIMEOUT = 9
    """It was started, but did not end in time; it still goes on."""
    NO_SPACE = 10
    """The disk or the quota is full."""
    INTERRUPTED = 130
    """Ctrl-C."""


_BY_ERROR: dict[type[BaseException], Exit] = {
    errors.RengafsError: Exit.FAILED,
    errors.BadRequest: Exit.USAGE,
    errors.BadSetting: Exit.USAGE,
    errors.NotAuthenticated: Exit.REFUSED,
    errors.Forbidden: Exit.REFUSED,
    errors.Unavailable: Exit.UNREACHABLE,
    errors.UnexpectedAnswer: Exit.UNREACHABLE,
    errors.NoSpace: Exit.NO_SPACE,
    PermissionError: Exit.REFUSED,
    KeyboardInterrupt: Exit.INTERRUPTED,
}


def exit_code(error: BaseException) -> Exit:
    """Return the exit code of a command that ended with *error*."""
    if isinstance(error, RengafsError) and "exit" in error.details:
        return Exit(error.details["exit"])
    for kind in type(error).__mro__:
        if kind in _BY_ERROR:
            return _BY_ERROR[kind]
    return Exit.FAILED


def refuse(code: Exit, message: str) -> SetupError:
    """Return the error that ends the command with *message* on one line and *code*."""
    return SetupError(message, exit=int(code))


def epilog(*codes: Exit) -> str:
    """Return the line of a command's help that lists the exit codes it may end with."""
    named = {Exit.OK: "done", **{code: _MEANING[code] for code in codes}}
    listed = ", ".join(f"{code.value} {text}" for code, text in named.items())
    return f"Exit codes: {listed}; 1 anything else, 2 wrong usage."


_MEANING = {
    Exit.UNREACHABLE: "no service answers",
    Exit.REFUSED: "not allowed",
    Exit.MOUNT_POINT: "the directory can't be mounted on",
    Exit.NO_FUSE: "FUSE doesn't work here",
    Exit.BUSY: "a program still uses the mount",
    Exit.NOT_MOUNTED: "nothing of rengafs is mounted there",
    Exit.TIMEOUT: "not ended in time, still going on",
    Exit.NO_SPACE: "no space",
    Exit.INTERRUPTED: "interrupted",
}
