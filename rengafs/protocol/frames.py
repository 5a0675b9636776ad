r"""JSON lines with bytes behind them: many small things in one round trip, streamed.

A frame is one line of JSON, ended by ``\n``, and then as many raw bytes as its member
``payload`` says (none if it is absent). A body is any number of frames. Nothing is ever
held whole: `Parser` gives a frame's line as soon as it is complete, and its payload in
the pieces in which it arrives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from rengafs.protocol.errors import BadRequest, BodyMismatch

MEDIA_TYPE = "application/vnd.rengafs.frames"
MAX_LINE = 4 << 20
"""Bytes of one JSON line. A commit's 100,000 extents fit."""


@dataclass(frozen=True, slots=True)
class Line:
    """The JSON of a frame; *payload* bytes follow as `Piece`."""

    json: bytes
    payload: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the payload of the last line, never empty."""

    data: bytes


class _Payload(msgspec.Struct):
    payload: int = 0


_peek = msgspec.json.Decoder(_Payload)


def encode(record: msgspec.Struct, payload: bytes = b"") -> bytes:
    """Return one frame. *record* must have a member ``payload`` equal to its length."""
    return msgspec.json.encode(record) + b"\n" + payload


class Parser:
    """Feed it bytes as they come; it yields lines and payload pieces in order."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[Line | Piece]:
        """Yield what *data* completes. Raises `BadRequest` for what is not a frame."""
        if self._missing and not self._buffer and len(data) <= self._missing:
            # The middle of a payload, as nearly always: it is not copied.
            self._missing -= len(data)
            if data:
                yield Piece(data)
            return
        self._buffer += data
        while self._buffer:
            if self._missing:
                piece = bytes(memoryview(self._buffer)[: self._missing])
                del self._buffer[: len(piece)]
                self._missing -= len(piece)
                yield Piece(piece)
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                if len(self._buffer) > MAX_LINE:
                    raise BadRequest(f"a line of a frame is longer than {MAX_LINE} bytes")
                return
            line = bytes(memoryview(self._buffer)[:end])
            del self._buffer[: end + 1]
            self._missing = _payload_of(line)
            yield Line(line, self._missing)

    def finish(self) -> None:
        """Raise `BodyMismatch` if the body ended within a frame."""
        if self._missing:
            raise BodyMismatch(f"the body ended {self._missing} bytes before its frame did")
        if self._buffer:
            raise BodyMismatch("the body ended within the line of a frame")


def _payload_of(line: bytes) -> int:
    try:
        payload = _peek.decode(line).payload
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadRequest(f"a line of a frame is not the JSON expected: {error}") from None
    except RecursionError:
        raise BadRequest("a line of a frame is nested too deeply") from None
    if payload < 0:
        raise BadRequest("a payload can't be shorter than nothing")
    return payload
