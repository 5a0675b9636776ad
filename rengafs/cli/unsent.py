"""What is still to be sent: asked of mounts, and found where mounts that have ended left it."""

import errno
import os
from pathlib import Path

import msgspec

from rengafs.cli import output
from rengafs.cli.exits import Exit, refuse
from rengafs.cli.mountasking import attribute
from rengafs.cli.mounttable import mounts
from rengafs.fs.writes import draftfiles
from rengafs.fs.writes.unsent import Report, Unsent, told
from rengafs.fs.writes.writeback.journal import LOG, damaged_parts, in_use, journals, read_journal
from rengafs.fs.writes.writeback.records import Done, Queued
from rengafs.fs.writes.writeback.told import conflicts_in
from rengafs.protocol.errors import RengafsError

STATE = "user.renga.state"
REPORT = "user.renga.report"


class FileState(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the service has what was written to a file."""

    path: str
    state: str
    """``clean``, ``dirty``, ``uploading`` or ``failed: …``."""


class Left(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something that a mount which has ended did not send."""

    name: str
    bytes: int
    kept: str
    """Where it lies: a file with the bytes at their offsets, or a journal; empty: it was sent."""
    why: str = ""


def state_of(path: Path) -> str:
    """Return the state of a file in a mount. Raises `SetupError` for what is none."""
    try:
        return attribute(path, STATE).decode()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            raise refuse(Exit.NOT_MOUNTED, f"{path} is not a file in a mount of rengafs") from None
        # Without its service the mount may not know the name; what it has yet to send, it does.
        if (state := _reported(path)) is not None:
            return state
        raise refuse(Exit.FAILED, f"{path}: {error.strerror}") from None


def _reported(path: Path) -> str | None:
    path = Path(os.path.abspath(path))
    for mount in mounts():
        if mount.ours and path.is_relative_to(mount.path):
            report = report_of(str(mount.path)) or Report()
            for one in [*report.failed, *report.unsent]:
                if mount.path / one.name == path:
                    return told(one)
    return None


def report_of(mountpoint: str) -> Report | None:
    """Return what a mount has yet to send; None where it does not say."""
    try:
        return msgspec.json.decode(attribute(mountpoint, REPORT), type=Report)
    except (OSError, msgspec.DecodeError):
        return None


def what_is_left(state: Path) -> list[Left]:
    """Return what mounts that have ended left below the directory for state."""
    found: list[Left] = []
    for parent in sorted((state / "drafts").glob("*")):
        if parent.is_dir():
            sent: set[str] = set()
            for journal in journals(parent):
                found += _left_in(journal, sent)
            found += [
                Left(
                    name=f"a part of {path.name}",
                    bytes=path.stat().st_size,
                    kept=str(path),
                    why="was damaged on this disk, and can't be read",
                )
                for path in damaged_parts(parent)
            ]
            found += [
                Left(name=one.name, bytes=0, kept="", why=one.state) for one in conflicts_in(parent)
            ]
            found += [
                Left(
                    name=left.about.name or f"file {left.about.file}",
                    bytes=sum(stop - start for start, stop in left.about.extents),
                    kept=str(left.path),
                    why=left.about.why or "was being written when the mount ended",
                )
                for left in draftfiles.leftovers(parent)
                if not (
                    left.about.journal
                    and (left.path.parent.name in sent or in_use(parent / left.about.journal))
                )
            ]
    return found


def tell_unsent(mountpoint: str, report: Report | None) -> None:
    """Print what a mount has yet to send and why it has not, if there is something to tell."""
    if report is None:
        return
    if report.files:
        why = f": {report.problem}" if report.problem else ""
        size = report.bytes / (1 << 20)
        output.line(f"{mountpoint}: {report.files} files, {size:.1f} MiB still to be sent{why}")
    waiting = [one for one in report.unsent if one.state != "uploading"]
    for one in [*waiting, *report.failed, *report.conflicts]:
        output.line(f"{mountpoint}/{_plain(one)}: {told(one)}")


def tell_left(left: list[Left]) -> None:
    """Print what mounts that have ended left."""
    for one in left:
        if not one.kept:
            output.line(f"left by an earlier mount: {one.name}: {one.why}")
            continue
        output.line(f"left unsent: {one.name}, {one.bytes} bytes, in {one.kept}: {one.why}")


def _plain(one: Unsent) -> str:
    return one.name or f"file {one.file}"


def _left_in(journal: Path, sent: set[str]) -> list[Left]:
    """Return what a journal has yet to send; add the drafts that it sends, or has, to *sent*."""
    if in_use(journal):
        return []
    try:
        read = read_journal(journal)
    except RengafsError as error:
        size = (journal / LOG).stat().st_size
        return [Left(name="what a mount saved", bytes=size, kept=str(journal), why=error.message)]
    if read is None:
        return []
    _, records = read
    done = {record.number for record in records if isinstance(record, Done)}
    sent.update(record.draft for record in records if isinstance(record, Queued))
    return [
        Left(
            name=record.name,
            bytes=record.payload,
            kept=str(journal),
            why="is sent by the next mount of the same service",
        )
        for record in records
        if isinstance(record, Queued) and record.number not in done and record.payload
    ]
