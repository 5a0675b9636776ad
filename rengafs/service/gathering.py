"""Many small reads for one answer, some at a time.

Each by itself would be a turn of a thread, or a wait for a store. So small blobs on this
machine's disk are read together in one turn, and those elsewhere side by side. Whatever is
amiss with one is left to the single read, which tells what it is.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from rengafs.backends.base import PIECE_BYTES
from rengafs.backends.pieces import is_mark
from rengafs.catalog.values import Content
from rengafs.protocol.errors import RengafsError
from rengafs.service.parts import Parts

Plan = tuple[Content | RengafsError, int, int]
"""What is to be read, or why it can't be; from where, and to where."""

MOST_READS = 64
MOST_BYTES = 4 << 20
"""Of the answers that are gathered before they are sent."""
SIDE_BY_SIDE = 4
"""Reads of other stores."""


async def gathered(
    parts: Parts,
    plans: Sequence[Plan],
    framed: Callable[[Content, int, bytes], bytes],
    single: Callable[[Plan], Awaitable[bytes]],
) -> AsyncIterator[bytes]:
    """Yield the answers to *plans* in order, several in one piece.

    :param framed: makes the answer of what was read: the version, from where, the bytes.
    :param single: reads one and makes its answer, also that it failed.
    """
    for some in _groups(plans):
        answers: list[bytes | None] = [None] * len(some)
        files = [_file_of(parts, plan) for plan in some]
        if any(files):
            found = await anyio.to_thread.run_sync(_read_files, files, some)
            for index, (plan, data) in enumerate(zip(some, found, strict=True)):
                if data is not None and isinstance(plan[0], Content):
                    answers[index] = framed(plan[0], plan[1], data)
        await _read_singly(some, answers, single)
        yield b"".join(answer for answer in answers if answer is not None)


async def _read_singly(
    plans: Sequence[Plan], answers: list[bytes | None], single: Callable[[Plan], Awaitable[bytes]]
) -> None:
    waiting = iter([index for index, answer in enumerate(answers) if answer is None])

    async def work() -> None:
        for index in waiting:
            answers[index] = await single(plans[index])

    async with anyio.create_task_group() as group:
        for _ in range(SIDE_BY_SIDE):
            group.start_soon(work)


def _groups(plans: Sequence[Plan]) -> Iterator[Sequence[Plan]]:
    begin = size = 0
    for index, (_, start, stop) in enumerate(plans):
        size += stop - start
        if index > begin and (index - begin == MOST_READS or size > MOST_BYTES):
            yield plans[begin:index]
            begin, size = index, stop - start
    if begin < len(plans):
        yield plans[begin:]


def _file_of(parts: Parts, plan: Plan) -> Path | None:
    """Return the file that is a small blob, where it is one whose hash can be compared."""
    place, start, stop = plan
    if not isinstance(place, Content) or place.blob is None or start >= stop:
        return None
    blob = place.blob
    if blob.size > PIECE_BYTES or is_mark(blob.sha256):
        return None
    return parts.backend(blob.backend).file_of(blob.key)


def _read_files(files: Sequence[Path | None], plans: Sequence[Plan]) -> list[bytes | None]:
    """Return what was asked for of each file; None where that is not to be had."""
    return [
        None if file is None else _read_file(file, plan)
        for file, plan in zip(files, plans, strict=True)
    ]


def _read_file(file: Path, plan: Plan) -> bytes | None:
    place, start, stop = plan
    assert isinstance(place, Content), "only what is there has a file"
    assert place.blob is not None, "the same"
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # One more than there should be: a file that grew is damaged too.
        data = os.read(descriptor, place.blob.size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if hashlib.sha256(data).hexdigest() != place.blob.sha256:
        return None
    return data[start:stop]
