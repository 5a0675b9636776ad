"""A blob read as ranges of objects: one answer after another, the next asked for in time.

A large object is read by its segments. Swift would send it as a whole, too, but at two thirds of
the speed: its proxy then asks for the same segments one by one, and takes the MD5 of all.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rengafs.backends.swift.account import Account
from rengafs.backends.swift.asking import Answer
from rengafs.backends.swift.errors import told, translated
from rengafs.protocol.errors import Corrupt, RengafsError, Unavailable

AHEAD_BYTES = 8 << 20
"""So much before the end of one answer, the next one is asked for. What comes of it meanwhile
is bounded by the HTTP library: some MiB."""


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes *start* to *stop* (excluded) of an object."""

    container: str
    name: str
    query: dict[str, str] | None
    start: int
    stop: int
    size: int
    """Of the whole object."""
    etag: str
    """Of the object; empty: not known."""
    changed: str = ""
    """What to say where it has another one."""


async def in_turn(
    account: Account, what: str, ranges: Sequence[Range]
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of *ranges*, of which there is one at least.

    Raises `Corrupt` where an object is not what it should be, `Unavailable`, `BackendRefused`.
    *what* names the blob.
    """
    coming = _Coming(account, what, ranges[0])
    following: _Coming | None = None
    try:
        for number, here in enumerate(ranges):
            answer = await coming.answer()
            at = here.start
            with translated(what):
                async for piece in answer.pieces():
                    yield piece
                    at += len(piece)
                    is_last = number + 1 == len(ranges)
                    if not is_last and following is None and here.stop - at <= AHEAD_BYTES:
                        following = _Coming(account, what, ranges[number + 1])
            if at != here.stop:
                raise Unavailable(f"{what} broke off at {at} of {here.name}")
            if following is not None:
                await coming.aclose()
                coming, following = following, None
    finally:
        await coming.aclose()
        if following is not None:
            await following.aclose()


class _Coming:
    """An answer that was asked for."""

    def __init__(self, account: Account, what: str, wanted: Range) -> None:
        self._what, self._wanted = what, wanted
        headers = {"range": f"bytes={wanted.start}-{wanted.stop - 1}"}
        self._streamed = account.streamed(
            "GET", wanted.container, wanted.name, headers, wanted.query
        )
        self._opening = asyncio.ensure_future(self._streamed.__aenter__())

    async def answer(self) -> Answer:
        """Wait for it, and look whether it is the right object's."""
        answer = await self._opening
        if answer.status not in (200, 206):
            raise told(self._what, answer.status, await _reason(answer), reading=True)
        check_size(self._what, answer, self._wanted.size)
        if self._wanted.etag not in ("", etag_of(answer)):
            raise Corrupt(self._wanted.changed)
        return answer

    async def aclose(self) -> None:
        """End it, also where it is not there yet."""
        self._opening.cancel()
        try:
            await self._opening
        except (asyncio.CancelledError, RengafsError):
            return
        await self._streamed.__aexit__(None, None, None)


def etag_of(answer: Answer) -> str:
    """Return an object's ETag; empty if there is none."""
    return answer.headers.get("etag", "").strip('"')


def check_size(what: str, answer: Answer, size: int) -> None:
    """Raise `Corrupt` unless an answer tells of an object of *size* bytes."""
    told_size = answer.headers.get("content-range", "").rpartition("/")[2]
    found = int(told_size or answer.headers.get("content-length", "-1"))
    if found != size:
        raise Corrupt(f"{what} has {found} bytes; it was stored with {size}")


async def _reason(answer: Answer) -> str:
    with suppress(RengafsError), translated("a reason"):
        await answer.read()
        return answer.text
    return ""
