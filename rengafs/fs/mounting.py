"""A mount's life: reach the service, attach to the kernel, serve, drain, detach.

However it ends (umount, SIGTERM, SIGINT), what open files have written is committed first,
and nothing is left in the mount table. Only a killed process leaves its mount behind, and
that answers ENOTCONN rather than look like an empty directory.
"""

import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyfuse3
import trio

from rengafs.client.drivers import Endpoint, TrioDriver
from rengafs.client.lasting import LastingToken, Renew
from rengafs.fs import operations
from rengafs.fs.absence import Absence, EnduringRemote
from rengafs.fs.following import Follower
from rengafs.fs.holding import Holding
from rengafs.fs.kernel import Kernel, widen_readahead
from rengafs.fs.locked import LockedRemote
from rengafs.fs.metrics import FeedState, Metrics, served
from rengafs.fs.names.attributes import Ownership
from rengafs.fs.names.requests import VolumeOptions
from rengafs.fs.pins.keeping import PinKeeper
from rengafs.fs.pins.recent import Recent, RecentFiles
from rengafs.fs.pins.records import Served
from rengafs.fs.reads.blobfiles import BlobFiles
from rengafs.fs.reads.budget import Budget
from rengafs.fs.reads.bulk import Bulk
from rengafs.fs.reads.cache import BlockCache, CacheOptions
from rengafs.fs.reads.readers import Readers
from rengafs.fs.recording import Recorder
from rengafs.fs.remote import Remote
from rengafs.fs.trimming import MOST_INODES, Trimmer
from rengafs.fs.volume.contents import Contents
from rengafs.fs.volume.ending import Ending
from rengafs.fs.volume.volume import Volume
from rengafs.fs.waiting import Waiting
from rengafs.fs.writes.ahead import Senders
from rengafs.fs.writes.draftstore import DraftStore
from rengafs.fs.writes.saving import Saver
from rengafs.fs.writes.writeback.records import Owner
from rengafs.fs.writes.writeback.replaying import replay
from rengafs.fs.writes.writeback.running import WriteBackOptions, drain, write_back
from rengafs.fs.writes.writeback.writing import WriteBack
from rengafs.memory import keep_memory
from rengafs.protocol.endpoints import CLIENT_HEADER, HOST_HEADER
from rengafs.protocol.errors import SetupError
from rengafs.protocol.locks import LockFile
from rengafs.protocol.records import ROOT, Node, ServiceInfo

log = logging.getLogger(__name__)

GARBAGE = 20_000
"""Objects that are made before Python looks for cycles."""
ENDING_SIGNALS = signal.SIGTERM, signal.SIGINT, signal.SIGHUP
DISK_THREADS = 8
"""At most so many threads wait for the local disk."""
REPLAY_SECONDS = 5.0
"""How long a mount waits for what earlier ones left to be sent; it goes on in the background."""
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
    renew: Renew | None = None
    """Where the token that follows *token* comes from; None: it lasts."""
    host: str = ""
    """The name of this machine, for the log."""
    backend: str = ""
    umask: int = 0
    """Permission bits that are never shown."""
    allow_other: bool = False
    read_only: bool = False
    show_versions: bool = False
    index: bool = False
    patience_seconds: float = 30.0
    """How long a request waits for the service before it is EIO."""
    recordings_directory: Path | None = None
    """Where what `rengafs record` asks for is written; None: nowhere."""
    drain_seconds: float = 50.0
    """How long the end of the mount waits for what is still to be committed."""
    progress: Callable[[int, int], None] = lambda _files, _bytes: None
    """Told meanwhile how many files and bytes that is; in a thread."""
    write_back: WriteBackOptions | None = None
    """Close returns when the bytes are durable here; None: when the service has them."""
    metrics: tuple[str, int] | None = None
    """Host and port where Prometheus may ask; None: nothing is counted."""
    most_inodes: int = MOST_INODES
    """Files that are remembered at a time; the kernel is asked to forget others."""
    pins_directory: Path | None = None
    """Where pins are recorded; None: there are none."""
    away: ServiceInfo | None = None
    """The service does not answer: it was this, and what is pinned of it is shown."""
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
    # The table of inodes is large and has no cycles; to look for some in it each time that a
    # few hundred objects were made would take most of the time of a long listing.
    gc.set_threshold(GARBAGE, 20, 50)
    keep_memory(heaps=2)
    return trio.run(_run, options, ready)


async def _run(options: MountOptions, ready: Callable[[], None] | None) -> list[str]:
    async with _driver(options) as driver, trio.open_nursery() as background:
        background.start_soon(driver.keep_token)
        absence = Absence(options.patience_seconds)
        remote, info = await _remote(driver, options, absence)
        disk = trio.CapacityLimiter(DISK_THREADS)
        is_here = options.endpoint.startswith("unix:")
        cache = BlockCache(
            CacheOptions(options.cache_directory, limit_bytes=options.cache_limit_bytes),
            info.catalog,
        )
        drafts = DraftStore(
            options.drafts_directory,
            disk,
            mount=options.mount_id,
            catalog=info.catalog,
            user=info.user,
            # Behind a journal, close has nothing to wait for.
            senders=None if options.write_back else Senders(remote, background, here=is_here),
        )
        background.start_soon(drafts.unkept.keep)
        blobs = BlobFiles(remote if is_here else None, disk)
        readers = Readers(
            remote,
            cache,
            Budget(BUFFER_BYTES),
            background,
            bulk=Bulk(remote, cache, background, blobs),
            blobs=blobs,
            patience_seconds=options.patience_seconds,
        )
        kernel = Kernel()
        root = await remote.node(ROOT)
        ending = Ending(options.drain_seconds, options.progress)
        failures: list[str] = []
        async with _saver(remote, info, options) as saver:
            contents = Contents(
                saver,
                readers,
                drafts,
                kernel.forget_pages,
                kernel.forget_pages_now,
                kernel.forget_attributes,
            )
            volume = Volume(remote, root, contents, _volume_options(options), background)
            saver.serve(volume)
            volume.absence = absence
            if isinstance(remote, EnduringRemote):
                remote.held = volume.held_in
            keeper = _keeper(remote, cache, info, options)
            volume.served = Served(
                catalog=info.catalog,
                user=info.user,
                cache=str(options.cache_directory),
                pins=keeper is not None,
            )
            recent = _recent(volume, root, info, options)
            follower = Follower(
                volume,
                remote,
                kernel,
                -1 if absence.is_on else info.change,
                absence=absence,
                hearers=[hearer for hearer in (keeper, recent) if hearer is not None],
            )
            holding = _holding(remote, volume, options)
            recorder = Recorder(volume.inodes, options.recordings_directory, options.caller_uid)
            if not options.read_only and absence.is_on:
                background.start_soon(_replay_later, absence, driver, info, options, saver)
            elif not options.read_only:
                with trio.move_on_after(REPLAY_SECONDS) as replaying:
                    await _replay(driver, info, options, saver)
                if replaying.cancelled_caught:
                    background.start_soon(_replay, driver, info, options, saver)
            waiting = Waiting()
            metrics = Metrics() if options.metrics else None
            if metrics is not None:
                metrics.look_at(
                    cache.statistics, saver.report, partial(_feed_state, follower, volume)
                )
            with (
                closing(recorder),
                served(metrics, options.metrics) if metrics and options.metrics else nullcontext(),
                # From before anybody can see the mount: who sees it may end it.
                trio.open_signal_receiver(*ENDING_SIGNALS) as signals,
                _attached(volume, recorder, waiting, metrics, options),
            ):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(kernel.run)
                    nursery.start_soon(waiting.run)
                    nursery.start_soon(Trimmer(volume.inodes, kernel, options.most_inodes).run)
                    nursery.start_soon(follower.run)
                    nursery.start_soon(saver.conflicts.run)
                    nursery.start_soon(holding.run)
                    if recent is not None:
                        nursery.start_soon(recent.run)
                    if keeper is not None:
                        volume.poke_pins = keeper.poke
                        nursery.start_soon(keeper.run)
                    nursery.start_soon(_terminate_on_signal, signals, volume, kernel, ending)
                    if ready is not None:
                        nursery.start_soon(_announce, options.mountpoint, ready)
                    await pyfuse3.main()
                    failures += await volume.files.drain(ending)
                    await kernel.disarm()
                    nursery.cancel_scope.cancel()
            await holding.release()
            failures += await _drain(saver, options, ending)
        background.cancel_scope.cancel()
    for failure in failures:
        log.error("not committed: %s", failure)
    return failures


@asynccontextmanager
async def _saver(remote: Remote, info: ServiceInfo, options: MountOptions) -> AsyncIterator[Saver]:
    if options.write_back is None or options.read_only:
        yield Saver(remote)
        return
    owner = Owner(
        catalog=info.catalog,
        user=info.user,
        mount=options.mount_id,
        mountpoint=str(options.mountpoint),
    )
    async with write_back(
        remote, owner, info, options.drafts_directory, options.write_back
    ) as saver:
        yield saver


async def _replay(
    driver: TrioDriver, info: ServiceInfo, options: MountOptions, saver: Saver
) -> None:
    """Send what mounts that have ended left here; come back soon, whatever there is."""
    owner = Owner(catalog=info.catalog, user=info.user)
    # Under another name than the mount's: the mount is to hear of these changes by the feed.
    remote = Remote(driver, f"{options.mount_id}-replay")
    await replay(options.drafts_directory.parent, owner, remote, saver.conflicts)


async def _drain(saver: Saver, options: MountOptions, ending: Ending) -> list[str]:
    if not isinstance(saver, WriteBack) or options.write_back is None:
        return []
    return await drain(saver, replace(options.write_back, drain_seconds=ending.left))


async def _replay_later(
    absence: Absence, driver: TrioDriver, info: ServiceInfo, options: MountOptions, saver: Saver
) -> None:
    await absence.over()
    await _replay(driver, info, options, saver)


async def _remote(
    driver: TrioDriver, options: MountOptions, absence: Absence
) -> tuple[Remote, ServiceInfo]:
    if options.lock is not None:
        locked = LockedRemote(driver, options.mount_id, options.lock)
        await locked.prepare()
        return locked, await locked.info()
    remote = EnduringRemote(
        driver, options.mount_id, absence, options.pins_directory, options.cache_directory
    )
    if options.away is not None:
        absence.begin(long=True)
    info = options.away or await remote.info()
    remote.serve(info)
    return remote, info


def _keeper(
    remote: Remote, cache: BlockCache, info: ServiceInfo, options: MountOptions
) -> PinKeeper | None:
    if options.pins_directory is None or options.lock is not None:
        return None
    return PinKeeper(
        remote,
        cache,
        options.pins_directory,
        catalog=info.catalog,
        user=info.user,
        here=options.endpoint.startswith("unix:"),
    )


def _recent(
    volume: Volume, root: Node, info: ServiceInfo, options: MountOptions
) -> RecentFiles | None:
    """Return who notes what is read; nobody where the blobs are on this machine anyway."""
    if options.pins_directory is None or options.lock or options.endpoint.startswith("unix:"):
        return None
    whose = Recent(
        endpoint=options.endpoint,
        catalog=info.catalog,
        user=info.user,
        cache=str(options.cache_directory),
        root=root,
        rows=[],
    )
    recent = RecentFiles(options.pins_directory, whose, volume.inodes)
    volume.files.told_of_reader = recent.opened
    return recent


def _holding(remote: Remote, volume: Volume, options: MountOptions) -> Holding:
    locked = () if options.lock is None else tuple(file.version for file in options.lock.files)
    holding = Holding(remote, lambda: volume.files.versions().union(locked))
    volume.files.told_of_old = holding.opened_old
    if locked:
        holding.opened_old()
    return holding


def _volume_options(options: MountOptions) -> VolumeOptions:
    return VolumeOptions(
        Ownership(options.uid, options.gid, options.umask),
        backend=options.backend,
        read_only=options.read_only,
        show_versions=options.show_versions,
        index=options.index,
    )


@asynccontextmanager
async def _driver(options: MountOptions) -> AsyncIterator[TrioDriver]:
    endpoint = Endpoint(
        options.endpoint,
        options.token,
        headers={HOST_HEADER: options.host, CLIENT_HEADER: options.mount_id},
        patience_seconds=options.patience_seconds,
    )
    token = None if options.renew is None else LastingToken(options.token, options.renew)
    driver = TrioDriver(endpoint, token)
    try:
        yield driver
    finally:
        with trio.CancelScope(shield=True):
            await driver.aclose()


@contextmanager
def _attached(
    volume: Volume,
    recorder: Recorder,
    waiting: Waiting,
    metrics: Metrics | None,
    options: MountOptions,
) -> Iterator[None]:
    """Attach *volume* to the kernel; detach whatever happens."""
    chosen = operations.options(
        allow_other=options.allow_other, read_only=options.read_only, source=options.source
    )
    try:
        made = operations.Operations(volume, recorder, waiting, metrics)
        pyfuse3.init(made, str(options.mountpoint), chosen)
    except RuntimeError as error:
        raise SetupError(
            f"the kernel does not mount {options.mountpoint}: {error}; "
            "see the lines of fusermount3 above"
        ) from error
    try:
        yield
    finally:
        pyfuse3.close(unmount=True)


def _feed_state(follower: Follower, volume: Volume) -> FeedState:
    return FeedState(volume.feed_is_live, follower.last, follower.heard, follower.lag)


async def _terminate_on_signal(
    signals: AsyncIterator[int], volume: Volume, kernel: Kernel, ending: Ending
) -> None:
    async for number in signals:
        log.info("%s: finishing what is open", signal.Signals(number).name)
        await volume.files.drain(ending)  # once more when nobody can write: that one counts
        await kernel.disarm()
        pyfuse3.terminate()
        return


async def _announce(mountpoint: Path, ready: Callable[[], None]) -> None:
    """Say that the mount is ready once it answers, not when it is merely there."""
    await trio.to_thread.run_sync(os.statvfs, mountpoint, abandon_on_cancel=True)
    await trio.to_thread.run_sync(widen_readahead, mountpoint, abandon_on_cancel=True)
    ready()
