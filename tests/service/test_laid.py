"""Small edits of large files on local disk: acknowledged before the file is copied."""

import os

from support.services import running_service
from support.talking import Talk, talking

from rengafs.backends.base import Backend
from rengafs.catalog.catalog import Catalog
from rengafs.protocol.operations import Commit
from rengafs.protocol.records import Node, Version
from rengafs.service.drawing import draw_out
from rengafs.service.run import ServeOptions
from rengafs.service.upkeep import check_data, with_data

SIZE = 80 << 20
AT = 33 << 20


def edit(talk: Talk, file: Node, base: Version | None, *, handle: str = "") -> Version:
    """Write some bytes into a file of 80 MiB, most of it holes."""
    extents = [(AT, 100)] if base else [(0, 9), (AT - 50, 200), (SIZE - 5, 5)]
    payload = sum(count for _, count in extents)
    operation = Commit(
        node=file.id,
        length=SIZE,
        base=base.id if base else None,
        whole=base is None,
        extents=extents,
        payload=payload,
        handle=handle,
    )
    version = talk.do(operation, os.urandom(payload)).version
    assert version is not None
    return version


def drawn_out(options: ServeOptions) -> None:
    async def run(catalog: Catalog, backends: dict[str, Backend]) -> None:
        await draw_out(catalog, backends["local"], -60)

    with_data(options, run)  # type: ignore[arg-type]


def test_an_edit_reads_the_same_before_and_after_it_is_drawn_out() -> None:
    with running_service() as service, talking(service) as talk:
        options = ServeOptions("", service.data)
        laid = service.data / "blobs" / "laid"
        file = talk.file(talk.bucket(), "f")
        first = edit(talk, file, None)
        superseded = edit(talk, file, first, handle="one")
        last = edit(talk, file, superseded, handle="one")

        before = [talk.content(one.id, AT - 99, AT + 999) for one in (first, superseded, last)]
        assert len(list(laid.iterdir())) == 2
        assert check_data(options, contents=True).clean
        drawn_out(options)

        # What nobody sees in history is not worth a copy.
        assert len(list(laid.iterdir())) == 1
        after = [talk.content(one.id, AT - 99, AT + 999) for one in (first, superseded, last)]
        assert after == before
        assert len(set(after)) == 3
        assert check_data(options, contents=True).clean
