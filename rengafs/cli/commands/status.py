"""``rengafs status``: what of rengafs runs here, for this user, and what is still to be sent."""

from pathlib import Path

import click
import msgspec

from rengafs.cli import output
from rengafs.cli.asking import json_option
from rengafs.cli.embedded import Users, answers, listener, users_file
from rengafs.cli.exits import epilog
from rengafs.cli.mountasking import Condition, condition, remedy
from rengafs.cli.mounttable import mounts
from rengafs.cli.options import PATH, debug_option
from rengafs.cli.paths import Paths, find_paths
from rengafs.cli.pinning import served_of
from rengafs.cli.records import live_records
from rengafs.cli.transfers import Pace
from rengafs.cli.unsent import (
    FileState,
    Left,
    report_of,
    state_of,
    tell_left,
    tell_unsent,
    what_is_left,
)
from rengafs.fs.writes.unsent import Report


class MountStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One mount. *state*: that of `Condition`, or ``starting or ending`` (not mounted)."""

    mountpoint: str
    state: str
    pid: int | None = None
    endpoint: str = ""
    since_ms: int | None = None
    unsent: Report | None = None
    """What it has yet to send, or was refused; None where it can't be asked."""
    away_ms: int = 0
    """Since when its service is away, in milliseconds since 1970; 0: it is there."""


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One embedded service. *state*: ``running``, or ``silent`` if it does not answer."""

    address: str
    state: str
    pid: int | None = None
    data: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that runs."""

    mounts: list[MountStatus]
    services: list[ServiceStatus]
    left: list[Left]
    """What mounts that have ended left: the next mount of the same service sends it."""


@click.command(epilog=epilog())
@click.argument("path", metavar="[PATH]", type=PATH, required=False)
@click.option(
    "--watch",
    is_flag=True,
    help="Show it anew every second, until Ctrl-C; with --json, a line each.",
)
@json_option
@debug_option
def command(path: Path | None, watch: bool, as_json: bool) -> None:
    """Show the mounts and embedded services that run here, and what is still to be sent.

    With PATH, a file in a mount: whether the service has what was written to it.

    \b
      rengafs status
      rengafs status ~/buckets/data/report.csv
      rengafs status --watch
      rengafs status --json
    """
    if path is not None:
        state = FileState(path=str(path), state=state_of(path))
        output.as_json(state) if as_json else output.line(f"{state.path}: {state.state}")
        return
    paths = find_paths()
    if watch and as_json:
        output.watch(lambda: output.as_json_line(_status(paths)))
    elif watch:
        paces: dict[str, Pace] = {}
        output.watch(lambda: _watched(_status(paths), paces))
    elif as_json:
        output.as_json(_status(paths))
    else:
        _show(_status(paths))


def _watched(status: Status, paces: dict[str, Pace]) -> None:
    """Show what runs, and of each mount that sends, how fast it does and what time is left."""
    _show(status)
    for mount in status.mounts:
        waiting = mount.unsent.bytes if mount.unsent else 0
        pace = paces.setdefault(mount.mountpoint, Pace())
        if told := pace.told(waiting):
            output.line(f"{mount.mountpoint}: sending {told}")


def _status(paths: Paths) -> Status:
    mounted = _mounts(paths)
    told = {
        (one.name, one.state)
        for mount in mounted
        if mount.unsent is not None
        for one in mount.unsent.conflicts
    }
    left = [one for one in what_is_left(paths.state) if (one.name, one.why) not in told]
    return Status(mounts=mounted, services=_services(paths), left=left)


def _show(status: Status) -> None:
    if not status.mounts and not status.services and not status.left:
        output.line("nothing of rengafs runs here")
    if status.mounts:
        output.table(
            ["mount", "state", "process", "since", "service"],
            [
                [
                    mount.mountpoint,
                    mount.state,
                    str(mount.pid or ""),
                    output.moment(mount.since_ms) if mount.since_ms else "",
                    mount.endpoint,
                ]
                for mount in status.mounts
            ],
        )
    if status.services:
        output.table(
            ["embedded service", "state", "process", "data"],
            [[one.address, one.state, str(one.pid or ""), one.data] for one in status.services],
        )

    for mount in status.mounts:
        if mount.state == Condition.SILENT:
            output.line(remedy(mount.mountpoint, mount.pid))
        if mount.away_ms:
            since = output.moment(mount.away_ms)
            output.line(
                f"{mount.mountpoint}: its service is away since {since}; what is pinned or "
                "cached is read from this machine"
            )
        tell_unsent(mount.mountpoint, mount.unsent)
    tell_left(status.left)


def _mounts(paths: Paths) -> list[MountStatus]:
    attached = {str(mount.path) for mount in mounts() if mount.ours}
    found = []
    for record in live_records(paths):
        is_there = record.mountpoint in attached
        state = str(condition(record.mountpoint)) if is_there else "starting or ending"
        is_heard = is_there and state != Condition.SILENT
        served = served_of(record.mountpoint) if is_heard else None
        found.append(
            MountStatus(
                mountpoint=record.mountpoint,
                state=state,
                pid=record.pid,
                endpoint=record.endpoint,
                since_ms=record.since_ms,
                unsent=report_of(record.mountpoint) if is_heard else None,
                away_ms=served.away_ms if served else 0,
            )
        )
        attached.discard(record.mountpoint)
    others = [MountStatus(mountpoint=path, state=condition(path)) for path in sorted(attached)]
    return found + others


def _services(paths: Paths) -> list[ServiceStatus]:
    found = []
    for sock in sorted(paths.runtime.glob("service-*.sock")):
        address = f"unix:{sock}"
        process = listener(sock)
        if process is not None:
            state = "running" if answers(address) else "silent"
            data = _data_of(sock)
            found.append(ServiceStatus(address=address, state=state, pid=process, data=data))
    return found


def _data_of(sock: Path) -> str:
    try:
        return msgspec.json.decode(users_file(sock).read_bytes(), type=Users).data
    except (OSError, msgspec.DecodeError):
        return ""
