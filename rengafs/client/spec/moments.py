"""What a path of fsspec says of the moment: ``bucket@2026-11-01/dir/file``, no I/O.

Any component may carry it, so that what is listed below a past directory can be opened by
the names that the listing gives.
"""

from dataclasses import dataclass

from rengafs.protocol.errors import BadRequest
from rengafs.protocol.moments import parse


@dataclass(frozen=True, slots=True)
class Spelled:
    """A path, and when."""

    path: str
    """``bucket/dir/file``; empty: all buckets."""
    when: str = ""
    """As it was written; empty: now."""


def meanings(text: str) -> list[Spelled]:
    """Return what *text* may mean, most likely first.

    What stands behind an ``@`` is a moment if it reads as one. Else it is a part of the
    name, if there is such a file; else a label.
    """
    found = [Spelled(text)]
    parts = text.split("/")
    for index in reversed(range(len(parts))):
        stem, at, when = parts[index].rpartition("@")
        if not at or not stem or not when:
            continue
        meant = Spelled("/".join([*parts[:index], stem, *parts[index + 1 :]]), when)
        if _is_moment(when):
            return [meant]
        found.append(meant)
    return found


def _is_moment(text: str) -> bool:
    try:
        parse(text)
    except BadRequest:
        return False
    return True
