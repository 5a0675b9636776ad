"""What Swift, or the way to it, answers in place of success: as our errors."""

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from rengafs.protocol.errors import (
    BackendRefused,
    Corrupt,
    NoSpace,
    RengafsError,
    TooLarge,
    Unavailable,
)

LACKING = (", 404 Not Found", ", Size Mismatch", ", Etag Mismatch")
"""How the answer to a manifest tells of segments that are not what it says."""
UNSEEN = ", 50"
"""How it tells of one at which the store could not look: a status follows its name."""
PASSING = frozenset({408, 409, 422, 429, 498, 499})
"""Beside 5xx, and conflicts where something is written. 422: what arrived is not what was sent."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours. *what* names the object or the container."""
    try:
        yield
    except aiohttp.InvalidURL as error:
        raise BackendRefused(f"{what} can't be asked for: {error}") from error
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        text = str(error) or type(error).__name__
        raise Unavailable(f"the store did not answer about {what} ({text})") from error


def told(what: str, status: int, reason: str, *, reading: bool = False) -> RengafsError:
    """Return the error of an answer.

    :param reading: it was to bring bytes: a conflict is then that of a manifest with a segment.
    """
    text = " ".join(reason.split())[:200]
    text = f"status {status}: {text}" if text else f"status {status}"
    if status == 413:
        if "quota" in reason.lower():
            return NoSpace(f"the store is full, or a quota is used up ({text})")
        return TooLarge(f"the store takes no object as long as {what} ({text})")
    if status == 507:
        return NoSpace(f"the store is full ({text})")
    passing = status >= 500 or (status == 400 and UNSEEN in reason)
    lacking = status == 400 and any(word in reason for word in LACKING)
    if not passing and (lacking or (status == 409 and reading)):
        return Corrupt(f"segments of {what} are missing, or not what they were ({text})")
    if passing or status in PASSING:
        return Unavailable(f"the store could not answer about {what} ({text})")
    if status in (404, 416, 412):
        return Corrupt(f"{what} is missing, or not what it was ({text})")
    return BackendRefused(f"the store refuses {what} ({text}); see the backend's configuration")
