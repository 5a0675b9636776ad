"""``rengafs cache``: the blocks of versions that mounts keep on this machine's disk.

They are copies, found out if they are damaged; to remove them costs nothing but time. All
three commands are safe while mounts use the cache.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.exits import Exit, epilog, refuse
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import find_paths
from rengafs.cli.records import MountRecord, live_records
from rengafs.cli.transfers import transfer
from rengafs.fs.reads.blockfiles import BlockFiles
from rengafs.fs.reads.cache import BLOCK_BYTES

F = TypeVar("F", bound=Callable[..., Any])


class CatalogShare(msgspec.Struct, frozen=True, kw_only=True):
    """The blocks of one service's versions."""

    catalog: str
    blocks: int
    bytes: int
    pinned_bytes: int
    """Of these, those that a pin needs: see ``rengafs pin``."""


class CacheUser(msgspec.Struct, frozen=True, kw_only=True):
    """A mount that keeps blocks there."""

    mountpoint: str
    limit_bytes: int
    """Beyond which it evicts: its ``--cache-size``."""


class CacheStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache directory holds. Bytes as allocated on disk."""

    directory: str
    blocks: int
    bytes: int
    pinned_bytes: int
    free_bytes: int
    """Left on that disk."""
    catalogs: list[CatalogShare]
    mounts: list[CacheUser]


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed."""

    directory: str
    blocks: int
    bytes: int


class Damaged(msgspec.Struct, frozen=True, kw_only=True):
    """A block that was not as it was stored, and was dropped."""

    catalog: str
    version: int
    index: int


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk through all blocks has found."""

    directory: str
    sound: int
    damaged: list[Damaged]


def _options(command: F) -> F:
    command = debug_option(command)
    command = json_option(command)
    return click.option(
        "--cache-dir", type=PATH, metavar="DIR", help="[default: $XDG_CACHE_HOME/rengafs]"
    )(command)


@click.group()
def command() -> None:
    """Look after the blocks that mounts keep on disk.

    \b
      rengafs cache status
      rengafs cache verify
      rengafs cache clear
    """


@command.command(epilog=epilog())
@_options
def status(cache_dir: Path | None, as_json: bool) -> None:
    """Show what the cache holds, and the limits of the mounts that use it.

    \b
      rengafs cache status
    """
    found = _status(_directory(cache_dir), live_records(find_paths()))
    if as_json:
        output.as_json(found)
        return
    output.line(f"{found.directory}: {_sized(found.blocks, found.bytes)}")
    if found.pinned_bytes:
        output.line(f"{output.size(found.pinned_bytes)} of them are pinned, and stay")
    output.line(f"{output.size(found.free_bytes)} are free on that disk")
    for mount in found.mounts:
        output.line(f"{mount.mountpoint} keeps it within {output.size(mount.limit_bytes)}")
    if len(found.catalogs) > 1:
        output.table(
            ["service", "blocks", "size", "pinned"],
            [
                [
                    share.catalog,
                    str(share.blocks),
                    output.size(share.bytes),
                    output.size(share.pinned_bytes),
                ]
                for share in found.catalogs
            ],
        )


@command.command(epilog=epilog())
@_options
def clear(cache_dir: Path | None, as_json: bool) -> None:
    """Remove all blocks, of all services, but those of pins. Mounts fetch anew what they need.

    \b
      rengafs cache clear
    """
    directory = _directory(cache_dir)
    before = _status(directory)
    for files in BlockFiles.found(directory)[:1]:
        files.clear()  # that of all catalogs
    after = _status(directory)
    cleared = Cleared(
        directory=str(directory),
        blocks=max(0, before.blocks - after.blocks),
        bytes=max(0, before.bytes - after.bytes),
    )
    if as_json:
        output.as_json(cleared)
    else:
        output.line(f"{directory}: removed {_sized(cleared.blocks, cleared.bytes)}")


@command.command(epilog=epilog())
@_options
def verify(cache_dir: Path | None, as_json: bool) -> None:
    """Read every block and compare its checksum; drop what is damaged.

    Exits with 1 if anything was. Mounts do the same with each block that they read.

    \b
      rengafs cache verify
    """
    directory = _directory(cache_dir)
    sound = 0
    damaged = []
    total = _status(directory).bytes
    with transfer("verifying") as tell:
        for files in BlockFiles.found(directory):
            for version, index, good in files.verify():
                if good:
                    sound += 1
                else:
                    damaged.append(Damaged(catalog=files.name, version=version, index=index))
                tell(min(total, (sound + len(damaged)) * BLOCK_BYTES), total)
    if as_json:
        output.as_json(Verified(directory=str(directory), sound=sound, damaged=damaged))
    else:
        for block in damaged:
            output.line(f"dropped block {block.index} of version {block.version}: damaged")
        output.line(f"{directory}: {sound} blocks are sound, {len(damaged)} were damaged")
    if damaged:
        raise refuse(
            Exit.FAILED,
            f"{len(damaged)} blocks were damaged; they are fetched anew, but look after the disk",
        )


def _directory(given: Path | None) -> Path:
    """Return the cache that is meant. Raises `SetupError` for one that is named, and not there."""
    if given is not None and not given.is_dir():
        raise refuse(Exit.USAGE, f"{given} is no directory; name a cache with --cache-dir")
    return given or find_paths().cache


def _status(directory: Path, mounts: Sequence[MountRecord] = ()) -> CacheStatus:
    shares = []
    for files in BlockFiles.found(directory):
        survey = files.survey(whole=False)
        shares.append(
            CatalogShare(
                catalog=files.name,
                blocks=survey.blocks,
                bytes=survey.bytes,
                pinned_bytes=survey.pinned_bytes,
            )
        )
    place = directory
    while not place.exists():
        place = place.parent
    return CacheStatus(
        directory=str(directory),
        blocks=sum(share.blocks for share in shares),
        bytes=sum(share.bytes for share in shares),
        pinned_bytes=sum(share.pinned_bytes for share in shares),
        free_bytes=shutil.disk_usage(place).free,
        catalogs=shares,
        mounts=[
            CacheUser(mountpoint=mount.mountpoint, limit_bytes=mount.cache_limit_bytes)
            for mount in mounts
            if mount.cache_limit_bytes and mount.cache == str(directory.absolute())
        ],
    )


def _sized(blocks: int, size: int) -> str:
    return f"{blocks} blocks, {output.size(size)}"
