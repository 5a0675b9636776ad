"""Write-back for the life of a mount: begun with it, drained when it ends."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from rengafs.fs.remote import Remote
from rengafs.fs.writes.writeback.journal import Journal
from rengafs.fs.writes.writeback.outbox import Limits, Outbox
from rengafs.fs.writes.writeback.records import Owner
from rengafs.fs.writes.writeback.sending import Sender
from rengafs.fs.writes.writeback.writing import WriteBack
from rengafs.protocol.records import ServiceInfo

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WriteBackOptions:
    """How much may wait, and for how long the end of a mount waits for it."""

    limits: Limits
    drain_seconds: float = 50.0
    progress: Callable[[int, int], None] = lambda _files, _bytes: None
    """Told while the mount ends how many files and bytes are still to be sent."""


@asynccontextmanager
async def write_back(
    remote: Remote, owner: Owner, info: ServiceInfo, drafts: Path, options: WriteBackOptions
) -> AsyncIterator[WriteBack]:
    """Give what saves the files of a mount, while it sends. Raises `NoSpace` and the like."""
    journal = await trio.to_thread.run_sync(Journal.create, drafts, owner)
    outbox = Outbox(journal, options.limits)
    # Rather behind the service's clock than before it: its answers are to count as newer.
    offset_ns = info.now_ms * 1_000_000 - time.time_ns()
    saver = WriteBack(remote, outbox, drafts, clock_offset_ns=offset_ns)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sender(outbox, remote, saver.put_aside).run)
            nursery.start_soon(saver.keep_ids)
            yield saver
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            end = journal.close if len(outbox) else journal.remove
            await trio.to_thread.run_sync(end)


async def drain(saver: WriteBack, options: WriteBackOptions) -> list[str]:
    """Wait until all is sent, or the time is over; return what is left, or was refused."""
    outbox = saver.outbox
    outbox.hurried += 1
    with trio.move_on_after(options.drain_seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell, saver, options)
            while len(outbox):
                with trio.move_on_after(PROGRESS_SECONDS):
                    await outbox.step()
            nursery.cancel_scope.cancel()
    report = saver.report()
    left = [
        f"{one.name}: {one.state}; it is kept, and sent by the next mount" for one in report.unsent
    ]
    if report.files > len(left):
        left.append(f"{report.files - len(left)} more files")
    refused = [f"{one.name}: {one.state}; its bytes are in {one.kept}" for one in report.failed]
    return left + refused


async def _tell(saver: WriteBack, options: WriteBackOptions) -> None:
    while True:
        report = saver.report()
        if report.files:
            log.info("%d files, %d bytes are still to be sent", report.files, report.bytes)
        await trio.to_thread.run_sync(partial(options.progress, report.files, report.bytes))
        await trio.sleep(PROGRESS_SECONDS)
