"""`AsyncFileHandle`: an open file, for trio callers. `handles` is its twin."""

from collections.abc import Generator
from typing import Any, Self

import trio

from rengafs.client.flow import Flow
from rengafs.client.sdk import async_sources, sources
from rengafs.client.sdk.async_sources import AsyncSource
from rengafs.client.sdk.models import HandleModel
from rengafs.client.sdk.reading import Reading
from rengafs.client.sdk.writing import Writing, seconds_for
from rengafs.client.trio_driver import TrioDriver


class AsyncFileHandle(HandleModel[TrioDriver]):
    """A pythonic file-oriented API, whatever the backend.

    Used in ``async with``, what is written becomes one version when the block ends, and
    none if it ends with an error. Without, each write is saved when it returns; a further
    write goes behind it, and both are one version. Nothing written: no version.
    """

    async def read(self, size: int | None = -1) -> bytes:
        """Read the next *size* bytes from the file, or all that are left.

        Fewer come at the end, and then none. Raises `InvalidFileOperation` for a handle
        that does not read.
        """
        return b"".join([await self._driver.run(flow) for flow in self._reading().read(size)])

    async def write(self, data: AsyncSource) -> int:
        """Write bytes, text (as UTF-8), an open file or an iterable of these, async or not.

        Returns the number of bytes. Raises `InvalidFileOperation` for a handle that does
        not write.
        """
        with self._writing().adding() as draft:
            before = draft.length
            await async_sources.fill(draft, data)
            return await self._added(draft.length - before)

    async def from_url(self, url: str) -> int:
        """Write data from the streamed GET response from the given URL.

        Returns the number of bytes. A URL that can't be read to its end writes nothing.

        >>> async with file.open('w') as fp:
        ...     await fp.from_url('https://example.com/tests/data')
        """
        address = sources.parse_url(url)
        with self._writing().adding(sources.plain(address)) as draft:
            before = draft.length
            await async_sources.fetch(draft, address)
            return await self._added(draft.length - before)

    async def _added(self, length: int) -> int:
        if not self._in_block:
            await self.flush()
        return length

    async def flush(self) -> None:
        """Save what is written and not saved yet."""
        writing = self._writing()
        if (draft := writing.draft) is not None:
            patience = self._driver.endpoint.patience_seconds + seconds_for(draft)
            sha256 = await trio.to_thread.run_sync(draft.sha256)
            flow = writing.save(draft, sha256, lambda: async_sources.pieces(draft))
            await self._driver.run(flow, patience_seconds=patience)

    async def aclose(self) -> None:
        """Save what is written, and end the use of the handle."""
        if not self._closed:
            try:
                if self.can_write:
                    await self.flush()
            finally:
                self._abandon()

    async def __aenter__(self) -> Self:
        self._check_open()
        self._in_block = True
        return self

    async def __aexit__(self, kind: object = None, *_: object) -> None:
        if kind is not None:
            self._abandon()
        await self.aclose()


class Opening:
    """A handle that is being opened: ``async with`` it, or ``await`` it."""

    def __init__(self, driver: TrioDriver, state: Flow[Reading | Writing]) -> None:
        self._driver = driver
        self._state = state
        self._handle: AsyncFileHandle | None = None

    async def _open(self) -> AsyncFileHandle:
        return AsyncFileHandle(self._driver, await self._driver.run(self._state))

    def __await__(self) -> Generator[Any, None, AsyncFileHandle]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncFileHandle:
        self._handle = await self._open()
        return await self._handle.__aenter__()

    async def __aexit__(self, *failure: object) -> None:
        assert self._handle is not None, "__aenter__ comes first"
        await self._handle.__aexit__(*failure)
