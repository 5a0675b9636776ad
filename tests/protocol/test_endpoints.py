import string

import msgspec
import pytest

from rengafs.protocol import endpoints
from rengafs.protocol.endpoints import ALL, Media
from rengafs.protocol.operations import Commit, Operation, Outcome, Rename
from rengafs.protocol.queries import ListEntries


@pytest.mark.parametrize("endpoint", ALL, ids=lambda endpoint: endpoint.name)
def test_every_endpoint_can_be_asked(endpoint):
    ids = {name: 7 for _, name, _, _ in string.Formatter().parse(endpoint.path) if name}

    request = endpoint.request(ids=ids)

    assert request.path.startswith("/api/")
    assert "{" not in request.path


def test_names_and_addresses_are_unique():
    assert len({endpoint.name for endpoint in ALL}) == len(ALL)
    assert len({(endpoint.method, endpoint.path) for endpoint in ALL}) == len(ALL)


@pytest.mark.parametrize("endpoint", ALL, ids=lambda endpoint: endpoint.name)
def test_every_answer_has_a_schema(endpoint):
    if not isinstance(endpoint.answer, Media):
        msgspec.json.schema(endpoint.answer)


def test_nothing_that_is_not_given_is_sent():
    request = endpoints.ENTRIES.request(ids={"node": 7}, query=ListEntries())

    assert request.query == {"limit": "1000"}


def test_operations_are_told_apart_by_their_tag():
    sent = msgspec.json.encode(Rename(parent=1, name="a", new_parent=2, new_name="b"))

    assert msgspec.json.decode(sent, type=Operation) == Rename(
        parent=1, name="a", new_parent=2, new_name="b"
    )


def test_what_has_its_default_is_left_out():
    assert msgspec.json.decode(msgspec.json.encode(Commit(node=1, length=2))) == {
        "op": "commit",
        "node": 1,
        "length": 2,
    }
    assert msgspec.json.encode(Outcome()) == b"{}"
