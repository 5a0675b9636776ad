"""An open file of fsspec: reads one immutable version, or writes what becomes the next."""

from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

from rengafs.client import calls
from rengafs.client.sdk.spool import Spool
from rengafs.protocol.operations import Commit

if TYPE_CHECKING:
    from rengafs.client.spec.filesystem import RengaFileSystem


class RengaFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file of a bucket. What is written is one version, made when the file is closed."""

    fs: "RengaFileSystem"
    closed: bool

    def __init__(self, fs: "RengaFileSystem", path: str, mode: str = "rb", **kwargs: Any) -> None:
        if mode == "rb":
            # Looked up once: from here on it is one version that is read, whatever is saved.
            details = fs.info(path)
            if details["type"] == "directory":
                raise IsADirectoryError(21, "it is a directory", path)
            kwargs["size"] = details["size"]
            self._details = details
        else:
            # Made now, so that what keeps it from being made is said now, not at the end.
            self._place = fs.place(path)
        super().__init__(fs, path, mode, **kwargs)
        self._spool: Spool | None = None

    # --- reading --------------------------------------------------------------------------

    def _fetch_range(self, start: int, end: int) -> bytes:
        """Return bytes of the version; see fsspec."""
        version = self.details["version"]
        stop = min(end, self.size)
        if version is None or start >= stop:
            return b""
        return self.fs.service.read(version, start, stop, self.path)

    # --- writing --------------------------------------------------------------------------

    def _initiate_upload(self) -> None:
        """Begin to gather what is written; see fsspec."""
        self._spool = Spool()

    def _upload_chunk(self, final: bool = False) -> bool:
        """Gather a piece, and save all after the last; see fsspec."""
        assert self._spool is not None, "_initiate_upload comes first"
        self._spool.append(self.buffer.getvalue())
        if final and self.autocommit:
            self.commit()
        return True

    def commit(self) -> None:
        """Make what was written a version. Raises `OSError`."""
        spool = self._spool
        assert spool is not None, "closed before"
        node = self.fs.file_at(self._place, self.path, exclusive=self.mode == "xb")
        start = node.size if self.mode == "ab" else 0
        operation = Commit(
            node=node.id,
            base=node.version,
            length=start + spool.length,
            whole=self.mode != "ab",
            extents=[(start, spool.length)] if spool.length else [],
            payload=spool.length,
            payload_sha256=spool.sha256(),
        )
        self.fs.service.save(calls.commit(operation, spool.pieces), spool.length, self.path)
        self.fs.invalidate_cache(self.path)
        self.discard()

    def discard(self) -> None:
        """Forget what was written and not saved."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def close(self) -> None:
        """Save what was written, and end the use of the file."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            self.closed = True
            if self.autocommit:
                self.discard()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self.mode != "rb":
            # Half a file is no version.
            self.closed = True
            self.discard()
        self.close()
