"""`sources` for trio: the same, but waiting does not hold up other tasks."""

from collections.abc import AsyncIterable, AsyncIterator

import httpx
import trio

from rengafs.client.sdk import sources
from rengafs.client.sdk.sources import Piece, Source
from rengafs.client.sdk.spool import PIECE_BYTES, Spool
from rengafs.client.trio_driver import abandon

AsyncSource = Source | AsyncIterable[Piece]


async def fill(spool: Spool, data: AsyncSource) -> None:
    """Append all of *data*; what is not an async iterable is read in a thread."""
    if not isinstance(data, AsyncIterable):
        await trio.to_thread.run_sync(sources.fill, spool, data)
        return
    async for piece in data:
        await trio.to_thread.run_sync(spool.append, sources.encoded(piece))


async def fetch(spool: Spool, address: httpx.URL) -> None:
    """Append what a GET of *address* answers. Raises as `sources.fetch` does."""
    with sources.understood(address):
        async with (
            httpx.AsyncClient(follow_redirects=True, timeout=sources.WAITS) as http,
            http.stream("GET", address) as response,
        ):
            sources.check_answer(address, response)
            pieces = response.aiter_bytes(PIECE_BYTES)
            try:
                async for piece in pieces:
                    await trio.to_thread.run_sync(spool.append, piece)
            finally:
                await abandon(pieces)


async def pieces(spool: Spool) -> AsyncIterator[bytes]:
    """Yield all bytes of *spool*, from the start."""
    offset = 0
    while piece := await trio.to_thread.run_sync(spool.piece, offset):
        offset += len(piece)
        yield piece
