"""Every error that rengafs raises on purpose, as one tree.

A leaf is a fact, and carries all that any edge needs to translate it: a stable ``code``
and an HTTP ``status`` for the wire, an ``errno`` for the kernel. There is no second
table to forget. The message says what is wrong and, where there is one, the remedy.

    RengafsError
    ├── BadRequest                400  EINVAL
    │   ├── InvalidName           400  EINVAL
    │   ├── NameTooLong           400  ENAMETOOLONG
    │   ├── UnknownBackend        400  EINVAL
    │   └── BodyMismatch          400  EIO           length or hash is not the announced one
    ├── NotAuthenticated          401  EACCES
    │   └── TokenExpired          401  EACCES
    ├── Forbidden                 403  EACCES
    │   ├── NotPermitted          403  EPERM
    │   ├── WrongGrant            403  EACCES        a token for another file or direction
    │   └── ReadOnly              403  EROFS
    ├── NotFound                  404  ENOENT
    │   └── NoSuchAttribute       404  ENODATA
    ├── MethodNotAllowed          405  EOPNOTSUPP
    ├── Pruned                    410  ENODATA       history that retention took away
    ├── Conflict                  409  EBUSY
    │   ├── AlreadyExists         409  EEXIST
    │   ├── NotEmpty              409  ENOTEMPTY
    │   ├── NotADirectory         409  ENOTDIR
    │   ├── IsADirectory          409  EISDIR
    │   ├── BaseChanged           409  ESTALE        a conditional commit came too late
    │   ├── WouldLoop             409  EINVAL        a directory moved into itself
    │   └── CrossesBuckets        409  EXDEV
    ├── TooLarge                  413  EFBIG
    ├── RangeNotSatisfiable       416  EINVAL
    ├── NotSupported              501  EOPNOTSUPP
    ├── Unavailable               503  EIO           worth another try
    │   └── Unreachable           503  EIO           no answer came at all
    │       └── Away              503  EIO           the mount has given up waiting for now
    ├── NoSpace                   507  ENOSPC
    │   └── QuotaExceeded         507  EDQUOT
    ├── BackendRefused            502  EIO           a store does not let the service in
    ├── Corrupt                   500  EIO           a blob is gone, or its hash is wrong
    ├── InternalError             500  EIO           a defect: the service's log has the trace
    ├── UnexpectedAnswer          502  EIO           not the protocol: is it a rengafs service?
    ├── InvalidFileOperation      400  EBADF         reading a handle opened for writing, …
    └── SetupError                400  EINVAL        what a person asked for can't start; exits
        └── BadSetting            400  EINVAL        by a value that can't be
"""

import errno as _errno
from typing import Any, ClassVar

import msgspec


class RengafsError(Exception):
    """Base of everything raised on purpose. Not raised itself."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    errno: ClassVar[int] = _errno.EIO
    temporary: ClassVar[bool] = False
    """Whether the same request may succeed a moment later."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        """Facts for programs: ids, names, limits. JSON values only."""


class BadRequest(RengafsError):
    """The request is not what the endpoint takes."""

    code, status, errno = "bad_request", 400, _errno.EINVAL


class InvalidName(BadRequest):
    """A name that no bucket, directory or file may bear."""

    code = "invalid_name"


class NameTooLong(BadRequest):
    """A component over 255 bytes, or a path over 4,096."""

    code, errno = "name_too_long", _errno.ENAMETOOLONG


class UnknownBackend(BadRequest):
    """The service has no backend of that name."""

    code = "unknown_backend"


class BodyMismatch(BadRequest):
    """The bytes that arrived are not the announced ones; nothing was stored."""

    code, errno = "body_mismatch", _errno.EIO


class NotAuthenticated(RengafsError):
    """No token, or one that the service did not issue."""

    code, status, errno = "not_authenticated", 401, _errno.EACCES


class TokenExpired(NotAuthenticated):
    """The token was good once."""

    code = "token_expired"


class Forbidden(RengafsError):
    """The token is good, but not for this."""

    code, status, errno = "forbidden", 403, _errno.EACCES


class NotPermitted(Forbidden):
    """Nobody may do this here, whatever the token."""

    code, errno = "not_permitted", _errno.EPERM


class WrongGrant(Forbidden):
    """An access token for another file, or for the other direction."""

    code = "wrong_grant"


class ReadOnly(Forbidden):
    """History, a read-only mount or a read-only token."""

    code, errno = "read_only", _errno.EROFS


class NotFound(RengafsError):
    """No such thing, or none that this user may see."""

    code, status, errno = "not_found", 404, _errno.ENOENT


class NoSuchAttribute(NotFound):
    """The node has no extended attribute of that name."""

    code, errno = "no_such_attribute", _errno.ENODATA


class MethodNotAllowed(RengafsError):
    """The address exists; this method on it does not."""

    code, status, errno = "method_not_allowed", 405, _errno.EOPNOTSUPP


class Pruned(RengafsError):
    """A version whose bytes went, as its bucket's retention says."""

    code, status, errno = "pruned", 410, _errno.ENODATA


class Conflict(RengafsError):
    """The request is right, the present state does not allow it."""

    code, status, errno = "conflict", 409, _errno.EBUSY


class AlreadyExists(Conflict):
    """The name is taken."""

    code, errno = "already_exists", _errno.EEXIST


class NotEmpty(Conflict):
    """A directory or bucket still has entries."""

    code, errno = "not_empty", _errno.ENOTEMPTY


class NotADirectory(Conflict):
    """A component of the path, or the node, is not a directory."""

    code, errno = "not_a_directory", _errno.ENOTDIR


class IsADirectory(Conflict):
    """A directory stands where a file is needed."""

    code, errno = "is_a_directory", _errno.EISDIR


class BaseChanged(Conflict):
    """A conditional commit found another version than the one it was based on."""

    code, errno = "base_changed", _errno.ESTALE


class WouldLoop(Conflict):
    """A directory cannot become a part of itself."""

    code, errno = "would_loop", _errno.EINVAL


class CrossesBuckets(Conflict):
    """A hard link stays within one bucket."""

    code, errno = "crosses_buckets", _errno.EXDEV


class TooLarge(RengafsError):
    """More than the service or the backend takes."""

    code, status, errno = "too_large", 413, _errno.EFBIG


class RangeNotSatisfiable(RengafsError):
    """The range begins at or after the end."""

    code, status, errno = "range_not_satisfiable", 416, _errno.EINVAL


class NotSupported(RengafsError):
    """A request that rengafs understands but cannot carry out."""

    code, status, errno = "not_supported", 501, _errno.EOPNOTSUPP


class Unavailable(RengafsError):
    """The service or its backend is briefly unable to answer."""

    code, status, errno, temporary = "unavailable", 503, _errno.EIO, True


class Unreachable(Unavailable):
    """No answer: nobody listens, the connection was cut, or the time was over."""

    code = "unreachable"


class Away(Unreachable):
    """The mount has given its service up for now, and what was asked for is not kept here."""

    code = "away"


class NoSpace(RengafsError):
    """The backend or the local disk is full."""

    code, status, errno = "no_space", 507, _errno.ENOSPC


class QuotaExceeded(NoSpace):
    """The bucket or the user has used its share."""

    code, errno = "quota_exceeded", _errno.EDQUOT


class BackendRefused(RengafsError):
    """The store behind a backend refuses: its credentials, its rights, or its configuration."""

    code, status, errno = "backend_refused", 502, _errno.EIO


class Corrupt(RengafsError):
    """A blob is missing or is not the bytes that were saved. Never answered with bytes."""

    code, status, errno = "corrupt", 500, _errno.EIO


class InternalError(RengafsError):
    """A defect. The service's log has the trace, under the request id."""

    code, status, errno = "internal_error", 500, _errno.EIO


class UnexpectedAnswer(RengafsError):
    """What answered does not speak this protocol."""

    code, status, errno = "unexpected_answer", 502, _errno.EIO


class InvalidFileOperation(RengafsError):
    """Reading a handle that was opened for writing, or the reverse."""

    code, status, errno = "invalid_file_operation", 400, _errno.EBADF


class SetupError(RengafsError):
    """What a person asked for cannot start: an option, a path, a port, a device."""

    code, status, errno = "setup", 400, _errno.EINVAL


class BadSetting(SetupError):
    """A value of an option or of a configuration that can't be: it is to be written otherwise."""

    code = "bad_setting"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error on the wire. The original SDK shows ``message``; programs read ``code``."""

    message: str
    code: str
    status: int
    details: dict[str, Any] = {}
    request_id: str = ""
    """Names the request in the service's log."""


def every_error(root: type[RengafsError] = RengafsError) -> list[type[RengafsError]]:
    """Return *root* and all classes below it that the wire knows, parents first.

    A class that a layer has made for itself goes over the wire as the one that it is derived from.
    """
    below = (child for child in root.__subclasses__() if child.__module__ == __name__)
    return [root] + [leaf for child in below for leaf in every_error(child)]


def to_problem(error: RengafsError, request_id: str = "") -> Problem:
    """Put *error* in the form in which the wire carries it."""
    return Problem(error.message, error.code, error.status, error.details, request_id)


def from_problem(problem: Problem) -> RengafsError:
    """Return the error that the other side raised; an unknown code keeps its status.

    A newer service may know codes that this client does not: the nearest class by status
    is then raised, so that callers' ``except`` clauses still fit.
    """
    known = every_error()
    kind = next((cls for cls in known if cls.code == problem.code), None)
    kind = kind or next((cls for cls in known[1:] if cls.status == problem.status), InternalError)
    return kind(problem.message, **problem.details)
