"""A payload that waits too long for its transaction: the sweeper may have taken its blob."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from rengafs.backends.local.backend import open_local
from rengafs.catalog.applying import Staged
from rengafs.catalog.catalog import open_catalog
from rengafs.catalog.values import Actor
from rengafs.protocol import frames
from rengafs.protocol.endpoints import FS
from rengafs.protocol.operations import Apply, Commit, MakeBucket, MakeFile
from rengafs.service import applying
from rengafs.service.app import create_app
from rengafs.service.sweeping import GRACE_SECONDS


def test_it_is_refused_long_before_the_sweeper_would_take_it() -> None:
    assert applying.HELD_SECONDS * 10 < GRACE_SECONDS


@pytest.mark.parametrize("atomic", [False, True])
def test_it_is_refused_with_all_that_came_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, atomic: bool
) -> None:
    # An hour can't be waited for; half a second stands for it.
    monkeypatch.setattr(applying, "HELD_SECONDS", 0.5)
    catalog = open_catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    blobs = open_local(tmp_path / "blobs", owner=catalog.identity.catalog)
    catalog.add_token("ann", "rnga_x", everywhere=True)
    ann = Actor(catalog.holder("rnga_x").user, "ann", everywhere=True)
    bucket = catalog.apply(ann, [Staged(MakeBucket(name="b"))]).outcomes[0].node
    assert bucket is not None
    file = catalog.apply(ann, [Staged(MakeFile(parent=bucket.id, name="f"))]).outcomes[0].node
    assert file is not None
    commit = frames.encode(Commit(node=file.id, length=3, extents=[(0, 3)], payload=3))

    async def body(pause: float) -> AsyncIterator[bytes]:
        # Two: the first is not stored before it is seen that it does not come alone.
        yield frames.encode(Apply(atomic=atomic)) + 2 * (commit + b"abc")
        began = time.monotonic()
        while time.monotonic() < began + pause:
            await asyncio.sleep(0.05)
        yield commit + b"def"

    async def run() -> None:
        app = create_app(catalog, {"local": blobs}, version="test")
        transport = httpx.ASGITransport(app)
        headers = {"authorization": "Bearer rnga_x"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://x", headers=headers
        ) as http:
            late = await http.post(f"{FS}/apply", content=body(0.6))
            assert (late.status_code, late.json()["code"]) == (413, "too_large")
            assert catalog.history(bucket.id, "f").versions == []
            assert [one async for one in blobs.list()] == []
            good = await http.post(f"{FS}/apply", content=body(0.0))
            assert good.status_code == 200
        assert len(catalog.history(bucket.id, "f").versions) == 2  # the same again makes none

    try:
        anyio.run(run)
    finally:
        catalog.close()
