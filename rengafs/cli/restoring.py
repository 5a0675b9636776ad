"""Bringing a path back, as ``rengafs restore`` and ``rengafs undelete`` both do it."""

import msgspec

from rengafs.cli import output
from rengafs.cli.asking import Service, Target
from rengafs.client import calls
from rengafs.protocol.errors import NotFound
from rengafs.protocol.operations import Restore
from rengafs.protocol.records import Difference


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or would be."""

    path: str
    at: int
    """The change as of which."""
    change: int
    """The change that did it; 0: nothing had to be done, or only shown."""
    count: int
    """Entries that were made, brought back or changed."""
    dry_run: bool = False
    would: list[Difference] = []
    """What would be done, in a dry run; as differences from now."""


def restore(service: Service, target: Target, at: int, *, dry_run: bool) -> Restored:
    """Make a path what it was. Raises `NotFound`, `AlreadyExists`."""
    if service.find(target.path, at) is None:
        raise NotFound(
            f"there was no {target.name}; rengafs log {target.path} tells when there was"
        )
    if dry_run:
        # What has come since stays, so it is no part of what would be done.
        found = service.run(calls.differences(target.path, None, at))
        would = [item for item in found if item.how != "removed"]
        return Restored(
            path=target.path, at=at, change=0, count=len(would), dry_run=True, would=would
        )
    operation = Restore(path=target.path, at=at)
    outcome = service.run(calls.apply_one(operation, client=service.client))
    return Restored(path=target.path, at=at, change=outcome.change, count=outcome.restored)


def show(done: Restored, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        output.as_json(done)
    elif done.dry_run:
        for item in done.would:
            where = f"{done.path}/{item.path}" if item.path else done.path
            output.line(f"would {_VERBS[item.how]} {where}")
        output.line(f"{_counted(done.count)} would be restored")
    elif done.count:
        output.line(f"restored {done.path}: {_counted(done.count)}, in change {done.change}")
    else:
        output.line(f"{done.path} is as it was; nothing had to be restored")


_VERBS = {
    "added": "bring back",
    "changed": "save the old content of",
    "attributes": "set the old attributes of",
    "replaced": "stop at",
}


def _counted(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
