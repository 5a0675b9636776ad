"""`FileHandle`: an open file, for blocking callers. `async_handles` is its twin."""

from typing import Self

from rengafs.client.blocking import BlockingDriver
from rengafs.client.sdk import sources
from rengafs.client.sdk.models import HandleModel
from rengafs.client.sdk.sources import Source
from rengafs.client.sdk.writing import seconds_for


class FileHandle(HandleModel[BlockingDriver]):
    """A pythonic file-oriented API, whatever the backend.

    Used in ``with``, what is written becomes one version when the block ends, and none if
    it ends with an error. Without, each write is saved when it returns; a further write
    goes behind it, and both are one version. Nothing written: no version.
    """

    def read(self, size: int | None = -1) -> bytes:
        """Read the next *size* bytes from the file, or all that are left.

        Fewer come at the end, and then none. Raises `InvalidFileOperation` for a handle
        that does not read.
        """
        return b"".join(self._driver.run(flow) for flow in self._reading().read(size))

    def write(self, data: Source) -> int:
        """Write bytes, text (as UTF-8), an open file or an iterable of these.

        Returns the number of bytes. Raises `InvalidFileOperation` for a handle that does
        not write.
        """
        with self._writing().adding() as draft:
            before = draft.length
            sources.fill(draft, data)
            return self._added(draft.length - before)

    def from_url(self, url: str) -> int:
        """Write data from the streamed GET response from the given URL.

        Returns the number of bytes. A URL that can't be read to its end writes nothing.

        >>> with client.buckets[1234].files[9876].open('w') as fp:
        ...     fp.from_url('https://example.com/tests/data')
        """
        address = sources.parse_url(url)
        with self._writing().adding(sources.plain(address)) as draft:
            before = draft.length
            sources.fetch(draft, address)
            return self._added(draft.length - before)

    def _added(self, length: int) -> int:
        if not self._in_block:
            self.flush()
        return length

    def flush(self) -> None:
        """Save what is written and not saved yet."""
        writing = self._writing()
        if (draft := writing.draft) is not None:
            patience = self._driver.endpoint.patience_seconds + seconds_for(draft)
            flow = writing.save(draft, draft.sha256(), draft.pieces)
            self._driver.run(flow, patience_seconds=patience)

    def close(self) -> None:
        """Save what is written, and end the use of the handle."""
        if not self._closed:
            try:
                if self.can_write:
                    self.flush()
            finally:
                self._abandon()

    def __enter__(self) -> Self:
        self._check_open()
        self._in_block = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abandon()
        self.close()
