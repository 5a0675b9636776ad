"""The service as a lock file shows it: exactly the versions that it names, and no more.

It stands where `Remote` does, so the mount needs to know nothing of it. Directories are
made up from the paths; a file is its locked version whatever has become of it since, even
if it has been deleted. Nothing can be changed.
"""

from msgspec.structs import replace

from rengafs.client import calls
from rengafs.client.drivers import TrioDriver
from rengafs.fs.remote import Remote
from rengafs.protocol.errors import NotFound, Pruned, ReadOnly, SetupError
from rengafs.protocol.locks import Locked, LockFile
from rengafs.protocol.operations import Operation, Outcome
from rengafs.protocol.records import ROOT, Entry, Kind, Node, Page, Version

FIRST_DIRECTORY = 1 << 61
"""Ids of made-up directories: below the numbers of views, above all of the catalog."""


class LockedRemote(Remote):
    """The tree of a lock file. Call `prepare` before anything else."""

    def __init__(self, driver: TrioDriver, client: str, lock: LockFile) -> None:
        super().__init__(driver, client)
        self._lock = lock
        self._nodes: dict[int, Node] = {ROOT: _directory(ROOT)}
        self._entries: dict[int, dict[str, int]] = {ROOT: {}}

    async def prepare(self) -> None:
        """Look up all versions. Raises `SetupError` for a lock that does not fit the service."""
        if (await self.info()).catalog != self._lock.catalog:
            raise SetupError("the lock file is of another service; give its own with --endpoint")
        for locked in self._lock.files:
            try:
                version = await self.version(locked.version)
            except (NotFound, Pruned) as error:
                raise SetupError(
                    f"{locked.path}: the service has no version {locked.version} any more "
                    f"({error.message})"
                ) from None
            if (version.sha256, version.size) != (locked.sha256, locked.size):
                raise SetupError(f"{locked.path}: version {version.id} is not the locked one")
            self._place(locked, version)

    async def node(self, number: int, *, at: int | None = None) -> Node:
        """Return a node of the lock. Raises `NotFound`."""
        try:
            return self._nodes[number]
        except KeyError:
            raise NotFound(f"the lock has no {number}") from None

    async def find(self, directory: int, name: str, *, at: int | None = None) -> Entry | None:
        """Return the entry at a name, or None."""
        number = self._entries.get(directory, {}).get(name)
        return None if number is None else Entry(name=name, node=self._nodes[number])

    async def page(
        self,
        directory: int,
        after: str,
        limit: int,
        *,
        at: int | None = None,
        going_on: calls.GoingOn | None = None,
    ) -> Page:
        """Return a page of a directory."""
        listed = sorted(name for name in self._entries.get(directory, {}) if name > after)
        entries = [
            Entry(name=name, node=self._nodes[self._entries[directory][name]])
            for name in listed[:limit]
        ]
        more = len(listed) > limit
        return Page(entries=entries, change=0, next=entries[-1].name if more else "")

    async def change(self, operation: Operation) -> Outcome:
        """Refuse: a lock is not changed through its mount."""
        raise ReadOnly("a mount of a lock file is read-only")

    def _place(self, locked: Locked, version: Version) -> None:
        *above, name = locked.path.split("/")
        directory = ROOT
        for part in above:
            number = self._entries[directory].get(part)
            if number is None:
                number = FIRST_DIRECTORY + len(self._nodes)
                self._nodes[number] = _directory(number)
                self._entries[number] = {}
                self._entries[directory][part] = number
            elif number not in self._entries:
                raise SetupError(f"the lock file has {locked.path!r} below a file")
            directory = number
        node = Node(
            id=version.file,
            kind=Kind.FILE,
            mode=version.mode & 0o555,
            size=version.size,
            version=version.id,
            sha256=version.sha256,
            mtime_ns=version.mtime_ns,
            ctime_ns=version.created_ms * 1_000_000,
        )
        if self._nodes.get(node.id, node) != node:
            # The same file, read twice in two versions: each is a file of its own here.
            node = replace(node, id=FIRST_DIRECTORY + len(self._nodes))
        self._nodes[node.id] = node
        self._entries[directory][name] = node.id


def _directory(number: int) -> Node:
    return Node(id=number, kind=Kind.DIRECTORY, mode=0o555)
