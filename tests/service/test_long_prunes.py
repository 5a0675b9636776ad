"""A prune of much: in requests that each take a moment, so that none is given up as unanswered."""

from pathlib import Path

import anyio
import httpx
import pytest
from support.aging import age

from rengafs.backends.local.backend import open_local
from rengafs.catalog import pruning
from rengafs.catalog.applying import Staged
from rengafs.catalog.calls import keeping
from rengafs.catalog.catalog import open_catalog
from rengafs.catalog.values import Actor
from rengafs.protocol import frames
from rengafs.protocol.endpoints import FS
from rengafs.protocol.operations import Apply, Commit, MakeBucket, MakeFile, SetRetention
from rengafs.service.app import create_app


def test_it_is_answered_after_a_while_and_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PIECE", 1)
    monkeypatch.setattr(pruning, "FILES_AT_ONCE", 1)
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    blobs = open_local(tmp_path / "blobs", owner=catalog.identity.catalog)
    catalog.add_token("ann", "rnga_x", everywhere=True)
    ann = Actor(catalog.holder("rnga_x").user, "ann", everywhere=True)
    (made,) = catalog.apply(ann, [Staged(MakeBucket(name="b"))]).outcomes
    assert made.node is not None
    bucket = made.node.id
    files = catalog.apply(ann, [Staged(MakeFile(parent=bucket, name=name)) for name in "pqr"])
    catalog.apply(ann, [Staged(SetRetention(bucket=bucket, rule="all for 1 day"))])
    body = frames.encode(Apply())
    for made in files.outcomes:
        assert made.node is not None
        for text in (b"1", b"2", b"3"):
            commit = Commit(node=made.node.id, length=1, extents=[(0, 1)], payload=1)
            body += frames.encode(commit) + text

    async def run() -> None:
        transport = httpx.ASGITransport(create_app(catalog, {"local": blobs}, version="test"))
        headers = {"authorization": "Bearer rnga_x"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x", headers=headers
        ) as http:
            assert (await http.post(f"{FS}/apply", content=body)).status_code == 200
            age(tmp_path, 3)

            async def prune(**wanted: float) -> httpx.Response:
                return await http.post(f"{FS}/bucket/{bucket}/prune", json=wanted)

            # A moment that is over at once: each request takes what it begins with.
            taken, after = [], 0
            while after is not None:
                answer = (await prune(after=after, seconds=1e-9)).json()
                taken.append(answer.get("versions", 0))
                after = answer.get("after")
            assert taken == [2, 2, 2, 0]
            assert "after" not in (await prune()).json()
            for wrong in ({"seconds": -1.0}, {"after": -1}):
                refused = await prune(**wrong)
                assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")

    try:
        anyio.run(run)
        assert len(catalog.blobs(0, 100)) == 1  # the last of each is the same
    finally:
        catalog.close()
