"""A mount's life: reach the service, attach to the kernel, serve, drain, detach.

However it ends (umount, SIGTERM, SIGINT), what open files have written is committed first,
and nothing is left in the mount table. Only a killed process leaves its mount behind, and
that answers ENOTCONN rather than look like an empty directory.
"""

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyfuse3
import trio

from rengafs.client.drivers import Endpoint, TrioDriver
from rengafs.fs import operations
from rengafs.fs.attributes import Ownership
from rengafs.fs.cache import BlockCache, CacheOptions
from rengafs.fs.contents import Contents
from rengafs.fs.drafts import DraftStore
from rengafs.fs.following import Follower
from rengafs.fs.kernel import Kernel
from rengafs.fs.locked import LockedRemote
from rengafs.fs.reading import Budget, Readers
from rengafs.fs.recording import Recorder
from rengafs.fs.remote import Remote
from rengafs.fs.requests import VolumeOptions
from rengafs.fs.volume import Volume
from rengafs.protocol.endpoints import CLIENT_HEADER, HOST_HEADER
from rengafs.protocol.errors import SetupError
from rengafs.protocol.locks import LockFile
from rengafs.protocol.records import ROOT

log = logging.getLogger(__name__)

DISK_THREADS = 8
"""At most so many threads wait for the local disk."""
BUFFER_BYTES = 128 << 20
"""Bytes that read-ahead may hold in memory, for the whole mount."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """All that a mount needs to know."""

    mountpoint: Path
    endpoint: str
    token: str
    source: str
    """What the mount table shows as the device."""
    cache_directory: Path
    cache_limit_bytes: int
    drafts_directory: Path
    uid: int
    gid: int
    mount_id: str
    """Names this mount in the log and in the feed; unique."""
    host: str = ""
    """The name of this machine, for the log."""
    backend: str = ""
    umask: int = 0
    """Permission bits that are never shown."""
    allow_other: bool = False
    read_only: bool = False
    show_versions: bool = False
    patience_seconds: float = 30.0
    """How long a request waits for the service before it is EIO."""
    recordings_directory: Path | None = None
    """Where what `rengafs record` asks for is written; None: nowhere."""
    lock: LockFile | None = None
    """Show just the versions that it names. To be mounted read-only."""

    @property
    def caller_uid(self) -> int:
        """Who may record: who runs the mount, whatever owner it shows."""
        return os.getuid()


def run(options: MountOptions, *, ready: Callable[[], None] | None = None) -> list[str]:
    """Mount, and serve until unmounted; return what could not be committed at the end.

    *ready* is called when the mount answers. Raises `Unreachable`, `NotAuthenticated`, and
    `SetupError` if the kernel refuses the mount; nothing is mounted then.
    """
    return trio.run(_run, options, ready)


async def _run(options: MountOptions, ready: Callable[[], None] | None) -> list[str]:
    async with _driver(options) as driver, trio.open_nursery() as background:
        remote = await _remote(driver, options)
        info = await remote.info()
        disk = trio.CapacityLimiter(DISK_THREADS)
        cache = BlockCache(
            CacheOptions(options.cache_directory, limit_bytes=options.cache_limit_bytes),
            info.catalog,
        )
        drafts = DraftStore(options.drafts_directory, disk, mount=options.mount_id)
        readers = Readers(
            remote,
            cache,
            Budget(BUFFER_BYTES),
            background,
            patience_seconds=options.patience_seconds,
        )
        kernel = Kernel()
        contents = Contents(remote, readers, drafts, kernel.forget_pages)
        volume = Volume(remote, await remote.node(ROOT), contents, _volume_options(options))
        follower = Follower(volume, remote, kernel, info.change)
        failures: list[str] = []
        recorder = Recorder(volume.inodes, options.recordings_directory, options.caller_uid)
        with closing(recorder), _attached(volume, recorder, options):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(kernel.run)
                nursery.start_soon(follower.run)
                nursery.start_soon(_terminate_on_signal, volume, kernel, failures)
                if ready is not None:
                    nursery.start_soon(_announce, options.mountpoint, ready)
                await pyfuse3.main()
                failures += await volume.files.drain()
                await kernel.disarm()
                nursery.cancel_scope.cancel()
        background.cancel_scope.cancel()
    for failure in failures:
        log.error("not committed: %s", failure)
    return failures


async def _remote(driver: TrioDriver, options: MountOptions) -> Remote:
    if options.lock is None:
        return Remote(driver, options.mount_id)
    remote = LockedRemote(driver, options.mount_id, options.lock)
    await remote.prepare()
    return remote


def _volume_options(options: MountOptions) -> VolumeOptions:
    return VolumeOptions(
        Ownership(options.uid, options.gid, options.umask),
        backend=options.backend,
        read_only=options.read_only,
        show_versions=options.show_versions,
    )


@asynccontextmanager
async def _driver(options: MountOptions) -> AsyncIterator[TrioDriver]:
    endpoint = Endpoint(
        options.endpoint,
        options.token,
        headers={HOST_HEADER: options.host, CLIENT_HEADER: options.mount_id},
        patience_seconds=options.patience_seconds,
    )
    driver = TrioDriver(endpoint)
    try:
        yield driver
    finally:
        with trio.CancelScope(shield=True):
            await driver.aclose()


@contextmanager
def _attached(volume: Volume, recorder: Recorder, options: MountOptions) -> Iterator[None]:
    """Attach *volume* to the kernel; detach whatever happens."""
    chosen = operations.options(
        allow_other=options.allow_other, read_only=options.read_only, source=options.source
    )
    try:
        pyfuse3.init(operations.Operations(volume, recorder), str(options.mountpoint), chosen)
    except RuntimeError as error:
        raise SetupError(
            f"the kernel does not mount {options.mountpoint}: {error}; "
            "see the lines of fusermount3 above"
        ) from error
    try:
        yield
    finally:
        pyfuse3.close(unmount=True)


async def _terminate_on_signal(volume: Volume, kernel: Kernel, failures: list[str]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for number in signals:
            log.info("%s: finishing what is open", signal.Signals(number).name)
            failures += await volume.files.drain()
            await kernel.disarm()
            pyfuse3.terminate()
            return


async def _announce(mountpoint: Path, ready: Callable[[], None]) -> None:
    """Say that the mount is ready once it answers, not when it is merely there."""
    await trio.to_thread.run_sync(os.statvfs, mountpoint, abandon_on_cancel=True)
    ready()
