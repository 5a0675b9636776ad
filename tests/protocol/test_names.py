import pytest
from hypothesis import given
from hypothesis import strategies as st

from rengafs.protocol import names
from rengafs.protocol.errors import InvalidName, NameTooLong

components = st.binary(min_size=1, max_size=40).filter(lambda raw: b"/" not in raw)


@given(st.binary(max_size=60))
def test_any_bytes_come_back_from_the_wire_as_they_were(raw):
    wire = names.to_wire(raw)

    wire.encode()  # valid Unicode, so valid JSON
    assert names.from_wire(wire) == raw


def test_utf8_travels_as_itself():
    assert names.to_wire("Zürich 🏔.csv".encode()) == "Zürich 🏔.csv"


def test_the_carrier_code_points_themselves_come_back_too():
    raw = "a\U0010ff80b".encode()

    assert names.from_wire(names.to_wire(raw)) == raw


def test_a_lone_surrogate_is_refused():
    with pytest.raises(InvalidName):
        names.from_wire("a\udc80")


@pytest.mark.parametrize("raw", [b"", b".", b"..", b".versions", b"a/b", b"a\0b"])
def test_what_no_entry_may_be_called_is_refused(raw):
    with pytest.raises(InvalidName):
        names.check_component(raw)


def test_a_name_has_at_most_255_bytes():
    assert names.check_component(b"x" * 255)
    with pytest.raises(NameTooLong):
        names.check_component(b"x" * 256)


def test_a_path_is_split_at_slashes():
    assert names.parse_path("a/b c/ü") == (b"a", b"b c", "ü".encode())


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/./b", "a/.versions/b", "a\0"])
def test_a_path_that_leads_elsewhere_is_refused(path):
    with pytest.raises(InvalidName):
        names.parse_path(path)


def test_a_path_has_at_most_4096_bytes():
    with pytest.raises(NameTooLong):
        names.parse_path("/".join(["x" * 200] * 21))


@given(st.binary(max_size=300), st.integers(256, 2**62), st.booleans(), st.booleans())
def test_what_is_shown_fits_into_a_path(raw, number, elder, top):
    shown = names.show(raw, number, elder=elder, top=top)

    assert 0 < len(shown) <= names.MAX_COMPONENT
    assert b"/" not in shown
    assert b"\0" not in shown
    assert shown not in (b".", b"..", b".versions")
    assert not (top and shown.startswith(b"."))


@given(st.binary(max_size=300), st.integers(256, 2**62), st.booleans(), st.booleans())
def test_what_is_shown_leads_back_to_what_it_stands_for(raw, number, elder, top):
    shown = names.show(raw, number, elder=elder, top=top)

    meant = [
        (found if found is not None else raw, identity if identity is not None else number)
        for found, identity in names.candidates(shown)
    ]
    assert (raw, number) in meant


@given(components, components, st.integers(256, 2**40), st.integers(256, 2**40))
def test_two_entries_are_never_shown_alike(one, other, first, second):
    if one == other or first == second:
        return

    assert names.show(one, first, elder=True) != names.show(other, second, elder=True)


def test_ordinary_names_are_shown_as_they_are():
    for raw in (b"report.csv", b".bashrc", b"a~b", b"50%", "ü".encode(), b"\xff\xfe"):
        assert names.show(raw, 300, elder=True) == raw


def test_a_name_that_only_looks_escaped_is_shown_as_it_is():
    assert names.show(b"%~x", 300, elder=True) == b"%~x"
    assert names.show(b"..", 300, elder=True) == b"%~.."
    assert names.show(b"%~..", 300, elder=True) == b"%~%25~.."


def test_the_younger_of_two_alike_carries_its_id():
    assert names.show(b"a.csv", 300, elder=False) == b"a.csv~300"


@pytest.mark.parametrize(
    ("raw", "extension"),
    [
        (b"report.csv", b".csv"),
        (b"src.tar.gz", b".tar.gz"),
        (b".bashrc", b""),
        (b"README", b""),
        (b"a.b c", b""),
        (b"trailing.", b""),
        (b"v1.2", b".2"),
    ],
)
def test_the_real_extension(raw, extension):
    assert names.extension(raw) == extension
