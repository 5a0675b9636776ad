"""The two surfaces are one: what the blocking SDK has, the one for trio has, and the reverse."""

import inspect
import subprocess
import sys
from typing import Any

import pytest

import rengafs
from rengafs.client.sdk import async_client, async_handles, client, handles

PAIRS = [
    (client.Client, async_client.AsyncClient),
    (client.BucketCollection, async_client.AsyncBucketCollection),
    (client.Bucket, async_client.AsyncBucket),
    (client.FileCollection, async_client.AsyncFileCollection),
    (client.File, async_client.AsyncFile),
    (handles.FileHandle, async_handles.AsyncFileHandle),
    (client.FileVersionCollection, async_client.AsyncFileVersionCollection),
    (client.FileVersion, async_client.AsyncFileVersion),
]
pairs = pytest.mark.parametrize(("blocking", "on_trio"), PAIRS, ids=lambda kind: kind.__name__)

REFERENCE = {
    client.BucketCollection: "backends create list __getitem__ __iter__",
    client.Bucket: "backend files id name",
    client.FileCollection: "create from_url open list __getitem__ __iter__",
    client.File: "access_token clone filename id open versions",
    handles.FileHandle: "can_read can_write from_url id read write __enter__ __exit__",
    client.FileVersionCollection: "list __getitem__ __iter__",
    client.FileVersion: "created filename id open",
}


def public(kind: type) -> dict[str, Any]:
    return {
        name: getattr(kind, name)
        for name in dir(kind)
        if not name.startswith("_") and name != "aclose"
    }


@pairs
def test_public_names_are_the_same(blocking: type, on_trio: type):
    assert public(blocking).keys() - {"close"} == public(on_trio).keys()
    assert hasattr(blocking, "close") == hasattr(on_trio, "aclose")


@pairs
def test_parameters_and_defaults_are_the_same(blocking: type, on_trio: type):
    def parameters(method: object) -> list[tuple[str, object]]:
        return [(p.name, p.default) for p in inspect.signature(method).parameters.values()]

    ours, theirs = public(blocking), public(on_trio)
    for name in ours.keys() & theirs.keys():
        if inspect.isfunction(ours[name]):
            assert parameters(ours[name]) == parameters(theirs[name]), name


@pairs
def test_what_waits_is_awaited_and_what_does_not_is_a_property(blocking: type, on_trio: type):
    ours, theirs = public(blocking), public(on_trio)
    at_once = {"open"}  # returns what `async with` and `await` take
    for name, member in theirs.items():
        if isinstance(member, property):
            assert isinstance(ours[name], property), name
            assert member.fset is None, f"assigning to {name} would have to wait"
        elif inspect.isfunction(member) and name not in at_once:
            assert inspect.iscoroutinefunction(member), name


@pairs
def test_iteration_is_offered_by_both_or_neither(blocking: type, on_trio: type):
    assert hasattr(blocking, "__iter__") == hasattr(on_trio, "__aiter__")
    assert hasattr(blocking, "__getitem__") == hasattr(blocking, "__iter__")
    assert hasattr(blocking, "__enter__") == hasattr(on_trio, "__aenter__")


@pytest.mark.parametrize("kind", REFERENCE, ids=lambda kind: kind.__name__)
def test_all_of_the_reference_is_there(kind: type):
    missing = [name for name in REFERENCE[kind].split() if not hasattr(kind, name)]

    assert not missing


@pairs
def test_every_public_member_says_what_it_does(blocking: type, on_trio: type):
    for kind in blocking, on_trio:
        for name, member in public(kind).items():
            assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def test_what_the_package_offers_is_there():
    assert sorted(rengafs.__all__) == rengafs.__all__
    assert all(hasattr(rengafs, name) for name in rengafs.__all__)
    assert rengafs.errors.NotFound.code == "not_found"
    with pytest.raises(AttributeError, match="nothing"):
        _ = rengafs.nothing


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import rengafs", "httpx msgspec trio"),
        (
            "import rengafs; rengafs.Client; rengafs.from_env; rengafs.errors",
            "rengafs.client.trio_driver",
        ),
        ("import rengafs; rengafs.AsyncClient", "pyfuse3 starlette sqlalchemy"),
    ],
)
def test_importing_loads_no_more_than_is_used(statement: str, unwanted: str):
    script = f"import sys; {statement}; print([m for m in {unwanted.split()} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=240
    )

    assert done.stdout.strip() == "[]"
