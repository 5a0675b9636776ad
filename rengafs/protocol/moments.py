"""Points in time, as the catalog counts them and as people spell them.

Inside, a moment is milliseconds since 1970 (the original API's ``system:creation_time``).
In ``.versions/`` it is a name that sorts as time does and that every shell takes unquoted:
``2026-11-23T051233.123Z``.
"""

import datetime as dt
import re

from rengafs.protocol.errors import BadRequest

STAMP_LENGTH = len("2026-11-23T051233.123Z")

_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d)(\d\d)(\d\d)\.(\d{3})Z")


def stamp(moment_ms: int) -> str:
    """Return the name of a moment (milliseconds since 1970) in ``.versions/``."""
    at = dt.datetime.fromtimestamp(moment_ms // 1000, dt.UTC)
    return f"{at:%Y-%m-%dT%H%M%S}.{moment_ms % 1000:03d}Z"


def parse(text: str, *, zone: dt.tzinfo | None = dt.UTC) -> int:
    """Return the last millisecond that *text* names: of a day, a minute, a second.

    Takes ISO 8601, and the stamps of `stamp`. "As it was on the 23rd" means at its end, so
    that what was saved on that day is seen. Without an offset, *zone* is meant; None is
    the local zone of this process.

    Raises `BadRequest` for anything else.
    """
    return parse_span(text, zone=zone)[1]


def parse_span(text: str, *, zone: dt.tzinfo | None = dt.UTC) -> tuple[int, int]:
    """Return the first and the last millisecond that *text* names, as `parse` reads it.

    A span whose first millisecond is still to come is in the future; today is not.
    """
    text = text.strip()
    if match := _STAMP.fullmatch(text):
        year, month, day, hour, minute, second, milli = map(int, match.groups())
        exact = _milliseconds(_at(text, year, month, day, hour, minute, second)) + milli
        return exact, exact
    try:
        at = dt.datetime.fromisoformat(text)
        # The end is reckoned on the clock on the wall: a day may have 23 or 25 hours.
        first, end = (_in_zone(when, zone) for when in (at, at + _span(text)))
        return _milliseconds(first), _milliseconds(end) - 1
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{text!r} is not a moment; write 2026-11-23, 2026-11-23T05:00 or "
            "2026-11-23T05:00:00.123+01:00"
        ) from None


def _in_zone(at: dt.datetime, zone: dt.tzinfo | None) -> dt.datetime:
    if at.tzinfo is not None:
        return at
    return at.astimezone() if zone is None else at.replace(tzinfo=zone)


def _at(text: str, *fields: int) -> dt.datetime:
    try:
        year, month, day, hour, minute, second = fields
        return dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC)
    except ValueError as error:
        raise BadRequest(f"{text!r} is not a moment: {error}") from None


def _milliseconds(at: dt.datetime) -> int:
    return round(at.timestamp() * 1000)


def _span(text: str) -> dt.timedelta:
    """Return how long the named day, hour, minute, second or millisecond lasts."""
    _, separator, clock = text.replace(" ", "T").partition("T")
    if not separator:
        return dt.timedelta(days=1)
    clock = re.split(r"[Zz+-]", clock)[0]
    if "." in clock or "," in clock:
        return dt.timedelta(milliseconds=1)
    digits = clock.replace(":", "")
    return {2: dt.timedelta(hours=1), 4: dt.timedelta(minutes=1)}.get(
        len(digits), dt.timedelta(seconds=1)
    )
