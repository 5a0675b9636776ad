"""Which files that were read are at hand from now on: in the cache, or on this machine anyway."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from rengafs.cli.asking import asking
from rengafs.cli.mountasking import attribute
from rengafs.cli.pinning import served_of
from rengafs.client import calls
from rengafs.fs.reads.blockfiles import BlockFiles
from rengafs.fs.reads.cache import BLOCK_BYTES
from rengafs.protocol.errors import RengafsError

VERSION = "user.renga.version"
BACKEND = "user.renga.backend"
SETTLED_SECONDS = 5.0
"""A mount stores blocks beside what it answers: after so long without another, no more come."""
LOOK_SECONDS = 0.2

Sized = tuple[str, int]
"""A path, and its size in bytes."""


def not_kept(mountpoint: Path, files: Iterable[Sized]) -> list[Sized]:
    """Return those of *files*, which were read, that the cache of their mount has not kept.

    Empty where the mount does not say which cache is its.
    """
    served = served_of(mountpoint)
    if served is None:
        return []
    blocks = BlockFiles(Path(served.cache), served.catalog)
    missing = _missing(blocks, {one: _version(one[0]) for one in files if one[1]})
    in_place = _backends_in_place(mountpoint, missing) if missing else set()
    missing = {one: at for one, at in missing.items() if _backend(one[0]) not in in_place}
    until = time.monotonic() + SETTLED_SECONDS
    while missing and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
        still = _missing(blocks, missing)
        if len(still) < len(missing):
            until = time.monotonic() + SETTLED_SECONDS
        missing = still
    return list(missing)


def _missing(blocks: BlockFiles, versions: dict[Sized, int]) -> dict[Sized, int]:
    """Return those of which a block is missing. What the service has not yet has no number."""
    return {
        one: version
        for one, version in versions.items()
        if version > 0 and blocks.missing_blocks(version, -(-one[1] // BLOCK_BYTES))
    }


def _backends_in_place(mountpoint: Path, missing: dict[Sized, int]) -> set[str]:
    """Return the backends whose blobs are files that this process may read."""
    examples = {_backend(path): version for (path, _), version in missing.items()}
    found = set()
    try:
        with asking([str(mountpoint)], None, None) as (service, _):
            for backend, version in examples.items():
                where = service.run(calls.whereabouts(version)).path
                if where and os.access(where, os.R_OK):
                    found.add(backend)
    except RengafsError:
        pass  # the service is away: nothing more is known than what the cache has
    return found


def _version(path: str) -> int:
    try:
        return int(attribute(path, VERSION))
    except (OSError, ValueError):
        return 0


def _backend(path: str) -> str:
    try:
        return attribute(path, BACKEND).decode()
    except OSError:
        return ""
