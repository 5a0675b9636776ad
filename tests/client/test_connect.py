"""From what a user gives to an endpoint."""

import pytest
from support.faulty import answer, faulty

import rengafs
from rengafs.client.sdk.connect import Token, endpoint_from, endpoint_of
from rengafs.protocol.errors import SetupError, Unreachable

BACKENDS = answer(200, b'["local"]')


@pytest.mark.parametrize("token", ["secret", {"access_token": "secret", "expires_in": "1"}])
def test_a_token_is_text_or_the_answer_of_a_login(token: Token):
    assert endpoint_of("http://host", token).token == "secret"


@pytest.mark.parametrize("token", [None, "", {}, {"access_token": None}])
def test_there_may_be_no_token(token: Token):
    assert endpoint_of("http://host", token).token == ""


def test_the_environment_names_service_token_and_execution():
    with faulty(BACKENDS) as server:
        client = rengafs.from_env(
            {
                "RENGA_ENDPOINT": server.address,
                "RENGA_ACCESS_TOKEN": "secret",
                "RENGA_VERTEX_ID": "4711",
            }
        )
        assert client.buckets.backends == ["local"]

    headers = server.seen[0].headers
    assert headers["authorization"] == "Bearer secret"
    assert headers["renga-deployer-execution"] == "4711"


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RENGA_ENDPOINT", "http://host:1")
    monkeypatch.delenv("RENGA_VERTEX_ID", raising=False)

    assert repr(rengafs.from_env()) == "<Client at http://host:1>"
    assert repr(rengafs.AsyncClient.from_env()) == "<AsyncClient at http://host:1>"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "RENGA_ENDPOINT"),
        ({"RENGA_ENDPOINT": ""}, "RENGA_ENDPOINT"),
        ({"RENGA_ENDPOINT": "http://host", "RENGA_VERTEX_ID": "x"}, "RENGA_VERTEX_ID"),
    ],
)
def test_a_wrong_environment_is_told_by_the_variables_name(environment: dict[str, str], named: str):
    with pytest.raises(SetupError, match=named):
        endpoint_from(environment)


def test_patience_can_be_chosen():
    client = rengafs.Client("unix:/nowhere", patience_seconds=0.1)
    with pytest.raises(Unreachable, match="nothing answers at unix:/nowhere"):
        client.buckets.list()
