"""``rengafs warm``: read what will be needed, before it is."""

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.locating import locate
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.staying import not_kept
from rengafs.cli.transfers import transfer

READERS = 4
"""At a time: files in order, so that the mount sees what is coming and fetches in batches."""
PIECE_BYTES = 1 << 20


class Warmed(msgspec.Struct, frozen=True, kw_only=True):
    """What was read."""

    files: int
    bytes: int
    failed: list[str]
    """Files that could not be read, with the reason."""
    not_kept: int
    """Files that were read, and for which the cache has no room."""
    not_kept_bytes: int


@dataclass(slots=True)
class _Progress:
    """What the readers have done so far; they are threads."""

    files: int = 0
    bytes: int = 0
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)


@click.command(epilog=epilog(Exit.UNREACHABLE, Exit.NOT_MOUNTED))
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="PATH...")
@json_option
@debug_option
def command(paths: tuple[Path, ...], as_json: bool) -> None:
    """Fetch the files at and below PATH into the cache, with their attributes.

    They are then read without waiting for the service, as long as the cache has room for
    them: see --cache-size of rengafs mount. Blobs that are on this machine anyway are read
    once and not copied. Exits with 1 if a file could not be read, or has no room.

    \b
      rengafs warm ~/buckets/data/2026
      rengafs warm ~/buckets/data/*.parquet
    """
    mountpoints = [_mountpoint(path) for path in paths]
    done = _Progress()
    of_mounts: dict[Path, dict[str, int]] = {}
    for path, mountpoint in zip(paths, mountpoints, strict=True):
        of_mounts.setdefault(mountpoint, {}).update(_files(path, done))
    _read_all([one for files in of_mounts.values() for one in files.items()], done)
    gone = [one for place, files in of_mounts.items() for one in not_kept(place, files.items())]
    gone_bytes = sum(size for _, size in gone)
    warmed = Warmed(
        files=done.files,
        bytes=done.bytes,
        failed=done.failed,
        not_kept=len(gone),
        not_kept_bytes=gone_bytes,
    )
    if as_json:
        output.as_json(warmed)
    else:
        at_hand = max(0, done.files - len(gone))
        output.line(f"{at_hand} files are at hand, {max(0, done.bytes - gone_bytes)} bytes")
    if done.failed:
        more = f" and {len(done.failed) - 1} more" if len(done.failed) > 1 else ""
        raise refuse(Exit.FAILED, f"can't read {done.failed[0]}{more}")
    if gone:
        raise refuse(
            Exit.FAILED,
            f"{len(gone)} of {done.files} files, {output.size(gone_bytes)}, did not stay in the "
            "cache; mount with a larger --cache-size",
        )


def _mountpoint(path: Path) -> Path:
    mountpoint = locate(str(path.absolute()), of_service=False).mountpoint
    if mountpoint is None:
        raise refuse(Exit.NOT_MOUNTED, f"{path} is in no mount of rengafs")
    return mountpoint


def _files(path: Path, done: _Progress) -> Iterator[tuple[str, int]]:
    """Yield (path, size) of the files at and below *path*, in the order of the listings."""
    if not path.is_dir():
        try:
            yield str(path), path.stat().st_size
        except OSError as error:
            done.failed.append(f"{path} ({error.strerror})")
        return

    def failed(error: OSError) -> None:
        done.failed.append(f"{error.filename} ({error.strerror})")

    for folder, _, names in os.walk(path, onerror=failed):
        for name in names:
            found = os.path.join(folder, name)
            try:
                status = os.lstat(found)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except OSError as error:
                failed(error)
                continue
            if stat.S_ISREG(status.st_mode):
                yield found, status.st_size


def _read_all(files: list[tuple[str, int]], done: _Progress) -> None:
    total = sum(size for _, size in files)
    waiting = iter(files)
    with transfer("fetching") as tell, ThreadPoolExecutor(READERS) as pool:
        readers = [pool.submit(_read_some, waiting, done) for _ in range(READERS)]
        try:
            while wait(readers, timeout=0.2).not_done:
                tell(done.bytes, total)
            for reader in readers:
                reader.result()
        except BaseException:
            done.stop.set()
            raise


def _read_some(waiting: Iterator[tuple[str, int]], done: _Progress) -> None:
    while not done.stop.is_set():
        with done.lock:
            path, _ = next(waiting, ("", 0))
        if not path:
            return
        _read(path, done)


def _open(path: str, flags: int) -> int:
    # From the mount, not from the kernel's memory, of which the cache has nothing. And a mount
    # that is read in this way leaves no block of a long file out, however slow its disk is.
    return os.open(path, flags | os.O_DIRECT)


def _read(path: str, done: _Progress) -> None:
    buffer = bytearray(PIECE_BYTES)
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            while not done.stop.is_set() and (count := file.readinto(buffer)):
                with done.lock:
                    done.bytes += count
        with done.lock:
            done.files += 1
    except FileNotFoundError:
        pass  # deleted meanwhile
    except OSError as error:
        with done.lock:
            done.failed.append(f"{path} ({error.strerror})")
