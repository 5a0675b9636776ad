"""What an S3 store, or the way to it, answers in place of success: as our errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from rengafs.protocol.errors import (
    BackendRefused,
    Corrupt,
    NoSpace,
    RengafsError,
    TooLarge,
    Unavailable,
)

FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "EntityTooLarge"})
PASSING = frozenset(
    {
        "BadDigest",  # what arrived is not what was sent
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "XAmzContentSHA256Mismatch",
    }
)
MISSING = frozenset({"NoSuchKey", "NoSuchVersion", "404", "NotFound"})


WRONG = (
    ConfigParseError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)
"""What the library finds wrong before it asks the store: another try would not mend it."""


class NoSuchUpload(Unavailable):
    """The store knows the upload no longer: it was ended, or dropped. A new one may succeed."""


class NoSuchBucket(BackendRefused):
    """The bucket is not there (yet): who begins to store makes it."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the library's errors into ours. *what* names the object or the bucket."""
    try:
        yield
    except ClientError as error:
        raise _answered(what, error) from error
    except WRONG as error:
        raise BackendRefused(f"{what} can't be asked for: {error}") from error
    except (TimeoutError, BotoCoreError, aiohttp.ClientError, OSError) as error:
        text = str(error) or type(error).__name__
        raise Unavailable(f"the store did not answer about {what} ({text})") from error


def _answered(what: str, error: ClientError) -> RengafsError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchUpload":
        return NoSuchUpload(f"the store dropped the upload of {what}; store it again")
    if code == "NoSuchBucket":
        return NoSuchBucket(f"the store has no bucket for {what}; is it deleted?")
    return told(what, code, status)


def told(what: str, code: str, status: int) -> RengafsError:
    """Return the error of an answer. *code* is S3's word for it."""
    text = f"{code or 'no reason'}, status {status}"
    if code in FULL or status in (413, 507):
        if code == "EntityTooLarge":
            return TooLarge(f"the store takes no object as long as {what} ({text})")
        return NoSpace(f"the store is full, or a quota is used up ({text})")
    if code in PASSING or status in (408, 429) or status >= 500 or status == 0:
        return Unavailable(f"the store could not answer about {what} ({text})")
    if code in MISSING or status in (404, 416) or code == "InvalidRange":
        return Corrupt(f"{what} is missing, or not as long as it was ({text})")
    return BackendRefused(f"the store refuses {what} ({text}); see the backend's configuration")
