"""`RengaFileSystem`: buckets and what is in them, as fsspec wants a filesystem."""

import datetime as dt
import posixpath
import uuid
from typing import Any

from fsspec.spec import AbstractFileSystem

from rengafs.client import calls
from rengafs.client.connection import PATIENCE_SECONDS
from rengafs.client.spec.files import RengaFile
from rengafs.client.spec.moments import meanings
from rengafs.client.spec.service import Service, as_os_errors, find_endpoint
from rengafs.protocol.operations import (
    Clone,
    MakeBucket,
    MakeDirectory,
    MakeFile,
    Operation,
    RemoveDirectory,
    Rename,
    SetAttributes,
    Unlink,
)
from rengafs.protocol.records import ROOT, Entry, Kind, Node

EEXIST, EISDIR, EROFS = 17, 21, 30
NS = 1_000_000_000


class RengaFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The buckets of a service: ``renga://bucket/path``, or as of ``@MOMENT`` or a label.

    :param endpoint: the service's address, or its name in the configuration. Without one,
        ``RENGA_ENDPOINT`` and the configuration are asked.
    :param token: for it; else *token_file*, ``RENGA_ACCESS_TOKEN``, the configuration, the
        login.
    :param backend: where the blobs of new buckets lie; the service's default unless given.
    :param use_listings_cache: remember listings, and so miss what others do meanwhile.

    Directories are made as they are needed, buckets only by `mkdir`. Closing a file that
    was written makes one version.
    """

    protocol = "renga"
    root_marker = ""

    def __init__(
        self,
        endpoint: str = "",
        token: str = "",
        token_file: str = "",
        backend: str = "",
        patience_seconds: float = PATIENCE_SECONDS,
        use_listings_cache: bool = False,
        **storage_options: Any,
    ) -> None:
        if self._cached:
            return
        super().__init__(use_listings_cache=use_listings_cache, **storage_options)
        self._backend = backend
        self.service = Service(find_endpoint(endpoint, token, token_file, patience_seconds))

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = str(super()._strip_protocol(path))
        return text.strip("/")

    # --- looking --------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a directory, or the one file at *path*. Raises `FileNotFoundError`."""
        path = self._strip_protocol(path)
        found = self._ls_from_cache(path)
        if found is None:
            entry, at = self.service.find(path)
            if entry.node.kind.is_directory:
                below = self.service.entries(entry.node.id, at, path)
                found = [_info(posixpath.join(path, one.name), one) for one in below]
                self.dircache[path] = found
            else:
                found = [_info(path, entry)]
        return found if detail else sorted(one["name"] for one in found)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what is known of *path*. Raises `FileNotFoundError`."""
        path = self._strip_protocol(path)
        return _info(path, self.service.find(path)[0])

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is something at *path*. Raises `OSError` if that can't be told."""
        try:
            self.service.find(self._strip_protocol(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def checksum(self, path: str) -> str:
        """Return the SHA-256 of a file's content, in hex; the service knows it."""
        return str(self.info(path)["sha256"])

    ukey = checksum

    def created(self, path: str) -> dt.datetime:
        """Return when *path* came to be."""
        return _moment(self.info(path)["created_ns"])

    def modified(self, path: str) -> dt.datetime:
        """Return when *path* was last written."""
        return _moment(self.info(path)["mtime_ns"])

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget listings: of *path* and what is above it, or all."""
        if path is None:
            self.dircache.clear()
        else:
            parts = self._strip_protocol(path).split("/")
            for count in range(len(parts) + 1):
                self.dircache.pop("/".join(parts[:count]), None)
        super().invalidate_cache(path)

    # --- files ----------------------------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> RengaFile:
        if mode != "rb":
            self._check_writable(path)
            there = self._find(path)
            if there is not None and mode == "xb":
                raise FileExistsError(EEXIST, "it is there already", path)
            if there is not None and there.kind.is_directory:
                raise IsADirectoryError(EISDIR, "it is a directory", path)
        return RengaFile(self, path, mode, **kwargs)

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return bytes *start* to *end* of a file; negative ones count from its end."""
        details = self.info(path)
        if details["type"] == "directory":
            raise IsADirectoryError(EISDIR, "it is a directory", path)
        first, stop, _step = slice(start, end).indices(details["size"])
        if details["version"] is None or first >= stop:
            return b""
        return self.service.read(details["version"], first, stop, path)

    def file_at(self, place: tuple[int, str], path: str, *, exclusive: bool = False) -> Node:
        """Return the file at *place*, made if need be. Raises `FileExistsError`."""
        operation = MakeFile(parent=place[0], name=place[1], exclusive=exclusive)
        return self._apply(operation, path)

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Make an empty file; without *truncate*, give one that is there the present time."""
        path = self._strip_protocol(path)
        there = self._find(path)
        if there is not None and not truncate:
            now = int(dt.datetime.now(dt.UTC).timestamp() * NS)
            self._apply(SetAttributes(node=there.id, mtime_ns=now), path)
        elif there is None:
            self.file_at(self.place(path), path)
        else:
            self.pipe_file(path, b"")

    # --- the tree -------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a directory, or a bucket. Raises `FileExistsError`."""
        path = self._strip_protocol(path)
        self._check_writable(path)
        above, _slash, name = path.rpartition("/")
        if not above:
            self._apply(MakeBucket(name=name, backend=self._backend), path)
            return
        if create_parents:
            self.makedirs(above, exist_ok=True)
        parent = self.service.find(above)[0].node.id
        self._apply(MakeDirectory(parent=parent, name=name), path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory with all that are above it, the bucket too."""
        path = self._strip_protocol(path)
        there = self._find(path)
        if there is None:
            self.mkdir(path, create_parents=True)
        elif not exist_ok or not there.kind.is_directory:
            raise FileExistsError(EEXIST, "it is there already", path)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory or bucket."""
        path = self._strip_protocol(path)
        self._check_writable(path)
        entry, _at = self.service.find(path)
        self._apply(RemoveDirectory(parent=entry.parent or ROOT, name=entry.name), path)

    def _rm(self, path: str) -> None:
        """Remove what is at *path*; its versions stay in the history."""
        path = self._strip_protocol(path)
        self._check_writable(path)
        entry, _at = self.service.find(path)
        if entry.node.kind.is_directory:
            self.rmdir(path)
        else:
            self._apply(Unlink(parent=entry.parent, name=entry.name), path)

    rm_file = _rm

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a file on the service: no bytes come here. The copy is a version of *path2*."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        source = self.service.find(path1)[0].node
        if source.kind.is_directory:
            self.makedirs(path2, exist_ok=True)
            return
        if source.kind is not Kind.FILE or source.version is None:
            self.pipe_file(path2, b"")
            return
        parent, name = self.place(path2)
        there = self._find(path2)
        if there is None:
            self._apply(Clone(source=source.version, parent=parent, name=name), path2)
            return
        if there.kind.is_directory:
            raise IsADirectoryError(EISDIR, "it is a directory", path2)
        # As any tool saves: beside it, then over it. What was there keeps its history.
        beside = f".{uuid.uuid4().hex}~"
        clone = Clone(source=source.version, parent=parent, name=beside)
        over = Rename(parent=parent, name=beside, new_parent=parent, new_name=name)
        outcomes = self.service.run(calls.apply([clone, over], atomic=True), path2)
        with as_os_errors(path2):
            for outcome in outcomes:
                calls.good(outcome)
        self.invalidate_cache(path2)

    def mv(
        self, path1: str, path2: str, recursive: bool = False, maxdepth: int | None = None, **_: Any
    ) -> None:
        """Move a file, or a directory with all in it, by renaming it on the service."""
        if isinstance(path1, str) and isinstance(path2, str) and not set("*?[") & set(path1):
            into = path2.endswith("/")
            source, target = self._strip_protocol(path1), self._strip_protocol(path2)
            self._check_writable(source)
            there = self._find(target)
            if into or (there is not None and there.kind.is_directory):
                target = posixpath.join(target, posixpath.basename(source))
            entry, _at = self.service.find(source)
            parent, name = self.place(target, whole_bucket=entry.node.kind is Kind.BUCKET)
            self._apply(
                Rename(
                    parent=entry.parent or ROOT, name=entry.name, new_parent=parent, new_name=name
                ),
                source,
            )
            self.invalidate_cache(target)
            return
        super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth)

    # --- parts of these -------------------------------------------------------------------

    def _find(self, path: str) -> Node | None:
        try:
            return self.service.find(path)[0].node
        except FileNotFoundError:
            return None

    def place(self, path: str, *, whole_bucket: bool = False) -> tuple[int, str]:
        """Return the directory of *path*, made if need be, and the last name."""
        path = self._strip_protocol(path)
        self._check_writable(path)
        above, _slash, name = path.rpartition("/")
        if not above:
            if whole_bucket:
                return ROOT, name
            raise PermissionError(1, "there are only buckets at the top; write BUCKET/FILE", path)
        there = self._find(above)
        if there is None:
            bucket = above.split("/")[0]
            if self._find(bucket) is None:
                raise FileNotFoundError(2, f"there is no bucket {bucket!r}; make it first", path)
            self.makedirs(above, exist_ok=True)
            there = self.service.find(above)[0].node
        return there.id, name

    def _apply(self, operation: Operation, path: str) -> Node:
        outcome = self.service.run(calls.apply_one(operation), path)
        self.invalidate_cache(path)
        return outcome.node or Node(id=0, kind=Kind.FILE, mode=0)

    def _check_writable(self, path: str) -> None:
        if meanings(self._strip_protocol(path))[0].when:
            raise OSError(EROFS, "the past can't be changed; write to the path without @", path)


def _info(path: str, entry: Entry) -> dict[str, Any]:
    node = entry.node
    kind = "directory" if node.kind.is_directory else "file" if node.kind is Kind.FILE else "other"
    return {
        "name": path,
        "size": node.size if kind == "file" else 0,
        "type": kind,
        "kind": str(node.kind),
        "id": node.id,
        "version": node.version,
        "sha256": node.sha256,
        "mode": node.mode,
        "mtime": node.mtime_ns / NS,
        "mtime_ns": node.mtime_ns,
        "created_ns": node.created_ns,
        **({"islink": True, "destination": node.target} if node.target else {}),
    }


def _moment(at_ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(at_ns / NS, dt.UTC)
