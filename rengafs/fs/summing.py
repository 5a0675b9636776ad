"""The body of a large commit: streamed, with its hash at the end."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import trio

from rengafs.protocol.digests import Summing
from rengafs.protocol.operations import Apply, Commit


async def summed(
    client: str, operation: Commit, payload: Callable[[], AsyncIterator[bytes]]
) -> AsyncIterator[bytes]:
    """Yield the body of an ``apply`` with one commit. Megabytes are hashed in a thread."""
    summing = Summing()
    yield summing.line(Apply(client=client)) + summing.line(operation)
    pieces = payload()
    try:
        async for piece in pieces:
            await trio.to_thread.run_sync(summing.add, piece)
            yield piece
    finally:
        # A sending that breaks off ends only the outer generator.
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
    yield summing.end()
