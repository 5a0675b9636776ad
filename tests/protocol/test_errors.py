import msgspec
import pytest

from rengafs.protocol import errors
from rengafs.protocol.endpoints import SERVICE, check
from rengafs.protocol.messages import Reply


@pytest.mark.parametrize("kind", errors.every_error()[1:])
def test_every_error_comes_back_from_the_wire_as_itself(kind):
    problem = errors.to_problem(kind("what and why", id=7), request_id="r1")
    sent = msgspec.json.encode(problem)

    error = errors.from_problem(msgspec.json.decode(sent, type=errors.Problem))

    assert type(error) is kind
    assert error.message == "what and why"
    assert error.details == {"id": 7}


def test_codes_are_unique():
    codes = [kind.code for kind in errors.every_error()]

    assert len(codes) == len(set(codes))


def test_the_drawing_shows_every_error_with_its_status():
    drawing = errors.__doc__
    for kind in errors.every_error()[1:]:
        line = next(line for line in drawing.splitlines() if f" {kind.__name__} " in f"{line} ")
        assert str(kind.status) in line.split()


def test_an_unknown_code_becomes_the_nearest_error_by_status():
    error = errors.from_problem(errors.Problem("new", "some_new_code", 404))

    assert type(error) is errors.NotFound


def test_a_proxy_without_json_is_told_apart_from_the_service():
    with pytest.raises(errors.Unavailable, match="502"):
        check(Reply(502, b"<html>Bad Gateway</html>"))
    with pytest.raises(errors.UnexpectedAnswer, match="404"):
        check(Reply(404, b"<html>Not here</html>"))


def test_an_answer_of_something_else_is_unexpected():
    with pytest.raises(errors.UnexpectedAnswer, match="rengafs service"):
        SERVICE.decode(Reply(200, b'{"hello": "world"}'))
