"""Blobs on this machine, read where they lie: no copy goes over a socket or into the cache.

The service tells over a Unix socket which file a version's bytes are. Whoever may open that
file reads it; whoever may not (a mount of another user), or finds another file there, reads
through the service as from far away. An open blob stays readable when it is swept.

What is checked: that it is the very file that the service means, and its size; of one up to
`HASHED_BYTES` also its hash, once, as the service does. The hashes of larger ones are
``rengafs check --contents``' business.
"""

import hashlib
import logging
import os
from contextlib import suppress
from typing import Protocol

import trio

from rengafs.protocol.errors import Corrupt, RengafsError
from rengafs.protocol.records import Whereabouts

log = logging.getLogger(__name__)

HASHED_BYTES = 1 << 20
MOST_OPEN = 400
"""A process may have 1,024 files open; what comes beyond is read through the service."""


class Guide(Protocol):
    """Who knows where blobs lie. A `Remote`."""

    async def whereabouts(self, version: int) -> Whereabouts:
        """Return the file in which a version's bytes lie."""


class BlobFile:
    """One open blob of *size* bytes."""

    def __init__(self, store: "BlobFiles", version: int, descriptor: int, size: int) -> None:
        self._store = store
        self._version = version
        self._descriptor = descriptor
        self._size = size
        self._readers = 0
        self._closed = False

    async def read(self, start: int, stop: int) -> bytes:
        """Return bytes *start* to *stop* (excluded). Raises `Corrupt` if they are not there."""
        if self._closed:
            raise trio.ClosedResourceError("this blob is closed")
        buffer = bytearray(stop - start)
        try:
            # What the kernel has in memory is here faster than a thread is awake.
            got = os.preadv(self._descriptor, [buffer], start, os.RWF_NOWAIT)
        except BlockingIOError:
            got = 0
        except OSError:
            got = 0  # this disk's file system does not know the flag
        if got == stop - start:
            return bytes(buffer)
        return await self._read_in_thread(start, stop)

    async def _read_in_thread(self, start: int, stop: int) -> bytes:
        self._readers += 1
        try:
            data = await trio.to_thread.run_sync(
                _pread, self._descriptor, start, stop, limiter=self._store.limiter
            )
        except OSError as error:
            raise Corrupt(
                f"the disk does not give the blob of version {self._version}: {error}",
                version=self._version,
            ) from error
        finally:
            self._readers -= 1
            self._close_if_unused()
        if len(data) != stop - start:
            raise Corrupt(f"the blob of version {self._version} ended early", version=self._version)
        return data

    def close(self) -> None:
        """Let go of the file, after the reads under way."""
        if not self._closed:
            self._closed = True
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._closed and not self._readers and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._store.open_now -= 1


class BlobFiles:
    """Opens blobs.

    :param guide: None where the service is not on this machine.
    """

    def __init__(self, guide: Guide | None, limiter: trio.CapacityLimiter | None = None) -> None:
        self.limiter = limiter
        self.open_now = 0
        self._guide = guide
        self._here: bool | None = None
        """Whether all that were looked for were found here. None: none was looked for yet."""
        self._looking = trio.Lock()

    @property
    def here(self) -> bool:
        """Whether blobs lie on this machine, as far as is known: then they need no copies."""
        return bool(self._here)

    async def are_here(self, version: int, size: int) -> bool:
        """Find out, if nothing was opened yet, by the blob of a version; see `here`."""
        async with self._looking:
            if self._here is None:
                with suppress(Corrupt):  # who reads it is told
                    blob = await self.open(version, size)
                    if blob is not None:
                        blob.close()
        return self.here

    async def open(self, version: int, size: int) -> BlobFile | None:
        """Return the blob of a version, or None if it is to be read through the service.

        Raises `Corrupt` for one of another size or hash than it should be.
        """
        if self._guide is None or self.open_now >= MOST_OPEN:
            return None
        try:
            where = await self._guide.whereabouts(version)
        except Corrupt:
            raise
        except RengafsError as error:
            log.debug("version %d: %s", version, error)
            return None  # whoever reads through the service is told the same
        if not where.path:
            self._here = False
            return None
        return await self._open(version, size, where)

    async def _open(self, version: int, size: int, where: Whereabouts) -> BlobFile | None:
        try:
            descriptor = await trio.to_thread.run_sync(
                _open, where, version, size, limiter=self.limiter
            )
        except PermissionError as error:
            log.info("blobs are read through the service: %s", error)
            self._here, self._guide = False, None  # what is another user's stays so
            return None
        except OSError as error:
            # This one is swept, or moved to another backend; or this process has too many open.
            log.debug("the blob of version %d is read through the service: %s", version, error)
            return None
        self.open_now += 1
        self._here = self._here is not False
        return BlobFile(self, version, descriptor, size)


NOWHERE = BlobFiles(None)
"""For a service on another machine."""


def _open(where: Whereabouts, version: int, size: int) -> int:
    """Return a descriptor. Raises OSError where it is not to be had, `Corrupt`."""
    descriptor = os.open(where.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (where.device, where.inode):
            raise PermissionError(f"{where.path} is another file here")
        if status.st_size != size:
            raise Corrupt(
                f"the blob of version {version} has {status.st_size} bytes, not {size}; restore "
                "it from a backup",
                version=version,
            )
        if size <= HASHED_BYTES:
            _check_hash(descriptor, where, version, size)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _check_hash(descriptor: int, where: Whereabouts, version: int, size: int) -> None:
    found = hashlib.sha256(_pread(descriptor, 0, size)).hexdigest()
    if len(where.sha256) == len(found) and where.sha256 != found:
        raise Corrupt(
            f"the blob of version {version} is damaged; restore it from a backup", version=version
        )


def _pread(descriptor: int, start: int, stop: int) -> bytes:
    data = os.pread(descriptor, stop - start, start)
    while data and len(data) < stop - start:
        more = os.pread(descriptor, stop - start - len(data), start + len(data))
        if not more:
            break
        data += more
    return data
