"""Which versions a command reads: noted at each open, for ``rengafs record``.

A recording is begun and ended by an extended attribute of the mount's root, whose value is
the process id of the recorder; what its descendants open for reading goes, a JSON line a
version, into a file that the mount makes. Bytes that the command itself wrote are no
input of it: a file that was opened for writing, or has unsaved bytes, is not noted.
What is opened below ``.versions`` is not noted either: it says its moment itself.
"""

import logging
import os
import re
from pathlib import Path
from typing import BinaryIO

import msgspec

from rengafs.fs.names.inodes import Inode, Inodes
from rengafs.protocol import names
from rengafs.protocol.errors import NotPermitted, NotSupported
from rengafs.protocol.records import ROOT, Kind

log = logging.getLogger(__name__)

ATTRIBUTE = b"user.renga.record"
"""Set on the root to begin a recording. It ends with the recorder's process."""
MAX_RECORDINGS = 64
MAX_ANCESTORS = 1000


class ReadVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a recording."""

    path: str
    """From the root of the mount; shown names."""
    file: int
    version: int
    size: int
    sha256: str


class _Recording:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.paths: set[str] = set()
        """What was noted."""
        self.written: set[int] = set()
        """Inodes that were opened for writing. A rename over a file carries them along."""


class Recorder:
    """The recordings of one mount."""

    def __init__(self, inodes: Inodes, directory: Path | None, uid: int) -> None:
        self._inodes = inodes
        self._directory = directory
        self._uid = uid
        self._recordings: dict[int, _Recording] = {}

    def begin(self, value: bytes, uid: int) -> None:
        """Note from now on what the descendants of a process open. Raises `NotPermitted`."""
        if uid != self._uid:
            raise NotPermitted("only who has mounted may record")
        if self._directory is None or not value.isdigit():
            raise NotSupported("a recording is begun by rengafs record")
        self._end_dead()
        if len(self._recordings) >= MAX_RECORDINGS:
            raise NotSupported(f"{MAX_RECORDINGS} recordings at a time are the most")
        number = int(value)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{number}.jsonl"
        self.end(number)
        self._recordings[number] = _Recording(path.open("wb", buffering=0))

    def end(self, number: int) -> None:
        """End the recording of a process, if there is one."""
        recording = self._recordings.pop(number, None)
        if recording is not None:
            recording.stream.close()

    def close(self) -> None:
        """End all."""
        for number in list(self._recordings):
            self.end(number)

    def opened(self, task: int, number: int, flags: int) -> None:
        """Note an open by a task, if a recording is of it."""
        if not self._recordings:
            return
        inode = self._inodes.find(number)
        if inode is None or not inode.is_live or inode.node.kind is not Kind.FILE:
            return
        for ancestor in _ancestors(task):
            recording = self._recordings.get(ancestor)
            if recording is not None:
                self._note(recording, inode, flags)

    def wrote(self, task: int, inode: Inode) -> None:
        """Note that a task has made a file: what it reads of it later is no input."""
        if self._recordings:
            for ancestor in _ancestors(task):
                if (recording := self._recordings.get(ancestor)) is not None:
                    recording.written.add(inode.number)

    def _note(self, recording: _Recording, inode: Inode, flags: int) -> None:
        node = inode.node
        dirty = inode.content is not None and inode.content.is_dirty
        if flags & os.O_ACCMODE == os.O_WRONLY or flags & os.O_TRUNC or dirty:
            recording.written.add(inode.number)
        path = self._path_of(inode)
        if node.version is None or path is None:
            return
        if path in recording.paths or inode.number in recording.written:
            return
        recording.paths.add(path)
        line = ReadVersion(
            path=path, file=node.id, version=node.version, size=node.size, sha256=node.sha256
        )
        try:
            recording.stream.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            log.error("a recording can't be written: %s", error)

    def _path_of(self, inode: Inode) -> str | None:
        parts: list[str] = []
        step: Inode | None = inode
        while step is not None and step.number != ROOT:
            if not step.name or not step.is_live:
                return None
            parts.append(names.to_wire(step.name))
            step = self._inodes.find(step.parent)
        return None if step is None else "/".join(reversed(parts))

    def _end_dead(self) -> None:
        for number in list(self._recordings):
            if not Path(f"/proc/{number}").exists():
                self.end(number)


def _ancestors(task: int) -> list[int]:
    """Return a task's process and those above it, up to the first."""
    found: list[int] = []
    number = task
    while number > 1 and len(found) < MAX_ANCESTORS:
        try:
            status = Path(f"/proc/{number}/status").read_bytes()
        except OSError:
            break
        group = re.search(rb"^Tgid:\s+(\d+)", status, re.MULTILINE)
        parent = re.search(rb"^PPid:\s+(\d+)", status, re.MULTILINE)
        if group is None or parent is None:
            break
        found.append(int(group[1]))
        number = int(parent[1])
    return found
