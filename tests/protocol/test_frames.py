import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rengafs.protocol import frames
from rengafs.protocol.errors import BadRequest, BodyMismatch
from rengafs.protocol.frames import Line, Parser, Piece


class Record(msgspec.Struct):
    name: str
    payload: int = 0


def parse(body: bytes, sizes: list[int]) -> list[tuple[str, bytes]]:
    """Feed *body* in pieces of *sizes*; return the frames that come out."""
    parser = Parser()
    found: list[tuple[str, bytes]] = []
    pieces = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    for piece in [*pieces, body]:
        for item in parser.feed(piece):
            match item:
                case Line(json, _):
                    found.append((msgspec.json.decode(json, type=Record).name, b""))
                case Piece(data):
                    name, before = found[-1]
                    found[-1] = (name, before + data)
    parser.finish()
    return found


@given(
    st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=30)), max_size=6),
    st.lists(st.integers(0, 12), max_size=20),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(written, sizes):
    body = b"".join(frames.encode(Record(name, len(payload)), payload) for name, payload in written)

    assert parse(body, sizes) == written


def test_a_body_cut_within_a_payload_is_told():
    parser = Parser()
    list(parser.feed(frames.encode(Record("a", 5), b"12")))

    with pytest.raises(BodyMismatch, match="3 bytes before"):
        parser.finish()


def test_a_body_cut_within_a_line_is_told():
    parser = Parser()
    list(parser.feed(b'{"name": "a"'))

    with pytest.raises(BodyMismatch, match="within the line"):
        parser.finish()


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b'{"payload": -1}\n', b"\xff\n"])
def test_what_is_not_a_frame_is_refused(line):
    with pytest.raises(BadRequest):
        list(Parser().feed(line))


def test_a_line_without_end_is_refused_rather_than_kept():
    with pytest.raises(BadRequest, match="longer than"):
        list(Parser().feed(b"x" * (frames.MAX_LINE + 1)))
